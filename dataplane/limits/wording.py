"""What callers are told of limits: refusals, and header fields. Pure.

The fields are those of https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ (draft 10): of each limit
`RateLimit-Policy` says how much there is of it, and in how many seconds, `RateLimit` how much is left, and in how many
seconds it begins anew. Money is in millionths of a USD, since the fields know whole numbers alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Final

from dataplane.errors import Refusal
from dataplane.limits.spending import NANO
from dataplane.limits.subjects import words
from dataplane.limits.tally import Short, Want
from dataplane.limits.windows import Window, written
from dataplane.table import CallerLimits, Limit

SOON: Final = 1
SEAT: Final = 5
"""Seconds after which to try again, where turns that end make room, or sessions."""
_MICRO: Final = 1000
_UNITS: Final = {"requests": "requests", "tokens": "tokens", "spend": "micro-usd", "sessions": "sessions"}


def fields(policy: str, limit: Limit, most: int, left: int, window: Window, now: float) -> tuple[str, str]:
    """What `RateLimit-Policy` and `RateLimit` say of one limit: how much of it there may be, and is left."""
    start, end = window
    name, quota = _quota(policy, limit.name, limit.kind, most, end - start if limit.per else 0)
    left = left // _MICRO if limit.kind == "spend" else left
    return quota, f"{name};r={left};t={max(1, math.ceil(end - now))}" if limit.per else f"{name};r={left}"


@lru_cache(maxsize=1024)
def _quota(policy: str, limit: str, kind: str, most: int, seconds: int) -> tuple[str, str]:
    """What a limit is called, and its part of `RateLimit-Policy` (0 seconds: it has no window). All answers have the
    same."""
    name, most = f'"{policy}:{limit}"', most // _MICRO if kind == "spend" else most
    return name, f'{name};q={most};qu="{_UNITS[kind]}"{f";w={seconds}" if seconds else ""}'


def exceeded(limits: CallerLimits, subject: str, short: Short, now: float) -> Refusal:
    """The refusal of what there is no room for."""
    want, window = short.want, short.window
    limit, said = want.limit, _allowed(limits, subject, want)
    if want.amount > want.max:
        return Refusal(
            "limit_too_low",
            f"{said}, and {_are(limit, want.amount)} set aside before a turn of this model begins, so none ever can. "
            "Whoever runs the gateway must raise the limit, or lower reserve.",
        )
    if limit.per is None:
        wait, rest = SEAT, _open(short.reserved)
    else:
        needs = f" This needs {quantity(limit, want.amount)}." if limit.kind in ("tokens", "spend") else ""
        wait = SOON if short.waits_for_turns else _seconds(window, now)
        sooner = " Turns that end may make room sooner." if short.reserved else ""
        rest = f": {_left(short)}{needs}{_anew(window, now)}{sooner}"
    return Refusal("limit_exceeded", said + rest, headers={"Retry-After": str(wait)})


def overdrawn(limits: CallerLimits, subject: str, short: Short, now: float) -> Refusal:
    """Why a session ends that goes on to use what it cannot be refused."""
    return Refusal(
        "limit_exceeded",
        f"{_allowed(limits, subject, short.want)}: {_left(short)} What is said is transcribed all the same, which "
        f"cannot be refused, so the session ends.{_anew(short.window, now)}",
    )


def _allowed(limits: CallerLimits, subject: str, want: Want) -> str:
    return (
        f"Policy {limits.policy} allows {words(subject)} {quantity(want.limit, want.max)}"
        f"{f' per {want.limit.per}' if want.limit.per else ' at a time'}"
    )


def _left(short: Short) -> str:
    limit = short.want.limit
    aside = f", {quantity(limit, short.reserved)} set aside for turns under way" if short.reserved else ""
    return f"{_are(limit, short.used)} used{aside}, {quantity(limit, short.left)} left."


def _anew(window: Window, now: float) -> str:
    return f" It begins anew at {written(window.end)}, in {_seconds(window, now)} s."


def unavailable(limits: CallerLimits) -> Refusal:
    """The refusal of everything while the fleet's counters cannot be asked."""
    return Refusal(
        "limits_unavailable",
        f"Policy {limits.policy} limits what callers may take, and what was taken cannot be found out at the moment: "
        "its store does not answer, or there is none. Try again soon; whoever runs the gateway sees why in its log.",
    )


def not_priced(limits: CallerLimits, model: str, kinds: Sequence[str], backend: str) -> Refusal:
    """The refusal of a model whose price nobody knows."""
    names = [_camel(kind) for kind in kinds]
    unit = "minute" if kinds == ["session_minute"] else "million tokens"
    prices = ", ".join(f'{name}: "…"' for name in names)
    return Refusal(
        "model_not_priced",
        f"Policy {limits.policy} limits what may be spent, and the price of {model[:256]!r} is not known "
        f"({', '.join(names)}). Whoever runs the gateway writes it into Backend {backend}, in USD per {unit}: "
        f"models: [{{name: …, targets: […], price: {{{prices}}}}}]. Or the Policy says onUnpriced: Allow.",
        param="model",
    )


def quantity(limit: Limit, amount: int) -> str:
    """So much of what is limited, for people."""
    count = f" ({limit.count})" if limit.count != "Total" else ""
    kind = limit.kind.removesuffix("s") if amount == 1 else limit.kind
    return f"{figure(limit, amount)} {'USD' if limit.kind == 'spend' else kind}{count}"


def figure(limit: Limit, amount: int) -> str:
    """The same without what it is of."""
    return f"{Decimal(amount) / NANO:f}" if limit.kind == "spend" else str(amount)


def _open(seats: int) -> str:
    if seats == 1:
        return "; 1 is open. Try again when it has ended."
    return f"; {seats} are open. Try again when one of them has ended."


def _are(limit: Limit, amount: int) -> str:
    """`1 request is`, `2 requests are`."""
    return f"{quantity(limit, amount)} {'is' if amount == 1 and limit.kind != 'spend' else 'are'}"


def _seconds(window: Window, now: float) -> int:
    """Until it is over, rounded up."""
    return max(1, math.ceil(window.end - now))


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))
