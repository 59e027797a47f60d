"""Objects that go on as they are, but for what leads to agentgateway's kinds."""

from __future__ import annotations

import base64
import binascii
import copy
import json
from collections.abc import Iterator

import crds.base
from tidegate.importing.agentgateway.policies import BACKEND
from tidegate.importing.fields import Fields
from tidegate.importing.report import Steps
from tidegate.importing.writing import Object

_CLASS = "tidegate"
_KEY_FIELDS = frozenset(["key", "sha256", "expires"])


def passed_on(document: Fields, kind: str, namespace: str) -> Object:
    """The object for Tidegate, with findings of what is another now."""
    content: Object = copy.deepcopy(dict(document.content))
    metadata = content["metadata"]
    assert isinstance(metadata, dict), "whoever read its name has seen to it"
    metadata["namespace"] = namespace
    for steps, entry in list(_inside(content, ())):
        if (entry.get("group"), entry.get("kind")) == BACKEND:
            entry.update(group=crds.base.GROUP, kind="Backend")
            _changed(document, (*steps, "kind"), "is Backend of tidegate.dev")
    spec = content.get("spec")
    if kind == "Gateway" and isinstance(spec, dict) and spec.get("gatewayClassName") != _CLASS:
        spec["gatewayClassName"] = _CLASS
        _changed(document, ("spec", "gatewayClassName"), f"is {_CLASS}, as the chart names its class")
    if kind == "Secret":
        _without_metadata(document, content)
    return content


def _inside(value: object, steps: Steps) -> Iterator[tuple[Steps, dict[str, object]]]:
    """Every mapping in it."""
    if isinstance(value, dict):
        yield steps, value
        for name, entry in value.items():
            yield from _inside(entry, (*steps, name))
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _inside(entry, (*steps, index))


def _changed(document: Fields, steps: Steps, message: str) -> None:
    document.report.add(document.source, (*document.steps, *steps), "changed", message)


def _without_metadata(document: Fields, content: Object) -> None:
    """Keys of callers as JSON: beside the key, Tidegate reads when it expires."""
    for block in ("data", "stringData"):
        entries = content.get(block)
        for name, value in list(entries.items()) if isinstance(entries, dict) else ():
            text = _decoded(value) if block == "data" else value
            if (kept := _kept(text)) is not None:
                entries[name] = base64.b64encode(kept.encode()).decode() if block == "data" else kept  # type: ignore[index]
                _changed(document, (block, name), "has its key alone: what else is known of a caller, a Policy says")


def _decoded(value: object) -> str | None:
    try:
        return base64.b64decode(str(value), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _kept(text: object) -> str | None:
    """The JSON without what Tidegate refuses; None where nothing has to change."""
    try:
        written = json.loads(text) if isinstance(text, str) and text.lstrip().startswith("{") else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(written, dict) or "key" not in written or written.keys() <= _KEY_FIELDS:
        return None
    return json.dumps({name: value for name, value in written.items() if name in _KEY_FIELDS})
