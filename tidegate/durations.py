"""Durations on the command line, as the Gateway API writes them (GEP-2257): `10s`, `1m30s`, `500ms`, `1h`, and `0`."""

from __future__ import annotations

import re

from tidegate.exits import Exit, Stop

_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"(\d{1,5})(h|ms|m|s)")
_WHOLE = re.compile(r"(\d{1,5}(h|ms|m|s)){1,4}|0")


def parse(text: str, option: str) -> float:
    """Seconds. Raises Stop (usage), which names the option."""
    if not _WHOLE.fullmatch(text):
        raise Stop(Exit.USAGE, f"{option} {text!r}: write a duration such as 30s, 5m, 1h30m or 500ms.")
    return sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
