"""Limits of Policies in the table's terms, and what is said about them beforehand: how far they can be passed."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import crds.limits
from dataplane import table

NANO: Final = 1_000_000_000
EXAMPLE_PRICE: Final = 64
"""USD per million tokens: audio that OpenAI's realtime models say. The compiler knows no catalogue."""


def caller_limits(
    written: crds.limits.Limits | None, policy: str, subjects: tuple[table.Subject, ...]
) -> table.CallerLimits | None:
    """How much callers may take."""
    if written is None:
        return None
    return table.CallerLimits(
        policy=policy,
        subjects=subjects,
        fleet=written.scope == "Fleet",
        counted_by=written.counted_by,
        limits=tuple(_limits(written)),
        reserve=written.reserve,
        refuse_unpriced=written.on_unpriced == "Refuse",
        end_session=written.on_exceeded == "EndSession",
        refuse_without_store=written.when_store_fails == "Refuse",
    )


def _limits(written: crds.limits.Limits) -> Iterator[table.Limit]:
    for requests in written.requests:
        yield table.Limit(kind="requests", max=requests.max, per=requests.per)
    for tokens in written.tokens:
        yield table.Limit(kind="tokens", max=tokens.max, per=tokens.per, count=tokens.count)
    if written.sessions is not None:
        yield table.Limit(kind="sessions", max=written.sessions)
    for spend in written.spend:
        yield table.Limit(kind="spend", max=int(Decimal(spend.usd) * NANO), per=spend.per)


def bound(limits: table.CallerLimits, *, has_store: bool) -> str:
    """By how much limits of tokens and spend can be passed: what a Policy's status says beforehand; or nothing."""
    told = [_turns(limit, limits.reserve) for limit in limits.limits if limit.kind in ("tokens", "spend")]
    if not told:
        return ""
    grace = "" if limits.end_session else "may take as much more of them as is set aside for a turn, then it "
    return (
        f"Turns at a time, by {_counting(limits, has_store=has_store)}, of {_counted(limits)}: {'; '.join(told)}. "
        f"A limit is passed only by what these turns take beyond the {limits.reserve} tokens that are set aside for "
        "each; and by transcriptions, which cannot be refused: once nothing is left, an open session "
        f"{grace}ends, with those that are under way."
    )


def _counting(limits: table.CallerLimits, *, has_store: bool) -> str:
    if not limits.fleet:
        return "each process"
    if has_store:
        return "all processes together"
    if limits.refuse_without_store:
        return "all processes together, once they have a store"
    return "each process, and once they have a store by all together"


def _counted(limits: table.CallerLimits) -> str:
    """Whose turns."""
    return f"all callers of Policy {limits.policy}" if limits.counted_by == "Policy" else f"one {limits.counted_by}"


def _turns(limit: table.Limit, reserve: int) -> str:
    if limit.kind == "tokens":
        count = "" if limit.count == "Total" else f" ({limit.count})"
        return f"{limit.max} tokens{count} per {limit.per}: at most {limit.max // reserve}"
    one = reserve * EXAMPLE_PRICE * NANO // 1_000_000
    what = f"{_usd(limit.max)} per {limit.per}"
    if limit.max < one:
        dearest = _usd(limit.max * 1_000_000 // reserve)
        return (
            f"{what}: none at all where the model's dearest price is {EXAMPLE_PRICE} USD per million tokens, since "
            f"{_usd(one)} are set aside for each (all are refused with 403 limit_too_low: raise usd, lower reserve, or "
            f"offer only models whose dearest price is at most {dearest})"
        )
    return (
        f"{what}: at most {limit.max // one} where the model's dearest price is "
        f"{EXAMPLE_PRICE} USD per million tokens, and in proportion"
    )


def _usd(nano: int) -> str:
    return f"{Decimal(nano) / NANO:f} USD"


def store_missing(limits: table.CallerLimits) -> str:
    """What is said of scope Fleet where there is no store."""
    meanwhile = (
        "all that the Policy applies to is refused"
        if limits.refuse_without_store
        else "each process counts for itself, so that several let through several times as much"
    )
    return (
        "spec.limits.scope: Fleet needs a store that all gateways share, and this one has none: start it with --state "
        f"redis://HOST:6379, or write scope: PerPod. Until then {meanwhile} (whenStoreFails)"
    )
