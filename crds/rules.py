"""Rules of the API, each written once for both of its readers.

A rule is checked by Tidegate when it reads an object (a file, or what the cluster sent) and by the API server when
somebody applies one. Keeping the CEL expression beside the Python check is what keeps the two from drifting apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

RULE_ERROR = "tidegate_rule"


def refuse(message: str, *at: str | int) -> PydanticCustomError:
    """The error to raise for a broken rule. `at` leads from the value being checked to the field at fault."""
    return PydanticCustomError(RULE_ERROR, "{message}", {"message": message, "at": at})


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule on one value: use it as `Annotated[T, Rule(...)]`, or in `ApiModel.rules` for a whole object.

    `check` answers whether the value obeys, or raises `refuse(...)` where it can be more precise than `message`.
    """

    cel: str
    message: str
    check: Callable[[Any], bool]  # the value's own type: str for a name, the model for a rule on an object

    def enforce(self, value: object) -> object:
        if not self.check(value):
            raise refuse(self.message)
        return value

    def as_validation(self) -> dict[str, str]:
        """The rule as an item of `x-kubernetes-validations`."""
        return {"rule": self.cel, "message": self.message}

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.enforce, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        json = handler(schema)
        json.setdefault("x-kubernetes-validations", []).append(self.as_validation())
        return json


@dataclass(frozen=True, slots=True)
class Unique:
    """Entries of a list are distinct: by the field `key` for objects, as they are for text."""

    key: str | None = None

    def enforce(self, entries: tuple[object, ...]) -> tuple[object, ...]:
        seen: set[object] = set()
        for index, entry in enumerate(entries):
            value = entry if self.key is None else getattr(entry, self.key)
            if value in seen:
                raise refuse(f'"{value}" is used twice; each may appear once', index, *filter(None, [self.key]))
            seen.add(value)
        return entries

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.enforce, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        json = handler(schema)
        if self.key is None:
            return {**json, "x-kubernetes-list-type": "set"}
        return {**json, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [self.key]}


def matching(pattern: str, message: str) -> Rule:
    """The whole text matches `pattern`, which Python's `re` and RE2 must read alike: plain ASCII classes only.

    This is CEL and not the schema's `pattern`, since the API server's complaint about a pattern is the pattern.
    """
    compiled = re.compile(pattern, re.ASCII)
    return Rule(f'self.matches(r"^({pattern})$")', message, lambda text: compiled.fullmatch(text) is not None)


def exactly_one(*fields: str, example: str) -> Rule:
    """Exactly one of these optional fields (Python names) of an object is set."""
    message = f"set exactly one of {', '.join(map(to_camel, fields))}, for example {example}"

    def check(value: BaseModel) -> bool:
        found = _which(value, fields)
        if len(found) != 1:
            raise refuse(f"{message}; set here: {', '.join(map(to_camel, found)) or 'none of them'}")
        return True

    listed = ", ".join(f"has(self.{to_camel(field)})" for field in fields)
    return Rule(f"[{listed}].exists_one(x, x)", message, check)


def at_least_one(*fields: str) -> Rule:
    """At least one of these optional fields (Python names) of an object is set."""
    names = ", ".join(map(to_camel, fields))
    cel = " || ".join(f"has(self.{to_camel(field)})" for field in fields)
    message = f"set at least one of {names}"
    return Rule(cel, message, lambda value: bool(_which(value, fields)))


def _which(value: BaseModel, fields: tuple[str, ...]) -> list[str]:
    """Those that were written, be it an empty list: as CEL's `has` sees it."""
    return [field for field in fields if field in value.model_fields_set and getattr(value, field) is not None]
