"""Raw query strings, kept byte for byte.

A gateway that decodes a query and encodes it again changes it (`%2F`, `+`, order, empty values), and some
providers sign or compare what they were sent. So a query stays the text that the client wrote; only the
parameters that the gateway owns are read, taken out, or replaced.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import quote, unquote_plus


def get(query: str, name: str) -> str | None:
    """The decoded value of the first parameter of that name; None where there is none."""
    values = getall(query, name)
    return values[0] if values else None


def getall(query: str, name: str) -> list[str]:
    """The decoded values of all parameters of that name, in order."""
    return [unquote_plus(value) for key, value in _pairs(query) if key == name]


def names(query: str) -> list[str]:
    """The decoded names of all parameters, in order."""
    return [name for name, _ in _pairs(query)]


def without(query: str, names: Collection[str]) -> str:
    """The query without the parameters of these (decoded) names; the rest is untouched."""
    if not query:
        return query
    return "&".join(part for part in query.split("&") if _name(part) not in names)


def replaced(query: str, name: str, value: str) -> str:
    """The query in which `name` has this value, once: in place of its first occurrence, else at the end.

    Further ones are dropped, since nobody knows which of several the reader takes."""
    new = f"{quote(name, safe='')}={quote(value, safe='')}"
    parts = query.split("&") if query else []
    places = [index for index, part in enumerate(parts) if _name(part) == name]
    if not places:
        return "&".join([*parts, new])
    kept = [part for index, part in enumerate(parts) if index not in places[1:]]
    kept[places[0]] = new
    return "&".join(kept)


def _pairs(query: str) -> list[tuple[str, str]]:
    return [(_name(part), part.partition("=")[2]) for part in query.split("&") if part]


def _name(part: str) -> str:
    return unquote_plus(part.partition("=")[0])
