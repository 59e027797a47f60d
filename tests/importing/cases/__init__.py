"""Other gateways' configuration, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

from controller import compile as compiler
from tidegate import yaml_text
from tidegate.importing import reading, writing
from tidegate.importing.reading import Imported
from tidegate.validate import NEEDED

FOLDER = Path(__file__).parent
CASES = sorted(path.name.removesuffix(".in.yaml") for path in FOLDER.glob("*.in.yaml"))
OPEN = {"agentgateway-backends", "agentgateway-odd", "agentgateway-policies", "agentgateway-seed-verbatim"}
"""They refer to what is not in their file, or cannot be on a laptop: their reports say so."""
ENVIRONMENT = {"PROCESS_BASE": "http://10.0.0.8:8000/v1", "OPENAI_API_KEY": "sk-of-this-process"}
"""Of the import: credentials are left where they are."""


def text_of(name: str) -> str:
    return (FOLDER / f"{name}.in.yaml").read_text()


def case(name: str) -> Imported:
    return reading.imported({f"{name}.yaml": text_of(name)}, None, ENVIRONMENT, "default")


def problems(found: Imported, reason: str = "") -> list[str]:
    """What a cluster would refuse, or miss, in what was written; for this reason alone, if one is said."""
    contents = [each.content for each in yaml_text.parse(writing.text(found.objects))]
    compiled = compiler.compile(content for content in contents if isinstance(content, dict))
    return [
        f"{status.kind} {status.namespace}/{status.name}: {condition.reason}: {condition.message}"
        for status in compiled.statuses
        for condition in status.conditions
        if condition.type in NEEDED and condition.status == "False" and reason in ("", condition.reason)
    ]
