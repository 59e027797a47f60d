"""From pydantic's JSON schema to a structural schema, the only kind that an API server takes.

The rules are at https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
(“Specifying a structural schema”). What cannot be said in it (unions, tuples, recursion) is refused here, so that a
model that needs it fails when the CRD is made and not when somebody installs it.
"""

from __future__ import annotations

import inspect

from pydantic import BaseModel

Schema = dict[str, object]

# In the order in which they are written.
_KEPT = (
    "description",
    "type",
    "format",
    "enum",
    "default",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "items",
    "additionalProperties",
    "properties",
    "required",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
)
_DROPPED = {"title", "$defs"}


def structural(model: type[BaseModel]) -> Schema:
    """The structural schema of a model.

    Raises `ValueError` for what a structural schema cannot say.
    """
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(schema, as_mapping(schema.get("$defs", {})), ())


def _convert(node: Schema, definitions: Schema, parents: tuple[str, ...]) -> Schema:
    name, node = _resolve(node, definitions)
    if name in parents:
        raise ValueError(f"{name} contains itself, which a structural schema cannot say")
    parents = (*parents, name) if name else parents
    unknown = node.keys() - set(_KEPT) - _DROPPED
    if unknown:
        raise ValueError(f"{name or 'a field'}: a structural schema cannot say {', '.join(sorted(unknown))}")
    result = {key: node[key] for key in _KEPT if key in node and not _says_nothing(key, node[key])}
    if "description" in result:
        result["description"] = " ".join(inspect.cleandoc(str(result["description"])).split())
    if "properties" in result:
        fields = as_mapping(result["properties"])
        result["properties"] = {key: _convert(as_mapping(fields[key]), definitions, parents) for key in fields}
    for key in ("items", "additionalProperties"):
        if isinstance(result.get(key), dict):
            result[key] = _convert(as_mapping(result[key]), definitions, parents)
    if result.get("additionalProperties") is False:  # unknown fields are pruned, or refused by a strict client
        del result["additionalProperties"]
    return result


def _resolve(node: Schema, definitions: Schema) -> tuple[str, Schema]:
    """The node with its reference and its "or null" taken away; what stands beside them wins."""
    if "anyOf" in node:
        options = [option for option in _list(node["anyOf"]) if option != {"type": "null"}]
        if len(options) != 1:
            raise ValueError("a structural schema cannot say a union: use optional fields and exactly_one")
        node = {**options[0], **{key: node[key] for key in node if key != "anyOf"}}
    if "$ref" not in node:
        return "", node
    name = str(node["$ref"]).removeprefix("#/$defs/")
    return name, {**as_mapping(definitions[name]), **{key: node[key] for key in node if key != "$ref"}}


def _says_nothing(key: str, value: object) -> bool:
    return key in ("default", "properties") and value in (None, [], {})


def as_mapping(value: object) -> Schema:
    """The part of a schema that is known to be a schema, or a mapping of names to schemas."""
    if not isinstance(value, dict):
        raise ValueError(f"a schema was expected, not {value!r}")
    return value


def _list(value: object) -> list[Schema]:
    return [as_mapping(entry) for entry in value] if isinstance(value, list) else []
