"""From LiteLLM's deployments to Backends: those of one name are its targets, and share requests by weight."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

from tidegate.importing.litellm.deployments import Deployment, Provider

MOST_PROVIDERS: Final = 32
MOST_MODELS: Final = 256
MOST_TARGETS: Final = 16
MOST_PRIORITY: Final = 15
_SPARE = 100
"""A deployment without a weight gets so small a part of the least that another one has."""
_MOST_WEIGHT = 1_000_000
_NO_LIMIT = "a limit is for a Policy with limits to set, by caller, team or Backend"


@dataclass(frozen=True, slots=True)
class Target:
    provider: Provider
    model: str
    weight: int


@dataclass(frozen=True, slots=True)
class Pool:
    """A public name, and what serves it."""

    name: str
    targets: tuple[Target, ...]
    price: Mapping[str, str]


@dataclass(slots=True)
class Group:
    """What goes into one Backend."""

    pools: list[Pool] = field(default_factory=list)
    providers: dict[Provider, None] = field(default_factory=dict)

    def takes(self, pool: Pool) -> bool:
        wanted = {target.provider for target in pool.targets}
        return len(self.pools) < MOST_MODELS and len(wanted | self.providers.keys()) <= MOST_PROVIDERS

    def add(self, pool: Pool) -> None:
        self.pools.append(pool)
        self.providers.update(dict.fromkeys(target.provider for target in pool.targets))


def pools(deployments: Iterable[Deployment], *, weighted: bool) -> dict[str, Pool]:
    """By name, in the order in which they are written. `weighted`: whether LiteLLM looks at weights."""
    by_name: dict[str, list[Deployment]] = {}
    for each in deployments:
        by_name.setdefault(each.name, []).append(each)
    return {name: _pool(name, members, weighted=weighted) for name, members in by_name.items()}


def with_fallbacks(pool: Pool, others: Iterable[Pool]) -> Pool:
    """Its targets, and then those of others, each of a later priority. As many as there may be."""
    targets = list(pool.targets)
    for other in others:
        above = max(target.provider.priority for target in targets) + 1
        for target in other.targets:
            priority = target.provider.priority + above
            if len(targets) < MOST_TARGETS and priority <= MOST_PRIORITY:
                targets.append(replace(target, provider=replace(target.provider, priority=priority)))
    return replace(pool, targets=tuple(targets))


def groups(found: Iterable[Pool]) -> list[Group]:
    """As few as there can be, each small enough for a Backend."""
    result: list[Group] = []
    for pool in found:
        if not result or not result[-1].takes(pool):
            result.append(Group())
        result[-1].add(pool)
    return result


def names(providers: Iterable[Provider]) -> dict[Provider, str]:
    """`openai`, `openai-2`, …: a name for each."""
    counted: Counter[str] = Counter()
    found: dict[Provider, str] = {}
    for provider in providers:
        if provider not in found:
            counted[provider.base] += 1
            number = counted[provider.base]
            found[provider] = provider.base if number == 1 else f"{provider.base}-{number}"
    return found


def _pool(name: str, members: Sequence[Deployment], *, weighted: bool) -> Pool:
    shares: dict[tuple[Provider, str], Decimal] = {}
    orders = sorted({member.order for member in members if member.order is not None})
    ranks = {order: min(rank, MOST_PRIORITY) for rank, order in enumerate(orders)}
    for member, weight in zip(members, _weights(members, weighted=weighted), strict=True):
        last = min(len(orders), MOST_PRIORITY)
        rank = last if member.order is None else ranks[member.order]
        place = (replace(member.provider, priority=rank), member.model)
        if place not in shares and len(shares) == MOST_TARGETS:
            member.entry.missing("dropped", f"a model has at most {MOST_TARGETS} targets here, and this is one more")
            continue
        shares[place] = shares.get(place, Decimal(0)) + weight
    targets = zip(shares, _whole(list(shares.values())), strict=True)
    return Pool(name, tuple(Target(*place, weight) for place, weight in targets), _price(members))


def _weights(members: Sequence[Deployment], *, weighted: bool) -> list[Decimal]:
    """As LiteLLM's simple-shuffle has them: by the first of these that some deployment has."""
    for measure in ("weight", "rpm", "tpm") if weighted else ():
        found = [max(member.weights.get(measure, Decimal(0)), Decimal(0)) for member in members]
        if any(found):
            for member in members:
                _tell(member, measure)
            return _without_none(members, found, measure)
    for member in members:
        _tell(member, "")
    return [Decimal(1)] * len(members)


def _without_none(members: Sequence[Deployment], found: Sequence[Decimal], measure: str) -> list[Decimal]:
    """LiteLLM asks those without the measure only where no other is left. Without a weight they would never be."""
    least = min(each for each in found if each) / _SPARE
    weights = []
    for member, weight in zip(members, found, strict=True):
        if measure not in member.weights:
            why = f"has no {measure}, unlike others of its model_name, and gets the least weight: requests go there"
            member.params.missing("changed", f"{why} where the others fail")
        weights.append(weight if measure in member.weights else least)
    return weights


def _tell(member: Deployment, measure: str) -> None:
    """Which of a deployment's measures is its weight now, and which ones are lost."""
    for other in member.weights:
        if other != measure:
            why = f"{measure} is the weight here" if measure else "weighs nothing here"
            member.params.drop(other, f"{why}; {_NO_LIMIT}")
        elif other != "weight":
            member.params.change(other, f"is the weight of the target, as LiteLLM has it; {_NO_LIMIT}")


def _whole(weights: Sequence[Decimal]) -> list[int]:
    """Weights as whole numbers that are as small as they can be, at most a million."""
    if not any(weights):
        return [1] * len(weights)
    ratios = [each.as_integer_ratio() for each in weights]
    common = math.lcm(*(below for _, below in ratios))
    scaled = [above * common // below for above, below in ratios]
    divisor = math.gcd(*scaled)
    scaled = [each // divisor for each in scaled]
    most = max(scaled)
    if most <= _MOST_WEIGHT:
        return scaled
    return [max(each * _MOST_WEIGHT // most, min(each, 1)) for each in scaled]


def _price(members: Sequence[Deployment]) -> Mapping[str, str]:
    """One price is of the name: the first that is written."""
    priced = [member for member in members if member.price]
    for other in priced[1:]:
        if other.price != priced[0].price:
            other.params.missing(
                "changed", "another deployment of this model_name has another price: that of the first holds"
            )
    return priced[0].price if priced else {}
