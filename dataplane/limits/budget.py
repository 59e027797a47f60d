"""What limits one caller on one Backend. A request has one, and a session for all its life."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Final, Protocol

from dataplane import providers
from dataplane.errors import Refusal
from dataplane.limits import wording
from dataplane.limits.spending import Model, dearest, minute, nano, spent, unpriced
from dataplane.limits.subjects import subject
from dataplane.limits.tally import Ask, Short, Taken, Tally, Want
from dataplane.metering.prices import Cost, UnitPrices
from dataplane.metering.usage import Caller, Usage
from dataplane.table import CallerLimits, Limit, Price

FREE = Decimal(0)


class Exceeded(Exception):
    """There is no room."""

    def __init__(self, short: Short) -> None:
        super().__init__(short)
        self.short = short


class Unavailable(Exception):
    """Nobody can tell whether there is room: the store does not answer."""


class Books(Protocol):
    """Where budgets are kept (`limiter.Limiter`)."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def maximum(self, policy: str, limit: Limit) -> int:
        """How much there may be of a limit, by the newest table."""

    def tally(self, limits: CallerLimits, subject: str) -> Tally:
        """What is counted of a subject."""

    def known(self, policy: str, subject: str) -> Tally | None:
        """The same, if anything is."""

    def changed(self, tally: Tally) -> None:
        """Something was counted, or given back."""

    async def take_together(self, tally: Tally, ask: Ask) -> Taken:
        """Take from what all processes count. Raises Exceeded, Unavailable."""

    def prices(self, provider_kind: str, model: str, own: Price | None) -> UnitPrices:
        """What a model costs."""

    def tell(self, policy: str, limit: str, outcome: str) -> None:
        """Count a decision."""


