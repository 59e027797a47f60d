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


def bound(limits: table.CallerLimits) -> str:
    """By how much limits of tokens and spend can be passed: what a Policy's status says beforehand; or nothing."""
    told = [_turns(limit, limits.reserve) for limit in limits.limits if limit.kind in ("tokens", "spend")]
    if not told:
        return ""
    each = "each process" if not limits.fleet else "all processes together"
    grace = "" if limits.end_session else "may take as much more of them as is set aside for a turn, then it "
    return (
        f"Turns at a time, by {each}, of one {limits.counted_by}: {'; '.join(told)}. A limit is passed only by what "
        f"these turns take beyond the {limits.reserve} tokens that are set aside for each; and by transcriptions, "
        f"which cannot be refused: once nothing is left, an open session {grace}ends, with those that are under way."
    )


def _turns(limit: table.Limit, reserve: int) -> str:
    if limit.kind == "tokens":
        count = "" if limit.count == "Total" else f" ({limit.count})"
        return f"{limit.max} tokens{count} per {limit.per}: at most {limit.max // reserve}"
    most = limit.max // (reserve * EXAMPLE_PRICE * NANO // 1_000_000)
    return (
        f"{Decimal(limit.max) / NANO:f} USD per {limit.per}: at most {most} where the model's dearest price is "
        f"{EXAMPLE_PRICE} USD per million tokens, and in proportion"
    )


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
