"""Which provider takes a request, and under which name it knows the model. Pure; time and chance are arguments.

`Providers` are those of one Backend that can be used at all, each a `Member` with how it is doing. A request wants
some of them (`Wish`), and a `Choice` names one after the other, each once, until one takes it:

1. of those that are neither ejected, nor resting, nor full, the ones with the lowest priority; among them one by what
   requests stick to, or by who has least to do, or by chance and weight;
2. where there is none, those that are ejected: what is known of them may be wrong by now, and nothing else is left. The
   one that comes back first is first.

One that rests has said itself that it takes nothing, and is not asked, unless nobody else serves the model: then what
it answers is the answer.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from dataplane import models
from dataplane.errors import Refusal
from dataplane.table import Backend, Balance, Model, Price, Provider
from dataplane.upstreams.health import Standing

Rand = Callable[[], float]
"""A number in [0, 1)."""


@dataclass(slots=True)
class Destination:
    provider: Provider
    public_model: str
    """The name that the client asked for, or the default. Policies and price lists speak of this one."""
    upstream_model: str
    """The name that the provider is sent."""
    price: Price | None = None
    """The Backend's own price."""
    declared: bool = False
    """Whether the Backend declares the name; only then may it become a metric label unseen."""


@dataclass(frozen=True, slots=True)
class Member:
    """A provider, or what of it serves a model."""

    provider: Provider
    standing: Standing
    weight: int
    target: str = ""
    """What it calls the model, if the Backend says that."""
    per: float = 1.0
    """1 / weight."""
    priority: int = 0
    most: float = math.inf
    """Sessions at a time."""
    seed: int = 0
    """Of its own among those that requests may stick to."""

    @classmethod
    def of(cls, provider: Provider, standing: Standing, weight: int, target: str = "") -> Member:
        """With a weight above 0."""
        most = provider.max_sessions or math.inf
        seed = _number(f"{provider.name}\0{target}")
        return cls(provider, standing, weight, target, 1 / weight, provider.priority, most, seed)


Members = tuple[Member, ...]
"""Lowest priority first."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request wants of its Backend, once it is known that it may have it."""

    members: Members
    """At least one."""
    asked: str = ""
    """The model by its public name; empty: the default, or none."""
    star: str = ""
    """What the `*` of its pattern stands for."""
    model: Model | None = None
    """That the Backend declares."""
    default: bool = False
    """Is each provider's default asked for?"""

    def name(self, member: Member) -> str:
        """What this member is asked for."""
        provider = member.provider
        if self.default:
            return provider.model_override or provider.default_model
        if not self.asked:
            return ""
        return provider.model_override or member.target.replace("*", self.star) or self.asked


