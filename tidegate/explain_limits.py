"""Whether limits would let one request pass: the gateway's own books are asked, filled with what it has counted."""

from __future__ import annotations

import time
from collections.abc import Coroutine, Mapping, Sequence

from dataplane.errors import Refusal
from dataplane.limits.budget import Budget
from dataplane.limits.limiter import Limiter
from dataplane.limits.spending import Model
from dataplane.limits.subjects import REST, subject
from dataplane.limits.wording import unavailable
from dataplane.metering.prices import PriceBook
from dataplane.metering.usage import Caller
from dataplane.table import CallerLimits

Counted = Sequence[Mapping[str, object]]
"""What a gateway says that it has counted: `/limits` of its admin port."""


def counted_as(counted: Counted, policy: str, whose: str) -> str:
    """The subject under which the next request is counted: REST, where there is no room for another by itself."""
    known = {each.get("subject"): each for each in counted if each.get("policy") == policy}
    return REST if whose not in known and known.get(REST, {}).get("takes_new") else whose


def of_subject(counted: Counted, policy: str, whose: str) -> dict[object, Mapping[str, object]]:
    """What is counted of a subject under a Policy, by the limit's name."""
    return {each.get("limit"): each for each in counted if (each.get("policy"), each.get("subject")) == (policy, whose)}


def refusal(
    parts: Sequence[CallerLimits], caller: Caller, backend: str, model: Model | None, counted: Counted
) -> Refusal | None:
    """Why a request is refused; with `model`, one that begins a turn of it, or the session that turns are of."""
    silent = [part for part in parts if _unheard(part, counted)]
    # No store is asked here: what all processes count is in `counted`.
    alone = [part.model_copy(update={"fleet": False}) for part in parts if part not in silent]
    limiter = Limiter(PriceBook().unit_prices, now=time.time)
    for part in alone:
        _fill(limiter, part, subject(part, caller, backend), counted)
    budget = Budget(limiter, alone, caller, backend)
    try:
        _done(_asked(budget, model))
    except Refusal as refused:
        return refused
    return unavailable(silent[0]) if silent else None


def _unheard(part: CallerLimits, counted: Counted) -> bool:
    """Whether the gateway that counted refuses what this limits, since its store does not answer."""
    own = [each for each in counted if each.get("policy") == part.policy]
    return part.fleet and part.refuse_without_store and any(each.get("source") == "local" for each in own)


async def _asked(budget: Budget, model: Model | None) -> None:
    if model is None:
        await budget.admit_request()
    elif model.speaks:
        await budget.admit_session(model)
    else:
        await budget.admit_turn(model)


def _done(work: Coroutine[object, None, None]) -> None:
    """Run what waits for nobody."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise RuntimeError("limits of one process wait for nobody")


def _fill(limiter: Limiter, part: CallerLimits, whose: str, counted: Counted) -> None:
    found = of_subject(counted, part.policy, counted_as(counted, part.policy, whose))
    tally = limiter.tally(part, whose)
    for limit in part.limits:
        said = found.get(limit.name, {})
        count = tally.count(limit, limiter.now())
        count.used, count.reserved = _number(said, "used"), _number(said, "reserved")


def _number(said: Mapping[str, object], name: str) -> int:
    value = said.get(name)
    return value if isinstance(value, int) else 0
