"""Client events as strict JSON.

An event that is forwarded unchanged must mean the same to the upstream as it meant to us. So whatever two JSON
parsers may read in two ways is refused: duplicate keys, NaN, a byte order mark, bytes that are not UTF-8.
"""

from __future__ import annotations

import json
from typing import NoReturn

Event = dict[str, object]


class BadEvent(ValueError):
    """The message is not a strict JSON object. The text says why, without quoting the content."""


def _pairs(pairs: list[tuple[str, object]]) -> Event:
    event = dict(pairs)
    if len(event) != len(pairs):
        raise BadEvent("a key appears twice in one object")
    return event


def _constant(name: str) -> NoReturn:
    raise BadEvent(f"{name} is not JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant)


def parse(payload: bytes) -> Event:
    """The event. Raises BadEvent, or UnicodeDecodeError where the payload is not UTF-8."""
    text = payload.decode()
    try:
        event = _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise BadEvent(f"not JSON at byte {error.pos}") from None
    except RecursionError:
        raise BadEvent("nested too deeply") from None
    except BadEvent:
        raise
    except ValueError:  # an integer with thousands of digits
        raise BadEvent("a number is too long") from None
    if not isinstance(event, dict):
        raise BadEvent("not a JSON object")
    return event


def dump(event: Event) -> bytes:
    """Compact JSON. Lone surrogates stay escaped, as they came."""
    return json.dumps(event, separators=(",", ":"), ensure_ascii=True).encode()
