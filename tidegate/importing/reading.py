"""Whose configuration a file is, and its import."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tidegate import yaml_text
from tidegate.importing import agentgateway, litellm
from tidegate.importing.report import Finding, Report, Source
from tidegate.importing.writing import Object

Origin = Literal["litellm", "agentgateway"]


class Unreadable(Exception):
    """There is nothing that can be imported; the message says where and why, and holds no value."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of it."""

    objects: Sequence[Object] = field(repr=False)  # Secrets among them
    findings: Sequence[Finding]


def imported(files: Mapping[str, str], origin: Origin | None, environ: Mapping[str, str], namespace: str) -> Imported:
    """The text of files by their names. `origin`: whose they are; None: what they look like. Raises Unreadable."""
    report = Report()
    sources = [source for file, text in files.items() for source in _sources(file, text)]
    if not sources:
        raise Unreadable("there is nothing in these files")
    found = {origin or _origin(source) for source in sources}
    if len(found) > 1:
        raise Unreadable("some of these files are LiteLLM's, and some agentgateway's: import them one after the other")
    if found == {"litellm"}:
        objects = litellm.convert(sources, report, environ, namespace)
    else:
        objects = agentgateway.convert(sources, report, namespace)
    return Imported(objects, report.sorted(list(files)))


def _sources(file: str, text: str) -> Iterable[Source]:
    try:
        parsed = yaml_text.parse(text)
    except yaml_text.NotYaml as error:
        raise Unreadable(f"{file}:{error.line}:{error.column}: {error}") from None
    for each in parsed:
        if not isinstance(each.content, dict):
            raise Unreadable(f"{file}:{each.lines.get((), 1)}: is no mapping")
        yield Source(file, each.content, each.lines)


def _origin(source: Source) -> Origin:
    """Raises Unreadable."""
    if litellm.BLOCKS & source.content.keys():
        return "litellm"
    if source.content.keys() >= {"apiVersion", "kind"}:
        return "agentgateway"
    if source.content.keys() & {"binds", "llm"}:
        raise Unreadable(f"{source.file}: is agentgateway's own file; its Kubernetes resources can be imported")
    raise Unreadable(
        f"{source.file}: is no configuration that can be imported: LiteLLM's has a model_list, agentgateway's "
        "resources have apiVersion and kind"
    )
