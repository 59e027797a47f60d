"""What is wrong with an object, in the words of somebody who writes YAML.

pydantic's own messages speak of Python and quote the input, which may be a credential in the wrong place. So each of
its error types is put into words here, and one without words gets a plain sentence rather than its own.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from pydantic import BaseModel
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from crds.rules import RULE_ERROR

_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
_FEW = 2
"""Places of one name that are told: what is in more may be meant anywhere."""
_OF_MANY = "namespace"
"""A field of many objects: that one has it says nothing of where another belongs."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong: `path` like `spec.providers[0].url` ("" is the document), `message` says what to do."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class Invalid(ValueError):
    """A document is no valid Backend or Policy; `errors` has everything that is wrong, at least one."""

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("; ".join(map(str, errors)))
        self.errors = errors


def explain(model: type[BaseModel], error: ErrorDetails) -> FieldError:
    """One error of pydantic's, from validating `model`, as a path and a sentence."""
    place = [part for part in error["loc"] if part != "[key]"]
    context: Mapping[str, object] = error.get("ctx", {})
    if error["type"] == RULE_ERROR:
        at = context["at"]
        return FieldError(path_of([*place, *(at if isinstance(at, tuple) else ())]), str(context["message"]))
    if error["type"] == "extra_forbidden":
        name = str(place[-1])
        return FieldError(path_of(place), _unknown_field(name, _fields_at(model, place[:-1]), _places(model, name)))
    words = _WORDS.get(error["type"])
    message = words(context, error["input"]) if words else "this value is not valid; kubectl explain says what is"
    return FieldError(path_of(place), message)


def path_of(place: Sequence[str | int]) -> str:
    """`("spec", "routes", "/v1", 0)` as `spec.routes["/v1"][0]`."""
    path = ""
    for part in place:
        if isinstance(part, int):
            path += f"[{part}]"
        elif _IDENTIFIER.fullmatch(part):
            path += f".{part}" if path else part
        else:
            path += f"[{json.dumps(part, ensure_ascii=False)}]"
    return path


def one_of(choices: Sequence[str], given: object, what: str) -> str:
    """A message for a value that is none of `choices`."""
    listed = ", ".join(choices)
    if not isinstance(given, str):
        return f"must be one of {listed}, but is {_kind(given)}"
    suggestion = _suggestion(given, choices)
    choice = "" if suggestion and len(choices) == 1 else f"use one of: {listed}"
    return f'unknown {what} "{_shortened(given)}"; {" ".join(filter(None, [suggestion, choice]))}'


def _unknown_field(name: str, known: Sequence[str], elsewhere: Sequence[str]) -> str:
    hint = _suggestion(name, known)
    if not hint and name != _OF_MANY and 0 < len(elsewhere) <= _FEW:
        hint = f"write it as {' or '.join(elsewhere)}"
    hint = hint or (f"known here: {', '.join(known)}" if known else "write {}")
    return f'unknown field "{_shortened(name)}"; {hint}'


def _places(model: type[BaseModel], name: str, path: str = "") -> list[str]:
    """Paths of the fields of that name in all of a document, such as `spec.session.onRevoke`."""
    found: list[str] = []
    for field_name, field in model.model_fields.items():
        known = field.alias or field_name
        here = f"{path}{known}"
        if known == "metadata":
            continue  # it says of the object what fields of that name say of others
        found += [here] if known.lower() == name.lower() else []
        inside = next(_models_in(field.annotation), None)
        found += _places(inside, name, f"{here}.") if inside else []
    return found


def _suggestion(given: str, choices: Sequence[str]) -> str:
    by_lower = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(given.lower(), by_lower, n=1, cutoff=0.7)
    return f'did you mean "{by_lower[close[0]]}"?' if close else ""


def _shortened(text: str) -> str:
    return text if len(text) <= 64 else text[:61] + "…"


def _fields_at(model: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """Names of the fields that the object at `place` may have."""
    current: type[BaseModel] = model
    for part in place:
        for name, field in current.model_fields.items():
            if part in (field.alias, to_camel(name)):
                current = next(_models_in(field.annotation), current)
    return [field.alias or name for name, field in current.model_fields.items()]


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _kind(value: object) -> str:
    """What a value is called in YAML."""
    names: list[tuple[type | tuple[type, ...], str]] = [
        (bool, "true or false"),
        ((int, float), "a number"),
        (str, "text"),
        (Mapping, "a mapping"),
        (list, "a list"),
    ]
    return next((name for kind, name in names if isinstance(value, kind)), "empty" if value is None else "a date")


def _must_be(what: str) -> Callable[[Mapping[str, object], object], str]:
    return lambda _, given: f"must be {what}, but is {_kind(given)}"


def _text(_: Mapping[str, object], given: object) -> str:
    if isinstance(given, str | dict | list) or given is None:
        return f"must be text, but is {_kind(given)}"
    return f"must be text, but YAML reads it as {_kind(given)}: put it in quotes"


def _whole_number(_: Mapping[str, object], given: object) -> str:
    if isinstance(given, str) and given.strip().lstrip("+-").isdecimal():
        return "must be a whole number, but is text: remove the quotes"
    if isinstance(given, str) and re.fullmatch(r"[0-9][0-9.,_e+ -]*", given.strip(), re.IGNORECASE):
        return "must be a whole number, but is text: write digits alone, without quotes"
    return f"must be a whole number, but is {'a decimal' if isinstance(given, float) else _kind(given)}"


def _truth(_: Mapping[str, object], given: object) -> str:
    quoted = isinstance(given, str) and given.lower() in ("true", "false")
    return f"must be true or false, but is {_kind(given)}{': remove the quotes' if quoted else ''}"


def _choice(context: Mapping[str, object], given: object) -> str:
    return one_of(re.findall(r"'([^']*)'", str(context["expected"])), given, "value")


def _too_long(context: Mapping[str, object], given: object) -> str:
    size = len(given) if isinstance(given, dict | list) else "too many"
    return f"has {size} entries; at most {context['max_length']} are allowed"


def _too_short(_: Mapping[str, object], __: object) -> str:
    return "must not be empty: write at least one entry, or leave the field out if it is optional"


_TIME = "write a time with its zone, such as 2026-01-31T12:00:00Z"

_WORDS: dict[str, Callable[[Mapping[str, object], object], str]] = {
    "missing": lambda _, __: "is missing, and it is required",
    "string_type": _text,
    "int_type": _whole_number,
    "int_from_float": _whole_number,
    "bool_type": _truth,
    "model_type": _must_be("a mapping (name: value)"),
    "model_attributes_type": _must_be("a mapping (name: value)"),
    "dict_type": _must_be("a mapping (name: value)"),
    "tuple_type": _must_be('a list (entries that begin with "- ")'),
    "invalid_key": lambda _, __: "is no field name: names of fields are text",
    "enum": _choice,
    "literal_error": _choice,
    "string_too_short": lambda _, __: "must not be empty",
    "string_too_long": lambda context, _: f"is too long: at most {context['max_length']} characters are allowed",
    "too_long": _too_long,
    "too_short": _too_short,
    "greater_than_equal": lambda context, _: f"must be {context['ge']} or more",
    "less_than_equal": lambda context, _: f"must be {context['le']} or less",
    "datetime_type": lambda _, __: _TIME,
    "datetime_parsing": lambda _, __: _TIME,
    "datetime_from_date_parsing": lambda _, __: _TIME,
    "timezone_aware": lambda _, __: _TIME,
}
