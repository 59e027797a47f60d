"""A table as it travels: an outline that names every part by its hash, and the parts that the receiver has not.

Of 5,000 routes one change is a few hundred bytes of parts. They are JSON, each by itself, so that whoever receives
them can read some at a time: all in one go would hold up its sessions for 0.2 s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from dataplane.table import SCHEMA, Backend, CallerSet, Listener, Route, Table, hash_of

Part = Backend | Listener | Route | CallerSet
Parts = Mapping[str, Part]
"""By their hashes."""
Kind = Literal["backend", "listener", "route", "callers"]


@dataclass(frozen=True, slots=True)
class Outline:
    """A table without its parts: their hashes, in order."""

    schema_number: int = SCHEMA
    backends: tuple[str, ...] = ()
    listeners: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    callers: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    """Ids, as in the table."""
    unreadable: tuple[str, ...] = ()
    """As in the table."""


class Written(NamedTuple):
    """A part as it travels."""

    kind: Kind
    hash: str
    json: bytes


def outlined(table: Table) -> tuple[Outline, Parts]:
    """The outline of a table, and its parts."""
    of_table = (table.backends, table.listeners, table.routes, table.callers)
    sections = [{hash_of(part): part for part in section} for section in of_table]
    backends, listeners, routes, callers = map(tuple, sections)
    parts = {name: part for section in sections for name, part in section.items()}
    return Outline(table.schema_number, backends, listeners, routes, callers, table.secrets, table.unreadable), parts


def written(parts: Parts, known: Iterable[str] = ()) -> Iterator[Written]:
    """The parts that the receiver needs beside those that are `known` to it."""
    for name in parts.keys() - set(known):
        part = parts[name]
        yield Written(_KINDS[type(part)], name, part.model_dump_json(exclude_defaults=True).encode())


def read(part: Written) -> Part:
    """Raises pydantic.ValidationError for what is no such part."""
    return _TYPES[part.kind].model_validate_json(part.json)


def assembled(outline: Outline, parts: Parts) -> Table:
    """The table of an outline. Raises KeyError where a part is missing."""
    return Table.model_validate(
        {
            "schema": outline.schema_number,
            "backends": tuple(parts[name] for name in outline.backends),
            "listeners": tuple(parts[name] for name in outline.listeners),
            "routes": tuple(parts[name] for name in outline.routes),
            "callers": tuple(parts[name] for name in outline.callers),
            "secrets": outline.secrets,
            "unreadable": outline.unreadable,
        }
    )


_TYPES: dict[Kind, type[Part]] = {
    "backend": Backend,
    "listener": Listener,
    "route": Route,
    "callers": CallerSet,
}
_KINDS: dict[type[Part], Kind] = {type_: kind for kind, type_ in _TYPES.items()}
