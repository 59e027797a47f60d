"""Whose use is added up: text that names a caller, a team, a Backend, or all that one Policy applies to. Pure."""

from __future__ import annotations

from typing import Final

from dataplane.metering.usage import Caller
from dataplane.table import CallerLimits

REST: Final = "rest"
"""Of those for whom there was no room to be counted by themselves: they count together."""


def subject(limits: CallerLimits, caller: Caller, backend: str) -> str:
    """Whose use this is. `backend`: `namespace/name`. Callers without a key count together, and so do those without a
    team."""
    match limits.counted_by:
        case "Caller":
            return f"caller:{caller.namespace}/{caller.key}" if caller.key else "caller:"
        case "Team":
            return f"team:{caller.namespace}/{caller.team}" if caller.team else "team:"
        case "Backend":
            return f"backend:{backend}"
        case _:
            return "policy"


_WORDS: Final = {
    "caller:": "all callers without a key",
    "team:": "all callers without a team",
    "policy": "all callers together",
    REST: "all callers for whom there was no room to be counted by themselves",
}


def words(subject_: str) -> str:
    """For people."""
    kind, _, name = subject_.partition(":")
    return _WORDS.get(subject_) or f"{'Backend' if kind == 'backend' else kind} {name[:256]}"
