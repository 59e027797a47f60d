"""The API reference for readers, made from the same schemas as the CRDs: `python -m crds.reference [--check]`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from crds.artefacts import keep
from crds.base import API_VERSION
from crds.generate import RESOURCES, schema
from crds.structural import Schema, as_mapping

FILE: Final = Path(__file__).parents[1] / "docs" / "reference" / "api.md"

_INTRODUCTION = f"""\
<!-- Made from the models in crds/ by `python -m crds.reference`; edit those. -->

# API reference

The kinds of API version `{API_VERSION}`. In a cluster, `kubectl explain tgb.spec` and `kubectl explain tgp.spec`
show the same text. `[]` in a path is an entry of a list, `.*` a value of a map. Fields in **bold** are required
wherever the object that holds them is written.
"""

EXAMPLES: Final = {
    "Backend": """\
apiVersion: tidegate.dev/v1alpha1
kind: Backend
metadata:
  name: voice
  namespace: ai
spec:
  providers:
  - name: openai
    openai: {}
    auth: {secretRef: {name: openai-secret}}
    defaultModel: gpt-realtime
  - name: vllm
    custom: {}
    url: https://vllm.example.com/v1
  models:
  - name: voice
    targets:
    - {provider: openai, model: gpt-realtime, weight: 90}
    - {provider: vllm, model: our-voice-model, weight: 10}
    price: {inputText: "4", inputAudio: "32", outputText: "16", outputAudio: "64"}
  - name: gpt-*
    targets: [{provider: openai}]
  routes:
    /v1/chat/completions: Completions
    /v1/realtime: Realtime
    "*": Passthrough
  expose: {hostnames: [voice.example.com], pathPrefix: /}
  timeouts: {connect: 3s, response: 5m}
  maxSessions: 500
""",
    "Policy": """\
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata:
  name: voice-callers
  namespace: ai
spec:
  targetRefs:
  - {group: tidegate.dev, kind: Backend, name: voice}
  authentication:
    mode: Required
    keys: [{secretRef: {name: support-keys}, team: support}]
  models: {allow: [voice, gpt-realtime*]}
  transformation:
    request:
      set: [{name: x-team, value: "${caller.team}"}]
      remove: [sec-websocket-extensions]
  session: {idle: 10m, duration: 1h, maxMessage: 16Mi}
  telemetry: {logEvents: [session.created, response.done]}
""",
}


def render() -> str:
    """The reference of every kind, as Markdown."""
    return "\n".join([_INTRODUCTION, *(_kind(kind) for kind in RESOURCES)])


def _kind(kind: str) -> str:
    resource, whole = RESOURCES[kind], schema(kind)
    fields = as_mapping(whole["properties"])
    return f"""\
## {kind}

{whole["description"]} Short name `{resource.short}`: `kubectl get {resource.short}`.

```yaml
{EXAMPLES[kind]}```

### {kind} spec

{_table("spec", as_mapping(fields["spec"]))}
### {kind} rules

{_rules("spec", as_mapping(fields["spec"]))}
### {kind} status

{_table("status", as_mapping(fields["status"]))}"""


def _table(root: str, node: Schema) -> str:
    rows = ["| Field | Type | Default | Bounds | Description |", "|---|---|---|---|---|"]
    for path, field, required in _fields(root, node):
        name = f"**`{path}`**" if required else f"`{path}`"
        default = f"`{field['default']}`" if "default" in field else ""
        cells = (name, _type(field), default, _bounds(field), _prose(field.get("description", "")))
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def _rules(root: str, node: Schema) -> str:
    """Every rule's message once, with the paths of all the fields that it holds for."""
    paths: dict[str, list[str]] = {}
    for path, field in _nodes(root, node):
        for rule in _validations(field):
            paths.setdefault(rule, []).append(f"`{path}`")
    return "".join(f"- {', '.join(holders)}: {_prose(message)}.\n" for message, holders in paths.items())


def _validations(node: Schema) -> list[str]:
    rules = node.get("x-kubernetes-validations", [])
    return [str(as_mapping(rule)["message"]) for rule in rules] if isinstance(rules, list) else []


def _fields(path: str, node: Schema) -> Iterator[tuple[str, Schema, bool]]:
    """Every field below `node`: its path, its schema, whether it is required."""
    path, node = _inside(path, node)
    required = node.get("required", [])
    for name, child in as_mapping(node.get("properties", {})).items():
        field = as_mapping(child)
        yield f"{path}.{name}", field, isinstance(required, list) and name in required
        yield from _fields(f"{path}.{name}", field)


def _nodes(path: str, node: Schema) -> Iterator[tuple[str, Schema]]:
    """`node` and everything below it, entries of lists and values of maps too."""
    yield path, node
    for key, suffix in (("items", "[]"), ("additionalProperties", ".*")):
        if key in node:
            yield from _nodes(path + suffix, as_mapping(node[key]))
    for name, child in as_mapping(node.get("properties", {})).items():
        yield from _nodes(f"{path}.{name}", as_mapping(child))


def _inside(path: str, node: Schema) -> tuple[str, Schema]:
    return _inside(path + "[]", as_mapping(node["items"])) if "items" in node else (path, node)


def _type(node: Schema) -> str:
    if "items" in node:
        return f"list of {_type(as_mapping(node['items']))}"
    if "additionalProperties" in node:
        return f"map of string to {_type(as_mapping(node['additionalProperties']))}"
    choices = node.get("enum")
    if isinstance(choices, list):
        return " or ".join(f"`{choice}`" for choice in choices)
    return "time" if node.get("format") == "date-time" else str(node["type"])


def _prose(text: object) -> str:
    """Text that has signs with a meaning in Markdown, as it is."""
    return re.sub(r"[*_|<]", r"\\\g<0>", str(text))


def _bounds(node: Schema) -> str:
    for low, high, unit in (
        ("minItems", "maxItems", " entries"),
        ("minLength", "maxLength", " characters"),
        ("", "maxProperties", " entries"),
        ("minimum", "maximum", ""),
    ):
        if high in node:
            return f"{node.get(low, 0)} to {node[high]}{unit}"
    return ""


if __name__ == "__main__":
    sys.exit(keep({FILE: render()}, sys.argv[1:], "crds.reference"))
