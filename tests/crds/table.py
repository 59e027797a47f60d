"""The table of documents, good and bad, that crds.parse and an API server must be of one mind about.

`cases/` has whole specs, each with everything that is wrong with it. `fields/` has values field by field, with one
wrong thing at a time: every bound, choice and rule. What is wrong in the same way everywhere, a value of another type
and a field that does not exist, is made for every field of the schema. tests/crds/ holds the table against crds.parse
and a stand-in for the API server, e2e/test_validation.py against a real one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from crds.generate import RESOURCES, schema
from crds.structural import Schema, as_mapping
from tests.crds.patches import ABSENT, Loader, replaced
from tests.crds.server import children

KINDS = tuple(RESOURCES)
Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Case:
    """A spec, and what is said about it."""

    kind: str
    about: str
    """The field, such as `spec.models[0].name`, or a name for the whole spec."""
    value: str
    """What is in the field. Empty: it is about the whole spec."""
    spec: object
    errors: tuple[str, ...] = ()
    """All that crds.parse says, such as `spec.providers: is missing, and it is required`. Empty: it is good."""
    stored: object = None
    """What an API server makes of it; None: the table says nothing of that."""
    server_accepts: bool = False
    """Only Tidegate refuses it."""

    @property
    def document(self) -> dict[str, object]:
        """The whole object."""
        version = "tidegate.dev/v1alpha1"
        return {"apiVersion": version, "kind": self.kind, "metadata": {"name": "x"}, "spec": self.spec}

    def __str__(self) -> str:
        return f"{self.about} {self.value}".strip()


def whole_specs() -> Iterator[Case]:
    """Those of cases/."""
    for kind in KINDS:
        for row in _read("cases", kind):
            accepts = row.get("server") == "accepts"
            yield Case(kind, row["name"], "", row["spec"], tuple(row.get("errors", ())), server_accepts=accepts)


@cache
def by_field() -> tuple[Case, ...]:
    """Those of fields/."""
    return tuple(_by_field())


def _by_field() -> Iterator[Case]:
    for kind in KINDS:
        table = _read("fields", kind)
        for row in table["fields"]:
            start = row.get("start", table["start"])
            for field in row.get("fields", [row.get("field")]):
                yield from _good(kind, field, start, row)
                yield from _bad(kind, field, start, row)


def of_other_types() -> Iterator[Case]:
    """A value of another type in every field."""
    for kind, path, node, spec in _fields():
        wrong, said = _OTHER[str(node["type"])]
        if "enum" in node:
            said = f"must be one of {', '.join(map(str, _list(node['enum'])))}, but is a list"
        amounts = [message for message in _messages(node) if message.startswith(("write a duration", "write a size"))]
        yield Case(kind, path, "another type", replaced(spec, path, wrong), (f"{path}: {(amounts or [said])[0]}",))


def with_unknown_fields() -> Iterator[Case]:
    """A field that does not exist, in every object."""
    for kind, path, node, spec in _fields():
        if node["type"] == "object" and "additionalProperties" not in node:
            known = ", ".join(as_mapping(node.get("properties", {})))
            said = f'unknown field "zzz"; {f"known here: {known}" if known else "write {}"}'
            yield Case(kind, path, "a field zzz", replaced(spec, f"{path}.zzz", 1), (f"{path}.zzz: {said}",))


@cache
def everything() -> Mapping[str, tuple[Case, ...]]:
    """The whole table: a test's worth of cases by what they are about, a field or a whole spec."""
    groups: dict[str, list[Case]] = {}
    for case in (*whole_specs(), *by_field(), *of_other_types(), *with_unknown_fields()):
        groups.setdefault(f"{case.kind}: {case.about}", []).append(case)
    assert all(len(set(map(str, cases))) == len(cases) for cases in groups.values()), "a case is there twice"
    return {about: tuple(cases) for about, cases in groups.items()}


_OTHER: Mapping[str, tuple[object, str]] = {
    "string": ([], "must be text, but is a list"),
    "integer": ({}, "must be a whole number, but is a mapping"),
    "boolean": ([], "must be true or false, but is a list"),
    "array": ({}, 'must be a list (entries that begin with "- "), but is a mapping'),
    "object": ("text", "must be a mapping (name: value), but is text"),
}
"""By a field's type: a value of another, and what is said of it."""


def places(node: Schema, value: object, path: str = "spec") -> Iterator[tuple[str, Schema, object]]:
    """Every place of a spec that the schema knows: its path, its schema, and what is there."""
    yield path, node, value
    for child, entry, place in children(node, value, path):
        if entry is not None:
            yield from places(child, entry, place)


@cache
def spec_schema(kind: str) -> Schema:
    """The schema of the kind's spec."""
    return as_mapping(as_mapping(schema(kind)["properties"])["spec"])


def shape(path: str) -> str:
    """`spec.models[2].name` as `spec.models[].name`: the same for every entry."""
    return re.sub(r'\[(\d+|".*")\]', "[]", path)


@cache
def _fields() -> tuple[tuple[str, str, Schema, object], ...]:
    """Every field once: its kind, its path, its schema, and a good spec that has it."""
    return tuple(_each_field())


def _each_field() -> Iterator[tuple[str, str, Schema, object]]:
    for kind in KINDS:
        found: dict[str, tuple[str, Schema, object]] = {}
        for case in by_field():
            if case.kind == kind and not case.errors:
                for path, node, _ in places(spec_schema(kind), case.spec):
                    found.setdefault(shape(path), (path, node, case.spec))
        for path, node, spec in found.values():
            yield kind, path, node, spec


def _good(kind: str, field: str, start: object, row: Row) -> Iterator[Case]:
    for value in _list(row.get("good", [])):
        spec = replaced(start, field, value)
        yield Case(kind, field, _shown(value), spec, stored=spec)
    for pair in map(as_mapping, _list(row.get("stored", []))):
        spec, stored = (replaced(start, field, pair[key]) for key in ("value", "is"))
        yield Case(kind, field, _shown(pair["value"]), spec, stored=stored)


def _bad(kind: str, field: str, start: object, row: Row) -> Iterator[Case]:
    for refusal in map(as_mapping, _list(row.get("bad", []))):
        at = str(refusal.get("at", field))
        error = f"{at if at.startswith('spec') else field + at}: {refusal['says']}"
        for value in _list(refusal["values"]):
            yield Case(kind, field, _shown(value), replaced(start, field, value), (error,))


def _shown(value: object) -> str:
    text = "absent" if value is ABSENT else repr(value)
    return text if len(text) <= 90 else f"{text[:50]} … {text[-30:]}, {len(text)} long"


def _messages(node: Schema) -> list[str]:
    return [str(as_mapping(rule)["message"]) for rule in _list(node.get("x-kubernetes-validations", []))]


def _list(value: object) -> list[object]:
    assert isinstance(value, list)
    return value


def _read(folder: str, kind: str) -> Any:
    return yaml.load((Path(__file__).parent / folder / f"{kind.lower()}.yaml").read_text("utf-8"), Loader)
