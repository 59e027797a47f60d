"""Events as JSON: the client's strictly, the upstream's leniently.

A client's event that is forwarded unchanged must mean the same to the upstream as it meant to us. So whatever two
JSON parsers may read in two ways is refused: duplicate keys, NaN, numbers beyond a double, a byte order mark, bytes
that are not UTF-8. What an upstream says is relayed whatever it is, and read as far as anyone can.
"""

from __future__ import annotations

import json
import math
from typing import NoReturn

import orjson

Event = dict[str, object]
MAX_PARTS = 32_768
"""Commas and opening brackets in a client's event. The parser takes a microsecond for each, and all other sessions wait
for it: a message of the size that is allowed could hold millions. Those that are large for a reason hold one long
string."""


MAX_DIGITS = 100
"""Of a number. What it costs to read one grows with their square."""


class BadEvent(ValueError):
    """The message is not a strict JSON object. The text says why, without quoting the content."""


def _pairs(pairs: list[tuple[str, object]]) -> Event:
    event = dict(pairs)
    if len(event) != len(pairs):
        raise BadEvent("a key appears twice in one object")
    return event


def _constant(name: str) -> NoReturn:
    raise BadEvent(f"{name} is not JSON")


def _int(number: str) -> int:
    if len(number) > MAX_DIGITS:
        raise BadEvent("a number is too long")
    return int(number)


def _float(number: str) -> float:
    if len(number) > MAX_DIGITS:
        raise BadEvent("a number is too long")
    value = float(number)
    if math.isinf(value):
        raise BadEvent("a number is too large")
    return value


_decoder = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_int=_int, parse_float=_float)


def parse(payload: bytes) -> Event:
    """The event. Raises BadEvent, or UnicodeDecodeError where the payload is not UTF-8."""
    text = payload.decode()
    if len(payload) > MAX_PARTS and sum(map(payload.count, (b",", b"{", b"["))) > MAX_PARTS:
        raise BadEvent(f"more than {MAX_PARTS} commas and brackets")
    try:
        event = _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise BadEvent(f"not JSON at character {error.pos}") from None
    except RecursionError:
        raise BadEvent("nested too deeply") from None
    if not isinstance(event, dict):
        raise BadEvent("not a JSON object")
    return event


def read(payload: bytes) -> object:
    """What an upstream says; None where it is no JSON. Lone surrogates, which servers that cut a transcript in two
    do send, are read."""
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        return None


def may_be_object(payload: bytes) -> bool:
    """May a binary message be a JSON object to any reader? Audio is none: its bytes are no text."""
    if payload[:16].lstrip(b" \t\r\n\xef\xbb\xbf")[:1] != b"{" or b"\0" in payload:
        return False
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def dump(event: Event) -> bytes:
    """Compact JSON. Lone surrogates and long integers stay as they came. Raises BadEvent where `event` is nested
    too deeply, which a strict `parse` may just have let pass."""
    try:
        return orjson.dumps(event)
    except TypeError:
        pass
    try:
        return json.dumps(event, separators=(",", ":")).encode()
    except RecursionError:
        raise BadEvent("nested too deeply") from None