class Providers:
    """Those of a Backend that can be used. Made once for each Backend of a table."""

    def __init__(self, backend: Backend, standings: Mapping[str, Standing]) -> None:
        """`standings`: how each provider is doing, by its name."""
        self.backend = backend
        self.standings = standings
        self._usable = {provider.name: provider for provider in backend.providers if not provider.error}
        self._all = self._members((provider, 1, "") for provider in self._usable.values())
        self._of_models: dict[str, Members] = {}

    def named(self, requested: str, allow: models.Allow = ()) -> Wish:
        """For a request that names `requested` (empty: it names no model), of a caller for whom `allow` holds. Whether
        the caller may use a model is decided before whether there is one.

        Raises Refusal model_not_allowed, model_not_found, missing_model, configuration_error."""
        if requested and allow:
            check(allow, requested)
        everybody = self._everybody()
        if not requested:
            return Wish(self._willing(everybody, allow), default=True)
        if not self.backend.models:
            return Wish(everybody, requested)
        model, star = declared(self.backend, requested, allow)
        members = self._of_models.get(model.name)
        if members is None:
            members = self._of_models[model.name] = self._targets(model)
        if not members:
            raise unusable(self.backend, [target.provider for target in model.targets])
        return Wish(members, requested, star, model)

    def any(self) -> Wish:
        """For a request that names no model at all (Passthrough). Raises Refusal configuration_error."""
        return Wish(self._everybody())

    def destination(self, wish: Wish, member: Member) -> Destination:
        """Where a request goes that this member takes."""
        provider, name = member.provider, wish.name(member)
        if wish.default:
            public = default_of(provider)
            known = models.find(self.backend.models, public)
            return Destination(provider, public, name, known[0].price if known else None, declared=True)
        if wish.model is None:
            return Destination(provider, wish.asked, name)
        return Destination(provider, wish.asked, name, wish.model.price, declared=True)

    def _everybody(self) -> Members:
        if not self._all:
            raise unusable(self.backend, [provider.name for provider in self.backend.providers])
        return self._all

    def _willing(self, everybody: Members, allow: models.Allow) -> Members:
        willing = tuple(member for member in everybody if default_of(member.provider))
        if not willing:
            raise Refusal(
                "missing_model",
                f"The request names no model, and no provider of Backend {self.backend.name} has a defaultModel. "
                "Name one.",
                param="model",
            )
        if not allow:
            return willing
        permitted = tuple(each for each in willing if not models.refused(allow, default_of(each.provider)))
        if not permitted:
            raise default_not_allowed(allow)
        return permitted

    def _targets(self, model: Model) -> Members:
        usable = self._usable
        targets = (target for target in model.targets if target.provider in usable)
        return self._members((usable[target.provider], target.weight, target.model) for target in targets)

    def _members(self, found: Iterable[tuple[Provider, int, str]]) -> Members:
        members = [
            Member.of(provider, self.standings[provider.name], provider.weight * weight, target)
            for provider, weight, target in found
            if provider.weight * weight
        ]
        return tuple(sorted(members, key=lambda member: member.priority))


class Choice:
    """One request's: one member after the other, each provider once."""

    __slots__ = ("_alone", "_key", "_least", "_rand", "_session", "_tried", "wish")

    def __init__(self, wish: Wish, balance: Balance, rand: Rand, *, session: bool, sticky: str = "") -> None:
        """`session`: is it for a session, or another WebSocket? `sticky`: what the request has in common with others
        that stay together, if it has."""
        self.wish = wish
        self._session = session
        self._least = (balance.strategy or ("LeastActive" if session else "Weighted")) == "LeastActive"
        self._alone = len(wish.members) == 1
        self._key = _number(sticky) if sticky else None
        self._rand = rand
        self._tried: tuple[str, ...] = ()

    def next(self, now: float) -> Member | None:
        """The next to be asked; None: there is no other."""
        member = self._healthy(now) or self._back_first(now)
        if member is not None:
            self._tried = (*self._tried, member.provider.name)
        return member

    def _healthy(self, now: float) -> Member | None:
        session, tried, wish = self._session, self._tried, self.wish
        found: list[Member] = []
        for member in wish.members:  # this is on the way of every request: no calls
            standing = member.standing
            if standing.out_until and (standing.trying or now < standing.out_until):
                continue
            if (session and standing.sessions >= member.most) or (tried and member.provider.name in tried):
                continue
            if standing.rests and not self._alone and standing.resting(wish.name(member), now):
                continue
            if found and member.priority > found[0].priority:
                break
            found.append(member)
        if len(found) < 2:
            return found[0] if found else None
        if self._key is not None:
            return _sticking(found, self._key)
        return self._idlest(found) if self._least else weighted(found, self._rand)

    def _takes(self, member: Member) -> bool:
        """Has it room, and was it not asked yet?"""
        if self._session and member.standing.sessions >= member.most:
            return False
        return member.provider.name not in self._tried

    def _idlest(self, members: Sequence[Member]) -> Member:
        """In proportion to its weight. Ties are broken by chance, so that gateways do not all begin with the same."""
        least, tied, session = math.inf, [members[0]], self._session
        for member in members:
            standing = member.standing
            load = ((standing.sessions if session else standing.requests) + 1) * member.per
            if load < least:
                least, tied = load, [member]
            elif load == least:
                tied.append(member)
        return tied[int(self._rand() * len(tied))]

    def _back_first(self, now: float) -> Member | None:
        """Of those that are ejected, or are left alone without having asked for it."""
        wish = self.wish
        takes = [member for member in wish.members if self._takes(member)]
        left = [each for each in takes if self._alone or not each.standing.resting(wish.name(each), now, asked=True)]
        return min(left, key=lambda member: (member.priority, member.standing.out_until), default=None)


