"""What an API server does with an object before it stores it, by the CRD's schema: defaults, bounds, lists and CEL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from crds.structural import Schema, as_mapping
from tests.crds.cel import evaluate

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "object": dict,
    "array": list,
    "boolean": bool,
}


def refusals(schema: Schema, value: object, path: str) -> list[str]:
    """Everything that an API server (with a client that validates strictly) says against `value`."""
    value = defaulted(schema, value)
    found = list(_shape(schema, value, path))
    return found or list(_rules(schema, value, path))


def defaulted(schema: Schema, value: object) -> object:
    """What is stored of a value that is accepted: nulls are taken out, defaults are written, and 1.0 is 1."""
    if isinstance(value, list):
        return [defaulted(as_mapping(schema.get("items", {})), entry) for entry in value]
    if isinstance(value, float) and value.is_integer() and schema.get("type") == "integer":
        return int(value)
    if not isinstance(value, dict):
        return value
    known = as_mapping(schema.get("properties", {}))
    fields = {name: as_mapping(field) for name, field in known.items()}
    defaults = {name: field["default"] for name, field in fields.items() if "default" in field}
    given = {key: defaulted(fields.get(key, {}), entry) for key, entry in value.items() if entry is not None}
    return {**defaults, **given}


def _shape(schema: Schema, value: object, path: str) -> Iterator[str]:
    if not isinstance(value, _TYPES[str(schema["type"])]) or isinstance(value, bool) is not (
        schema["type"] == "boolean"
    ):
        yield f"{path}: not of type {schema['type']}"
        return
    if "enum" in schema and value not in _list(schema["enum"]):
        yield f"{path}: unsupported value"
    yield from _bounds(schema, value, path)
    if isinstance(value, list):
        yield from _unique(schema, value, path)
    if isinstance(value, dict):
        known = as_mapping(schema.get("properties", {}))
        yield from (f"{path}.{name}: required" for name in _list(schema.get("required", [])) if name not in value)
        if "additionalProperties" not in schema:
            yield from (f"{path}.{key}: unknown field" for key in value if key not in known)
    for child, entry, place in children(schema, value, path):
        yield from _shape(child, entry, place)


def _bounds(schema: Schema, value: object, path: str) -> Iterator[str]:
    size = len(value) if isinstance(value, str | list | dict) else value
    assert isinstance(size, int)
    for key, bound in schema.items():
        if key.startswith("min") and isinstance(bound, int) and size < bound:
            yield f"{path}: less than {key}"
        if key.startswith("max") and isinstance(bound, int) and size > bound:
            yield f"{path}: more than {key}"


def _unique(schema: Schema, entries: list[object], path: str) -> Iterator[str]:
    keys = [str(key) for key in _list(schema.get("x-kubernetes-list-map-keys", []))]
    if not schema.get("x-kubernetes-list-type"):
        return
    mappings = [entry for entry in entries if isinstance(entry, dict)]
    identities = [str([entry.get(key) for key in keys]) for entry in mappings] if keys else list(map(str, entries))
    if len(set(identities)) < len(identities):
        yield f"{path}: duplicate value"


def _rules(schema: Schema, value: object, path: str) -> Iterator[str]:
    for rule in _list(schema.get("x-kubernetes-validations", [])):
        said = as_mapping(rule)
        if not evaluate(str(said["rule"]), value):
            yield f"{path}: {said['message']}"
    for child, entry, place in children(schema, value, path):
        yield from _rules(child, entry, place)


def children(schema: Schema, value: object, path: str) -> Iterator[tuple[Schema, object, str]]:
    """What is in a value and known to the schema: its schema, the value, and its path."""
    if isinstance(value, list):
        for index, entry in enumerate(value):
            yield as_mapping(schema["items"]), entry, f"{path}[{index}]"
    if isinstance(value, dict):
        known = as_mapping(schema.get("properties", {}))
        for key, entry in value.items():
            if key in known:
                yield as_mapping(known[key]), entry, f"{path}.{key}"
            elif "additionalProperties" in schema:
                yield as_mapping(schema["additionalProperties"]), entry, f'{path}["{key}"]'


def _list(value: object) -> list[object]:
    assert isinstance(value, list)
    return value
