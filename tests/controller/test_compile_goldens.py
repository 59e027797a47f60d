"""The compiler against goldens: `compile/<case>.in.yaml` is what somebody applies, `<case>.out.yaml` what comes of it;
in a cluster, where `<case>.install.yaml` says what the install is like.

After a wanted change: `UPDATE_GOLDENS=1 pytest tests/controller/test_compile_goldens.py`, then read the diff.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

import crds
from controller import compile as compiler
from controller.compile import Compiled, Condition, Install, Status
from tests.dataplane.certificates import pair
from tidegate.documents import Documents

FOLDER = Path(__file__).parent / "compile"
CASES = sorted(path.name.removesuffix(".in.yaml") for path in FOLDER.glob("*.in.yaml"))


def _install(path: Path) -> Install:
    return TypeAdapter(Install).validate_python(yaml.safe_load(path.read_text()))


INSTALLS = {path.name.removesuffix(".install.yaml"): _install(path) for path in FOLDER.glob("*.install.yaml")}
OPTIONS: dict[str, dict[str, Any]] = {
    "loopback-open": {"open_by_default": True},
    "limits-with-store": {"has_store": True},
    **{case: {"install": install} for case, install in INSTALLS.items()},
}


CHAIN, KEY = pair("a.test", datetime(2100, 1, 2, 3, 4, 5, tzinfo=UTC))
OLD_CHAIN, OLD_KEY = pair("old.test", datetime(2020, 1, 1, tzinfo=UTC))
OTHER_CHAIN, _ = pair("b.test")
MADE = {
    "MADE-CHAIN": CHAIN,
    "MADE-KEY": KEY,
    "OTHER-CHAIN": OTHER_CHAIN,
    "OLD-CHAIN": OLD_CHAIN,
    "OLD-KEY": OLD_KEY,
    "BOTH-CHAINS": f"# old\n{OLD_CHAIN}\n# new\n{CHAIN}",
}
"""What stands for certificates and keys in Secrets: nobody's is in a repository."""


def documents(case: str) -> list[dict[str, object]]:
    path = FOLDER / f"{case}.in.yaml"
    if case in INSTALLS:  # of which a cluster has more kinds than files
        return [_with_certificates(document) for document in yaml.safe_load_all(path.read_text())]
    loaded = Documents(environ={}).load([path])
    assert loaded.errors == ()
    return [dict(content) for content in loaded.contents]


def _with_certificates(document: dict[str, object]) -> dict[str, object]:
    written = document.get("stringData")
    if isinstance(written, dict):
        written.update({name: MADE.get(value, value) for name, value in written.items()})
    return document


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    path = FOLDER / f"{case}.out.yaml"
    text = readable(compiler.compile(documents(case), **OPTIONS.get(case, {})))
    if os.environ.get("UPDATE_GOLDENS"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("invalid-")])
def test_the_inputs_of_valid_cases_are_valid_objects(case: str) -> None:
    for document in documents(case):
        if document["kind"] in ("Backend", "Policy"):
            crds.parse(document)


def test_every_output_has_its_input() -> None:
    assert sorted(path.name.removesuffix(".out.yaml") for path in FOLDER.glob("*.out.yaml")) == CASES


HASH = {"__all__": {"hash"}}


def readable(compiled: Compiled) -> str:
    """Table and statuses as YAML, without hashes and what is as it always is."""
    table = compiled.table.model_dump(
        mode="json", exclude_defaults=True, exclude={"backends": HASH, "routes": HASH, "listeners": HASH}
    )
    assert tuple(sorted(compiled.secrets)) == compiled.table.secrets
    told: dict[str, object] = {
        "table": table,
        "statuses": {_name(status): _told(status) for status in compiled.statuses},
    }
    if compiled.services:
        told["services"] = [dict(service) for service in compiled.services]
    return yaml.dump(told, Dumper=Blocks, sort_keys=False, width=118, allow_unicode=True)


def _name(status: Status) -> str:
    return f"{status.kind} {status.namespace}/{status.name}" if status.namespace else f"{status.kind} {status.name}"


def _told(status: Status) -> dict[str, object]:
    told: dict[str, object] = _conditions(status.conditions)
    if len(status.ancestors) > 1:
        told |= {f"on {ancestor.ref}": _conditions(ancestor.conditions) for ancestor in status.ancestors}
    for parent in status.parents:
        ref = ", ".join(f"{name} {value}" for name, value in parent.ref.items())
        told[f"at {ref}"] = _conditions(parent.conditions)
    for listener in status.listeners:
        kinds = [kind for _, kind in listener.kinds]
        told[f"listener {listener.name}"] = {
            **_conditions(listener.conditions),
            "supportedKinds": kinds,
            "attachedRoutes": listener.attached,
        }
    return told


def _conditions(conditions: Iterable[Condition]) -> dict[str, object]:
    return {each.type: f"{each.status} ({each.reason}): {each.message}" for each in conditions}


class Blocks(yaml.SafeDumper):
    """Text of several lines as a block."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Blocks.add_representer(str, _text)
