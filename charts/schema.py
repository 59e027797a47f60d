"""values.schema.json: what Helm holds every install to. It refuses unknown names: a typo is no silent default."""

from __future__ import annotations

import json

from charts.parts import Part

Node = dict[str, object]
DIALECT = "http://json-schema.org/draft-07/schema#"
_DROPPED = {"title", "$defs", "examples"}


def render(values: type[Part]) -> str:
    """The schema as JSON."""
    return json.dumps({"$schema": DIALECT, **tree(values)}, indent=2, ensure_ascii=False) + "\n"


def tree(values: type[Part]) -> Node:
    """The schema of a chart's values, without references: a reader, and an editor, find each value in its place."""
    schema = values.model_json_schema(by_alias=True)
    definitions = schema.get("$defs", {})
    return _plain(schema, definitions)


def _plain(node: Node, definitions: dict[str, Node]) -> Node:
    if "$ref" in node:
        name = str(node["$ref"]).removeprefix("#/$defs/")
        node = {**definitions[name], **{key: each for key, each in node.items() if key != "$ref"}}
    plain = {key: each for key, each in node.items() if key not in _DROPPED}
    if "default" in plain and "properties" in plain:
        del plain["default"]  # its fields have theirs
    for key in ("items", "additionalProperties"):
        if isinstance(each := plain.get(key), dict):
            plain[key] = _plain(each, definitions)
    if isinstance(fields := plain.get("properties"), dict):
        plain["properties"] = {name: _plain(each, definitions) for name, each in fields.items()}
    if isinstance(choices := plain.get("anyOf"), list):
        plain["anyOf"] = [_plain(each, definitions) for each in choices]
    return plain
