"""A table as it travels: an outline that names every part by its hash, and the parts that the receiver has not.

Of 5,000 routes one change is a few hundred bytes of parts. They are JSON, each by itself, so that whoever receives
them can read some at a time: all in one go would hold up its sessions for 0.2 s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from typing import Annotated, Literal, NamedTuple

from pydantic import ConfigDict, Field, ValidationError

from dataplane.table import SCHEMA, Backend, CallerSet, EndpointSet, Listener, Part, Route, Table, hash_of
from dataplane.table.entry import Frozen, canonical, content

Parts = Mapping[str, Part]
"""By their hashes."""
Kind = Literal["backend", "route", "callers", "listener", "endpoints"]
Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Hashes = Annotated[tuple[Hash, ...], Field(max_length=200_000)]


class Unreadable(ValueError):
    """What is no part, or no table, of this version. It says where, and never what was there."""


class Outline(Frozen):
    """A table without its parts: their hashes, in order."""

    model_config = ConfigDict(populate_by_name=True)

    schema_number: int = Field(default=SCHEMA, alias="schema")
    backends: Hashes = ()
    routes: Hashes = ()
    callers: Hashes = ()
    listeners: Hashes = ()
    endpoints: Hashes = ()
    secrets: tuple[str, ...] = ()
    """Ids, as in the table."""
    hints: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    """As in the table."""

    def sections(self) -> Iterator[tuple[str, Hashes]]:
        """As those of the table."""
        yield "backends", self.backends
        yield "routes", self.routes
        yield "callers", self.callers
        yield "listeners", self.listeners
        yield "endpoints", self.endpoints

    def names(self) -> Iterator[str]:
        """The hashes of all parts."""
        return chain.from_iterable(names for _, names in self.sections())

    def plain(self) -> dict[str, object]:
        """For JSON: without what is empty, so that an earlier version can read what was lowered to its schema."""
        return {**self.model_dump(by_alias=True, exclude_defaults=True), "schema": self.schema_number}


class Written(NamedTuple):
    """A part as it travels."""

    kind: Kind
    hash: str
    json: bytes
    """Canonical; the hash is its SHA-256."""


def outlined(table: Table) -> tuple[Outline, Parts]:
    """The outline of a table, and its parts."""
    sections = {name: {hash_of(part): part for part in parts} for name, parts in table.sections()}
    outline = Outline.model_validate(
        {
            "schema": table.schema_number,
            **{name: tuple(section) for name, section in sections.items()},
            "secrets": table.secrets,
            "hints": table.hints,
            "unreadable": table.unreadable,
        }
    )
    parts = {name: part for section in sections.values() for name, part in section.items()}
    return outline, parts


def table_hash(outline: Outline) -> str:
    """What a table is known by: SHA-256 of its outline, equal on every replica that compiled the same objects."""
    return hashlib.sha256(canonical(outline.plain())).hexdigest()


def written(parts: Parts, known: Collection[str] = ()) -> Iterator[Written]:
    """The parts that the receiver needs beside those that are `known` to it."""
    for name, part in parts.items():
        if name not in known:
            yield Written(_KINDS[type(part)], name, content(part))


def read(part: Written) -> Part:
    """Raises Unreadable for what is no such part, or has another hash."""
    if hashlib.sha256(part.json).hexdigest() != part.hash:
        raise Unreadable(f"a part of kind {part.kind} is not what its hash {part.hash[:12]} says")
    found = _validated(_TYPES[part.kind], part)
    return found.model_copy(update={"hash": part.hash}) if isinstance(found, Backend | Route | Listener) else found


def assembled(outline: Outline, parts: Parts) -> Table:
    """The table of an outline. Raises KeyError where a part is missing, and Unreadable where one is of another kind
    than its section."""
    sections = {name: tuple(parts[each] for each in names) for name, names in outline.sections()}
    try:
        return Table.model_validate(
            {
                "schema": outline.schema_number,
                **sections,
                "secrets": outline.secrets,
                "hints": outline.hints,
                "unreadable": outline.unreadable,
            }
        )
    except ValidationError as error:
        raise Unreadable(f"the table cannot be read: {first_fault(error)}") from None


def first_fault(error: ValidationError) -> str:
    """Where it is and what is wrong, without the value, which may be nobody's business."""
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}"[:300]


def _validated(type_: type[Part], part: Written) -> Part:
    try:
        return type_.model_validate_json(part.json)
    except ValidationError as error:
        raise Unreadable(f"a part of kind {part.kind} cannot be read: {first_fault(error)}") from None


_TYPES: dict[Kind, type[Part]] = {
    "backend": Backend,
    "route": Route,
    "callers": CallerSet,
    "listener": Listener,
    "endpoints": EndpointSet,
}
_KINDS: dict[type[Part], Kind] = {type_: kind for kind, type_ in _TYPES.items()}
