"""Paths that people write in objects, in the form that the data plane compares requests with."""

from __future__ import annotations

import re
from urllib.parse import unquote

_MALFORMED = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNMATCHABLE = re.compile(r"[/\\\x00-\x1f\x7f-\x9f]|%(?:2[ef]|5c|0[0-9a-f]|1[0-9a-f]|7f)", re.IGNORECASE)


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


def _decoded(segment: str) -> str:
    try:
        text = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 when its percent-encoding is decoded") from None
    if text in (".", "..") or _UNMATCHABLE.search(text):
        raise ValueError("has dot segments, encoded slashes or control characters, which requests may not have")
    return text
