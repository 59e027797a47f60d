"""Paths that people write in objects, in the form that the data plane compares requests with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import unquote

from crds import FieldError, Invalid
from crds.backend import RouteType
from crds.errors import path_of
from dataplane import table

_MALFORMED = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNMATCHABLE = re.compile(r"[/\\\x00-\x1f\x7f-\x9f]|%(?:2[ef]|5c|0[0-9a-f]|1[0-9a-f]|7f)", re.IGNORECASE)


@lru_cache(4096)
def comparable(path: str) -> str:
    """The path percent-decoded, without a trailing slash; the root is "/".

    Raises ValueError for a path that no request can have: the data plane refuses dot segments, encoded slashes,
    control characters and double encoding, since the provider behind it might read them differently.
    """
    if not path.startswith("/") or re.search(r"[?#]", path):
        raise ValueError("write a path that begins with '/', without query or fragment")
    if "//" in path:
        raise ValueError("has an empty segment; write single slashes")
    if _MALFORMED.search(path):
        raise ValueError("has a '%' that is not followed by two hexadecimal digits")
    return "/" + "/".join(_decoded(segment) for segment in path[1:].split("/") if segment)


def declared(routes: Mapping[str, RouteType]) -> tuple[table.PathType, ...]:
    """A Backend's `routes`, longest suffix first, so that the first that fits wins; `*` last. Raises `Invalid`."""
    return _declared(tuple(sorted(routes.items())))


@lru_cache(1024)  # thousands of Backends write the same few
def _declared(routes: tuple[tuple[str, RouteType], ...]) -> tuple[table.PathType, ...]:
    types = dict(routes)
    written: dict[str, str] = {}
    for key in types:
        try:
            suffix = key if key == "*" else comparable(key)
        except ValueError as error:
            raise _invalid(key, str(error)) from None
        if suffix in written:
            raise _invalid(key, f'is the same path as "{written[suffix]}"; keep one')
        written[suffix] = key
    ordered = sorted(written, key=lambda suffix: (suffix == "*", -len(suffix), suffix))
    return tuple(
        table.PathType(suffix=suffix, type=table.RouteType(types[written[suffix]].value)) for suffix in ordered
    )


def _invalid(key: str, message: str) -> Invalid:
    return Invalid([FieldError(path_of(("spec", "routes", key)), message)])


def _decoded(segment: str) -> str:
    try:
        text = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 when its percent-encoding is decoded") from None
    if text in (".", "..") or _UNMATCHABLE.search(text):
        raise ValueError("has dot segments, encoded slashes or control characters, which requests may not have")
    return text
