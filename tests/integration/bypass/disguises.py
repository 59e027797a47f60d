"""One event on the wire, in shapes in which a careless reader overlooks what it says."""

from __future__ import annotations

import json
from collections.abc import Callable

from dataplane.realtime import frames
from tests.integration.bypass.shapes import Event

WORD = "zanzibar"
Wire = Callable[[Event, bytes | None], bytes]
"""The frames of one event; the key masks a client's."""


def compact(event: Event) -> bytes:
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


def _text(write: Callable[[Event], bytes]) -> Wire:
    return lambda event, key: frames.frame(frames.TEXT, write(event), key)


def _pretty(event: Event) -> bytes:
    return json.dumps(event, indent=3).encode()


def _escapes(event: Event) -> bytes:
    return compact(event).replace(WORD.encode(), "".join(f"\\u{ord(each):04X}" for each in WORD).encode())


def _escaped_names(event: Event) -> bytes:
    """Names of fields, the event's type aside, with their first letter escaped."""

    def named(value: object) -> object:
        if isinstance(value, dict):
            return {f"@{name}": named(inner) for name, inner in value.items()}
        return [named(each) for each in value] if isinstance(value, list) else value

    text = compact({name: named(value) for name, value in event.items()})
    for letter in "abcdefghijklmnopqrstuvwxyz_":
        text = text.replace(b'"@' + letter.encode(), f'"\\u{ord(letter):04x}'.encode())
    return text


def _escaped_type(event: Event) -> bytes:
    return compact(event).replace(b'"type"', b'"t\\u0079pe"')


def _type_last(event: Event) -> bytes:
    rest = {name: value for name, value in event.items() if name != "type"}
    return compact({**rest, "type": event["type"]})


def _fragment(opcode: int, payload: bytes, key: bytes | None, *, fin: bool) -> bytes:
    whole = bytearray(frames.frame(opcode, payload, key))
    if not fin:
        whole[0] &= 0x7F
    return bytes(whole)


def _fragments(event: Event, key: bytes | None, between: bytes = b"") -> bytes:
    payload = compact(event)
    pieces = [payload[at : at + 5] for at in range(0, len(payload), 5)]
    sent = [
        _fragment(0 if number else frames.TEXT, piece, key, fin=number == len(pieces) - 1)
        for number, piece in enumerate(pieces)
    ]
    return between.join(sent)


def _pinged(event: Event, key: bytes | None) -> bytes:
    return _fragments(event, key, frames.frame(frames.PONG, b"", key))


DISGUISES: dict[str, Wire] = {
    "as it is": _text(compact),
    "over many lines": _text(_pretty),
    "in escapes": _text(_escapes),
    "with names in escapes": _text(_escaped_names),
    "with its type's name in escapes": _text(_escaped_type),
    "with its type last": _text(_type_last),
    "in fragments": _fragments,
    "in fragments with control frames between": _pinged,
}
"""Another spelling of the same event."""


def _twice(event: Event, *, first: bool) -> bytes:
    """Each object that holds a text holds it twice: harmless, and as it is."""
    text = compact(event)
    at = text.index(WORD.encode())
    name = text.rfind(b'":', 0, at)
    begin = text.rfind(b'"', 0, name)
    harmless = text[begin : name + 2] + b'"harmless"'
    end = text.index(b'"', at) + 1
    both = (text[begin:end], harmless) if first else (harmless, text[begin:end])
    return text[:begin] + b",".join(both) + text[end:]


REFUSED: dict[str, Wire] = {
    "said twice, and harmless at last": _text(lambda event: _twice(event, first=True)),
    "said twice, and harmless at first": _text(lambda event: _twice(event, first=False)),
    "as a binary message": lambda event, key: frames.frame(frames.BINARY, compact(event), key),
    "behind a byte order mark": _text(lambda event: b"\xef\xbb\xbf" + compact(event)),
}
"""What is refused of a client whatever it says."""


def by_letters(text: str) -> list[str]:
    return list(text)


def in_two(text: str) -> list[str]:
    return [text[: len(text) // 2], text[len(text) // 2 :]]


def whole(text: str) -> list[str]:
    return [text]


CUTS: dict[str, Callable[[str], list[str]]] = {"in one piece": whole, "in two": in_two, "by letters": by_letters}