class Budget:
    """It is asked before anything is taken, and told what was used. Everything or nothing is taken: where one of
    several limits has no room, the others lose nothing."""

    __slots__ = ("_backend", "_beyond", "_books", "_minute", "_parts", "_price", "_seat", "_turns", "ends")

    def __init__(self, books: Books, parts: Sequence[CallerLimits], caller: Caller, backend: str) -> None:
        self.ends = False
        """Does a session end for what was refused last?"""
        self._books = books
        self._backend = backend
        ordered = sorted(parts, key=_turn) if len(parts) > 1 else parts
        self._parts = [(part, subject(part, caller, backend)) for part in ordered]
        self._price: Decimal | None = FREE
        """USD of the dearest token of the model that was asked last; None where that is not known."""
        self._minute: Decimal | None = None
        """USD of a minute of it, where sessions are billed by time and not by tokens."""
        self._turns: deque[list[Taken]] = deque()
        """What is set aside for the turns that are under way, the oldest first."""
        self._seat: list[Taken] | None = None
        self._beyond: dict[tuple[str, str], int] = {}
        """By Policy and limit: what a session has used that could not be refused since nothing is left."""

    async def admit_request(self) -> None:
        """Count a request. Raises Refusal limit_exceeded, limits_unavailable."""
        await self._admit(request=True)

    async def admit_session(self, model: Model | None = None) -> None:
        """Count the opening of a session, and take a seat, which `leave` gives back. With a model, there must be room
        for a turn of it, though nothing is set aside yet. Raises as `admit_turn` does."""
        if model is not None and model.upstream_model:
            self._look_up(model)
        # In one: what was taken and given back would stay in what other processes have heard.
        taken = await self._admit(request=True, turn=model is not None, seat=True)
        self._seat = _of(taken, "sessions")
        self._release(_of(taken, "tokens", "spend"))

    @property
    def limits_turns(self) -> bool:
        """Does each turn of a session have to be admitted?"""
        return any(limit.kind != "sessions" for part, _ in self._parts for limit in part.limits)

    def overdrawn(self, usage: Usage, cost: Cost, *, patient: bool) -> Refusal | None:
        """Why a session must end, in which something was used that cannot be refused (a transcription): nothing was
        left for it, as far as is known here. Where it is `patient`, and the Policy does not end sessions, it may first
        use as much more as is set aside for a turn. To be asked right after `used`."""
        now = self._books.now()
        for part, whose in self._parts:
            for limit in part.limits:
                if limit.kind not in ("tokens", "spend"):
                    continue
                want = Want(limit, self._books.maximum(part.policy, limit), 1)
                short, key = self._books.tally(part, whose).short((want,), now), (part.policy, limit.name)
                if short is None:
                    self._beyond.pop(key, None)
                    continue
                beyond = self._beyond[key] = self._beyond.get(key, 0) + self._amount(part, limit, usage, cost)
                if part.end_session or not patient or beyond > self._set_aside(part, limit):
                    return wording.overdrawn(part, whose, short, now)
        return None

    def leave(self) -> None:
        """The session is over: its seat is free, and whatever is still set aside for its turns."""
        if self._seat is not None:
            self._release(self._seat)
            self._seat = None
        while self._turns:
            self.release_turn()

    async def admit_turn(self, model: Model) -> None:
        """Count a turn as a request, and set aside what it may use; `release_turn` gives that back. Raises Refusal
        limit_exceeded, limit_too_low, limits_unavailable, model_not_priced."""
        self._look_up(model)
        self._turns.append(await self._admit(request=True, turn=True))

    def reckon(self, model: Model) -> None:
        """What is admitted goes to this model instead. Raises Refusal model_not_priced."""
        self._look_up(model)

    def release_turn(self) -> None:
        """A turn that was admitted is over, or never began. What it used is to be told before."""
        self._release(self._turns.popleft())

    def used(self, usage: Usage, cost: Cost) -> None:
        """Count what a turn used, or a transcription."""
        self._count(lambda part, limit: self._amount(part, limit, usage, cost))

    def unanswered(self) -> None:
        """Count a turn that was admitted and asked for, and of which nothing came: it may have taken all that was set
        aside for it, as one whose usage nobody reports."""
        self._count(self._set_aside)

    def _count(self, amount_of: Callable[[CallerLimits, Limit], int]) -> None:
        now = self._books.now()
        for part, whose in self._parts:
            tally = self._books.tally(part, whose)
            for limit in part.limits:
                if limit.kind in ("tokens", "spend") and (amount := amount_of(part, limit)):
                    tally.add(limit, amount, now)
            self._books.changed(tally)

    def headers(self) -> list[tuple[str, str]]:
        """`RateLimit-Policy` and `RateLimit`, from what is known now."""
        books, now = self._books, self._books.now()
        quotas, rests = [], []
        for part, whose in self._parts:
            policy = part.policy
            tally = books.known(policy, whose) or Tally(policy, whose)
            for limit in part.limits:
                most, count = books.maximum(policy, limit), tally.count(limit, now)
                left = max(0, most - count.all_used - count.all_reserved)
                quota, rest = wording.fields(policy, limit, most, left, count.window, now)
                quotas.append(quota)
                rests.append(rest)
        return [("ratelimit-policy", ", ".join(quotas)), ("ratelimit", ", ".join(rests))] if quotas else []

    # -- what is taken -----------------------------------------------------------------------------------------

    async def _admit(self, *, request: bool = False, turn: bool = False, seat: bool = False) -> list[Taken]:
        taken: list[Taken] = []
        try:
            for part, whose in self._parts:
                ask = tuple(self._wants(part, request=request, turn=turn, seat=seat))
                if seat:  # last: others end, but what never can begin never will
                    ask = tuple(sorted(ask, key=lambda want: want.limit.kind == "sessions"))
                if ask:
                    taken.append(await self._take(part, whose, ask))
        except BaseException:
            self._give_back(taken)
            raise
        for each in taken:
            for want in each.ask:
                self._books.tell(each.tally.policy, want.limit.name, "admitted")
        return taken

    def _give_back(self, taken: list[Taken]) -> None:
        for each in taken:
            each.undo()
            self._books.changed(each.tally)

    def _wants(self, part: CallerLimits, *, request: bool, turn: bool, seat: bool) -> Iterator[Want]:
        for limit in part.limits:
            kind, amount = limit.kind, 0
            if kind == "requests":
                amount = int(request)
            elif kind == "sessions":
                amount = int(seat)
            elif turn:
                amount = self._set_aside(part, limit)
            if amount:
                yield Want(limit, self._books.maximum(part.policy, limit), amount)

    def _set_aside(self, part: CallerLimits, limit: Limit) -> int:
        """Of tokens or money, for one turn."""
        if limit.kind == "tokens":
            return part.reserve
        if self._minute is not None:
            return nano(self._minute)
        return nano(part.reserve * self._price) if self._price is not None else 0

    async def _take(self, part: CallerLimits, whose: str, ask: Ask) -> Taken:
        """Raises Refusal."""
        books = self._books
        tally = books.tally(part, whose)
        try:
            return await self._taken(part, tally, ask)
        except Unavailable:
            limit, outcome, refusal = ask[0].limit, "unavailable", wording.unavailable(part)
        except Exceeded as exceeded:
            limit, outcome = exceeded.short.want.limit, "refused"
            refusal = wording.exceeded(part, tally.subject, exceeded.short, books.now())
            refusal.headers.update(self.headers())
        self.ends = part.end_session
        books.tell(part.policy, limit.name, outcome)
        raise refusal

    async def _taken(self, part: CallerLimits, tally: Tally, ask: Ask) -> Taken:
        """Raises Exceeded, Unavailable."""
        if part.fleet:
            try:
                return await self._books.take_together(tally, ask)
            except Unavailable:
                if part.refuse_without_store:
                    raise
        now = self._books.now()
        if short := tally.short(ask, now):
            raise Exceeded(short)
        taken = tally.take(ask, now)
        if part.fleet:  # the others are to hear of it as soon as may be
            self._books.changed(tally)
        return taken

    def _release(self, taken: list[Taken]) -> None:
        for each in taken:
            each.release()
            self._books.changed(each.tally)

    # -- money -------------------------------------------------------------------------------------------------

    def _look_up(self, model: Model) -> None:
        if not any(limit.kind == "spend" for part, _ in self._parts for limit in part.limits):
            return
        prices = self._books.prices(model.provider_kind, model.upstream_model, model.price)
        timed = model.speaks and providers.bills_time(model.provider_kind) and not prices.of_tokens
        self._minute = minute(prices) if timed else None
        if timed:
            missing = [] if self._minute is not None else ["session_minute"]
        else:
            missing = unpriced(prices, speaks=model.speaks)
        for part, _ in self._parts:
            spend = next((limit for limit in part.limits if limit.kind == "spend"), None)
            if missing and spend and part.refuse_unpriced:
                self.ends = False
                self._books.tell(part.policy, spend.name, "unpriced")
                raise wording.not_priced(part, model.name, missing, self._backend)
        self._price = None if missing else dearest(prices)

    def _amount(self, part: CallerLimits, limit: Limit, usage: Usage, cost: Cost) -> int:
        tokens = usage.tokens
        if tokens is None:
            # Nobody knows what it took: it may be all that was set aside for it. Otherwise callers who always leave
            # before the end would never be counted. What failed has been billed to nobody.
            counts = usage.operation != "transcription" and usage.status != "failed"
            return self._set_aside(part, limit) if counts else 0
        if limit.kind == "tokens":
            given, said = tokens.input, tokens.output
            return {"Total": given + said, "Input": given, "Output": said}[limit.count]
        if cost.usd is None and not part.refuse_unpriced:
            return 0
        return spent(cost, tokens, self._price or FREE)


_BREADTH: Final = ("Caller", "Team", "Backend", "Policy")


def _turn(part: CallerLimits) -> int:
    """Which is asked first. Those that may have to wait come last: what is refused here and now is not asked for
    elsewhere. Of these, requests come last, and of requests what more callers share: where they are counted and given
    back, other processes may have heard of them meanwhile, and do not unlearn it in that window. So nobody who has used
    up what is his own uses up what he shares."""
    if not part.fleet:
        return 0
    counts = any(limit.kind == "requests" for limit in part.limits)
    return 2 + _BREADTH.index(part.counted_by) if counts else 1


def _of(taken: Sequence[Taken], *kinds: str) -> list[Taken]:
    """What was taken of limits of these kinds."""
    parts = (each._replace(ask=tuple(want for want in each.ask if want.limit.kind in kinds)) for each in taken)
    return [each for each in parts if each.ask]