def nobody(backend: Backend, wish: Wish, now: float) -> Refusal:
    """What is answered where a Choice has nobody at all: each provider rests, or has all the sessions that it may."""
    rests = [rest for each in wish.members if (rest := each.standing.rest_of(wish.name(each), now))]
    if not rests:
        message = f"Each provider of Backend {backend.name} has as many sessions as its maxSessions allows. Try again."
        return Refusal("backend_overloaded", message)
    seconds = max(1, math.ceil(min(rest.until for rest in rests) - now))
    code = "upstream_rate_limited" if any(rest.full for rest in rests) else "upstream_unavailable"
    message = (
        f"Each provider of Backend {backend.name} has asked to be left alone for a while, or is full. "
        f"Try again in {seconds} s."
    )
    return Refusal(code, message, headers={"Retry-After": str(seconds)})


def check(allow: models.Allow, name: str) -> None:
    """Raises Refusal model_not_allowed."""
    if why := models.refused(allow, name):
        raise Refusal("model_not_allowed", why, param="model")


def default_of(provider: Provider) -> str:
    """The model that a request gets there that names none; empty if there is none."""
    return provider.default_model or provider.model_override


def default_not_allowed(allow: models.Allow) -> Refusal:
    """What is answered where no default may be used; which they are is not told."""
    why = f"The request names no model, and this caller may not use the default. Name one. {models.alternatives(allow)}"
    return Refusal("model_not_allowed", why.rstrip(), param="model")


def declared(backend: Backend, name: str, allow: models.Allow) -> tuple[Model, str]:
    """The Backend's model of that name, and what its `*` stands for. Raises Refusal model_not_found."""
    if found := models.find(backend.models, name):
        return found
    names = models.names(backend.models, allow) if allow else [model.name for model in backend.models]
    close = difflib.get_close_matches(name[:256], names, n=3, cutoff=0.4) or names[:5]
    hint = f" Did you mean {', '.join(close)}?" if close else ""
    raise Refusal(
        "model_not_found", f"Backend {backend.name} does not know the model {name[:256]!r}.{hint}", param="model"
    )


def unusable(backend: Backend, names: Sequence[str]) -> Refusal:
    """What is answered where none of these providers can be used, with their own reasons."""
    errors = {provider.name: provider.error for provider in backend.providers if provider.error}
    reasons = [f"provider {name}: {errors[name]}" for name in dict.fromkeys(names) if name in errors]
    why = "; ".join(reasons) or "every target has weight 0 or there is none"
    return Refusal("configuration_error", f"Backend {backend.name} has no usable provider: {why}.")


def weighted(members: Sequence[Member], rand: Rand) -> Member:
    """By chance, in proportion to the weights."""
    point = rand() * sum([member.weight for member in members])
    for member in members:
        point -= member.weight
        if point < 0:
            return member
    return members[-1]


_log = math.log


def _sticking(members: Sequence[Member], key: int) -> Member:
    """By weighted rendezvous hashing (Schindelhauer and Schomaker, 2005): the same for all processes, and when a member
    goes, only what was its own moves."""
    best, least = members[0], math.inf
    for member in members:
        mixed = ((key ^ member.seed) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        mixed = ((mixed ^ (mixed >> 31)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        distance = -_log((mixed + 0.5) * 2.0**-64) * member.per
        if distance < least:
            best, least = member, distance
    return best


def _number(text: str) -> int:
    """64 bits that stand for a text, the same in every process."""
    return int.from_bytes(blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest())
