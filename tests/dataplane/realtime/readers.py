"""JSON as other programs read it: what two of them read in two ways is how an event slips past a gateway."""

from __future__ import annotations

import json
from collections.abc import Callable

Pairs = list[tuple[str, object]]
Reader = Callable[[bytes], object]


def _text(payload: bytes) -> str:
    return payload.decode("utf-8-sig", "replace")


def _first(pairs: Pairs) -> dict[str, object]:
    return dict(reversed(pairs))


def _ignoring_case(pairs: Pairs) -> dict[str, object]:
    return {key.casefold(): value for key, value in pairs}


def first_wins(payload: bytes) -> object:
    return json.loads(_text(payload), object_pairs_hook=_first, strict=False)


def last_wins(payload: bytes) -> object:
    return json.loads(_text(payload), strict=False)


def ignoring_case(payload: bytes) -> object:
    """As Go's encoding/json does."""
    return json.loads(_text(payload), object_pairs_hook=_ignoring_case, strict=False)


READERS: tuple[Reader, ...] = (first_wins, last_wins, ignoring_case, json.loads)


def readings(payload: bytes) -> list[object]:
    """What the readers that can read it make of it."""
    found = []
    for reader in READERS:
        try:
            found.append(reader(payload))
        except (ValueError, RecursionError):
            continue
    return found
