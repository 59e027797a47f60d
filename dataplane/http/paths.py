"""Request paths: what is compared is normalised, what is sent upstream is what the client wrote.

Normalised means: percent-decoded once, duplicate slashes collapsed, no trailing slash. A path that two readers
could understand differently (dot segments, encoded slashes, control characters, a second layer of encoding) is
refused rather than guessed: the provider behind us is the other reader.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from dataplane.errors import Refusal

_PLAIN = re.compile(r"(?:/[A-Za-z0-9_~:@!$&'()*+,=-][A-Za-z0-9._~:@!$&'()*+,=-]*)+/?")
_MALFORMED = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HIDDEN = re.compile(r"%(?:2[ef]|5c|0[0-9a-f]|1[0-9a-f]|7f)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def normalised(raw: str) -> str:
    """The path to compare, from the raw one (which begins with `/` and has no query).

    Raises Refusal invalid_path."""
    if _PLAIN.fullmatch(raw):
        return raw.removesuffix("/")
    if not raw.startswith("/"):
        raise _refused("must begin with a slash")
    if "#" in raw or "\\" in raw:
        raise _refused("has a character that no URL path may have ('#' or a backslash)")
    if not raw.isascii():
        raise _refused("has characters that are not percent-encoded")
    if _MALFORMED.search(raw):
        raise _refused("has a '%' that is not followed by two hexadecimal digits")
    segments = [_decoded(segment) for segment in raw.split("/")]
    return "/" + "/".join(segment for segment in segments if segment)


def stripped(raw: str, prefix: str) -> str:
    """The raw path behind a prefix that it is known to match, segment by segment; `/` where nothing is left."""
    if not prefix:
        return raw
    plain = prefix if prefix[0] == "/" else f"/{prefix}"
    if (
        raw.startswith(plain)
        and raw[len(plain) : len(plain) + 1] in ("", "/")
        and not ("%" in plain or plain[-1] == "/")
    ):
        return raw[len(plain) :] or "/"  # written alike, as it nearly always is
    wanted = [segment for segment in prefix.split("/") if segment]
    rest = raw
    while wanted:
        segment, slash, rest = rest.lstrip("/").partition("/")
        rest = slash + rest
        if _decoded(segment) != wanted.pop(0):
            return raw
    return rest or "/"


def segments_of(path: str) -> list[str]:
    """The segments of a normalised path."""
    return path[1:].split("/") if path != "/" else []


def _decoded(segment: str) -> str:
    try:
        text = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise _refused("is not UTF-8 when decoded") from None
    if text.partition(";")[0] in (".", ".."):
        raise _refused("has dot segments")
    if "/" in text or "\\" in text:
        raise _refused("has an encoded slash or backslash")
    if _CONTROL.search(text):
        raise _refused("has control characters")
    if _HIDDEN.search(text):
        raise _refused("is encoded twice")
    return text


def _refused(why: str) -> Refusal:
    return Refusal("invalid_path", f"The path {why}. Send it plain, without anything to be resolved.")
