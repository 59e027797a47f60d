"""Which guardrails hold for one request: all that are for the caller, and of the optional ones those that were asked
for by the query parameter `guardrails=a,b`. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from dataplane.callers.applying import applying
from dataplane.errors import Refusal
from dataplane.http import query as queries
from dataplane.metering.usage import Caller
from dataplane.table import Guardrail, RouteType

PARAMETER: Final = "guardrails"
_SHOWN: Final = 10
_LONGEST: Final = 63
"""Characters of a guardrail's name."""


def holding(guardrails: Sequence[Guardrail], caller: Caller, wanted: Collection[str]) -> tuple[Guardrail, ...]:
    """Those that hold for the caller, who `wanted` these optional ones."""
    return tuple(each for each in applying(guardrails, caller) if not each.optional or each.name in wanted)


def taken(query: str, guardrails: Iterable[Guardrail], kind: RouteType) -> tuple[frozenset[str], str]:
    """The names that a client asks for, and the query without them, which is no business of a provider. `guardrails`:
    those for the caller.

    Raises Refusal unknown_guardrail for a name that is none of theirs: whoever asks to be guarded must not go on
    unguarded. So nothing can be asked for on a path that is relayed unread; but where nobody guards, its query is the
    provider's alone."""
    values = queries.getall(query, PARAMETER) if query else []
    known = list(guardrails) if values else []
    if not values or (kind is RouteType.PASSTHROUGH and not known):
        return frozenset(), query
    wanted = frozenset(name for value in values for each in value.split(",") if (name := each.strip()))
    if unknown := wanted - {each.name for each in known}:
        optional = dict.fromkeys(each.name for each in known if each.optional)
        said = f"There is no guardrail {_some(sorted(unknown))} for you here"
        raise Refusal("unknown_guardrail", f"{said}; you may ask for: {_some(list(optional)) or 'none'}.")
    if wanted and kind is RouteType.PASSTHROUGH:
        message = f"This path is relayed unread, so no guardrail holds on it: leave out {PARAMETER}, or ask elsewhere."
        raise Refusal("unknown_guardrail", message)
    return wanted, queries.without(query, (PARAMETER,))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(name[:_LONGEST] for name in names[:_SHOWN]) + more
