"""Durations on the command line, written as in Backends and Policies (`10s`, `1m30s`, `500ms`, `1h`), and `0`."""

from __future__ import annotations

from crds import quantities
from tidegate.exits import Exit, Stop


def parse(text: str, option: str) -> float:
    """Seconds. Raises Stop (usage), which names the option."""
    if text == "0":
        return 0.0
    if not quantities.is_duration(text):
        raise Stop(Exit.USAGE, f"{option} {text!r}: write a duration such as 30s, 5m, 1h30m or 500ms.")
    return quantities.seconds(text)
