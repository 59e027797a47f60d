"""What the table is made of: frozen models, and how they are known by their content."""

from __future__ import annotations

import hashlib
from typing import Annotated, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Frozen(BaseModel):
    """Base of every model of the table."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Entry(Frozen):
    """A part of the routes section that is loaded by itself."""

    name: str
    hash: str = ""
    """SHA-256 of its `content`; see `sealed`."""
    error: str = ""
    """Why the object behind this entry cannot be served; its requests are answered 500 with this message."""


EntryT = TypeVar("EntryT", bound=Entry)


def sealed(entry: EntryT) -> EntryT:
    """The entry with its hash filled in."""
    return weighed(entry)[0]


def weighed(entry: EntryT) -> tuple[EntryT, int]:
    """The entry with its hash filled in, and how many bytes it is of."""
    body = content(entry)
    return entry.model_copy(update={"hash": hashlib.sha256(body).hexdigest()}), len(body)


def hash_of(part: Frozen) -> str:
    """The entry's own hash, or that of what has none."""
    return (isinstance(part, Entry) and part.hash) or digest(part)


def digest(part: Frozen) -> str:
    """SHA-256 of the content, in hex."""
    return hashlib.sha256(content(part)).hexdigest()


def content(part: Frozen) -> bytes:
    """Canonical JSON, without the hash and without what is as everywhere: a field that a later version adds changes
    nothing for those that do not have it."""
    return canonical(part.model_dump(mode="json", exclude={"hash"}, exclude_defaults=True))


def canonical(value: object) -> bytes:
    """JSON with sorted keys and no white space: equal values, equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
