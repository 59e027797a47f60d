"""Where everything that is counted comes in: it is added up, priced and written down, at once.

Called from the event loop, on the hot path; a turn costs some 25 µs: 11 for the numbers, 5 for its record, the rest for
the line in the log. An HTTP sink adds 5 to 10. Only names that were declared or that an upstream confirmed become
labels, so that clients cannot make up series. What was estimated is counted apart from what was reported.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from dataplane import providers, table
from dataplane.metering.counters import Counter
from dataplane.metering.instruments import Instruments
from dataplane.metering.labels import LABEL_SETS, OTHER, Labels
from dataplane.metering.prices import TIMED, UNREPORTED, Cost, Key, PriceBook, cost
from dataplane.metering.records import SessionSummary
from dataplane.metering.usage import ANONYMOUS, NO_TOKENS, Caller, Tokens, Usage, parts
from dataplane.slices import SLICE, Slices, at_once

LONGEST_NAME = 128
REGISTERED_CODES = frozenset([*range(1000, 1016), 3000, 3003, 3008])
"""Close codes that have a meaning: https://www.iana.org/assignments/websocket/websocket.xhtml#close-code-number"""


class Records(Protocol):
    """Where records go."""

    def turn(self, usage: Usage, cost: Cost, duration: float | None) -> None: ...

    def session(self, summary: SessionSummary) -> None: ...


class Family(dict[str, Labels]):
    """The label sets that begin with the same labels, by the one that follows; each is made once. `all`: none does."""

    def __init__(self, labels: Labels) -> None:
        self.all = labels

    def __missing__(self, last: str) -> Labels:
        labels = self[last] = (*self.all, last)
        return labels


class Meter:
    """The data plane's meter; one for the process."""

    def __init__(self, instruments: Instruments, prices: PriceBook, records: Records) -> None:
        self._instruments = instruments
        self._prices = prices
        self._records = records
        self._declared: frozenset[str] = frozenset()
        self._parts = _counters(instruments)
        self._families: dict[Labels, Family] = {}

    def load(self, routing: table.Table) -> None:
        """Learn the models of a table: their names may become labels, and their prices are looked up."""
        at_once(self.loading(routing))

    def loading(self, routing: table.Table) -> Slices[None]:
        """`load` in slices."""
        models: set[Key] = set()
        for count, backend in enumerate(routing.backends, 1):
            models.update(_models(backend))
            if count % SLICE == 0:
                yield
        yield from self._prices.warming(models)
        self._declared = frozenset(name for _, name, _ in models)

    def turn(self, usage: Usage, own: table.Price | None = None, duration: float | None = None) -> Cost:
        """Count one finished turn. `own`: what the Backend says about the price of the public model;
        `duration`: seconds from the request to the end of the answer, where there is such a thing."""
        price = self._price(usage, own)
        with self._instruments.lock:
            self._count(usage, price, duration)
        self._records.turn(usage, price, duration)
        return price

    def session_opened(self, route: str, backend: str, caller: Caller = ANONYMOUS, *, by_key: bool = False) -> None:
        """Count a session that begins. `by_key`: do metrics name the caller's key?"""
        i = self._instruments
        who = (route, backend, *_names(caller, by_key=by_key))
        with i.lock:
            i.sessions.add(who)
            i.sessions_active.add(who)

    def handshake(self, route: str, backend: str, status: int, seconds: float) -> None:
        """Count the answer to a request for a session."""
        with self._instruments.lock:
            self._instruments.handshake_duration.observe((route, backend, str(status)), seconds)

    def first_audio(
        self, route: str, backend: str, model: str, trigger: str, seconds: float, *, confirmed: bool
    ) -> None:
        """Count the first audio of a turn, so many seconds after `trigger` asked for it. `confirmed`: did the upstream
        name the model, or only the client?"""
        with self._instruments.lock:
            labels = (route, backend, self._name(model, confirmed=confirmed), trigger)
            self._instruments.first_audio.observe(labels, seconds)

    def interrupted(self, route: str, backend: str, model: str, by: str, *, confirmed: bool) -> None:
        """Count a turn that was cut off. `confirmed`: did the upstream name the model, or only the client?"""
        with self._instruments.lock:
            self._instruments.interruptions.add((route, backend, self._name(model, confirmed=confirmed), by))

    def traffic(self, route: str, backend: str, side: str, received: int, sent: int, messages: int) -> None:
        """Count bytes, and messages that were received, on one leg (`client`, `upstream`) since the last time; now and
        then, never for each message. Nobody sees the messages of a tunnel: there are 0."""
        i, where = self._instruments, (route, backend, side)
        with i.lock:
            i.io.add((*where, "received"), received)
            i.io.add((*where, "sent"), sent)
            if messages:
                i.messages.add(where, messages)

    def tunnel_opened(self, route: str, backend: str) -> None:
        """Count a WebSocket of a Passthrough path that begins."""
        with self._instruments.lock:
            self._instruments.tunnels_active.add((route, backend))

    def tunnel_closed(self, route: str, backend: str) -> None:
        """One that was opened with the same route and backend has ended."""
        with self._instruments.lock:
            self._instruments.tunnels_active.add((route, backend), -1)

    def loop_lag(self, seconds: float) -> None:
        """Count how late the event loop was."""
        with self._instruments.lock:
            self._instruments.loop_lag.observe((), seconds)

    def draining(self, draining: bool) -> None:
        with self._instruments.lock:
            self._instruments.draining.set((), int(draining))

    def capacity(self, sessions: int) -> None:
        """How many sessions the process may hold; 0: any number, of which nobody can be at 85 %."""
        gauge = self._instruments.sessions_capacity
        with self._instruments.lock:
            if sessions:
                gauge.set((), sessions)
            else:
                gauge.clear(())

    def session_closed(self, summary: SessionSummary) -> None:
        """End a session that was opened with the same route, backend and caller."""
        i = self._instruments
        where = (summary.route, summary.backend)
        with i.lock:
            i.sessions_active.add((*where, *_names(summary.caller, by_key=summary.by_key)), -1)
            i.session_duration.observe(where, summary.seconds)
            i.closes.add((*where, _code(summary), summary.reason, summary.initiator))
        self._records.session(summary)

    def request(self, route: str, backend: str, status: int, code: str, seconds: float) -> None:
        """Count an answer; `code` is the refusal's, or empty. For a WebSocket the answer is the 101."""
        i = self._instruments
        with i.lock:
            i.requests.add((route, backend, str(status), code))
            i.request_duration.observe((route, backend), seconds)

    def unmetered(self, reason: str, route: str = "", backend: str = "") -> None:
        """Count a message whose usage could not be read."""
        with self._instruments.lock:
            self._instruments.unmetered.add((route, backend, reason))

    def keys_fetched(self, url: str, result: str) -> None:
        """Count a fetch of an issuer's keys: `fetched` or `failed`."""
        with self._instruments.lock:
            self._instruments.key_fetches.add((url, result))

    def limited(self, policy: str, limit: str, outcome: str) -> None:
        """Count a decision of a limit."""
        with self._instruments.lock:
            self._instruments.limit_decisions.add((policy, limit, outcome))

    def upstream_healthy(self, backend: str, provider: str, *, healthy: bool | None) -> None:
        """Whether a provider is asked like the others; None: it is none of the Backend's any more."""
        gauge = self._instruments.upstream_healthy
        with self._instruments.lock:
            if healthy is None:
                gauge.clear((backend, provider))
            else:
                gauge.add((backend, provider), int(healthy) - gauge.values.get((backend, provider), 0))

    def upstream_active(self, backend: str, provider: str, kind: str, change: int) -> None:
        """Count what begins with a provider (1), or is over (-1)."""
        with self._instruments.lock:
            self._instruments.upstream_active.add((backend, provider, kind), change)

    def ejected(self, backend: str, provider: str, reason: str) -> None:
        """Count a provider that is left out."""
        with self._instruments.lock:
            self._instruments.ejections.add((backend, provider, reason))

    def rate_limited(self, backend: str, provider: str) -> None:
        """Count a request that a provider had no room for."""
        with self._instruments.lock:
            self._instruments.rate_limited.add((backend, provider))

    def failed_over(self, backend: str, reason: str) -> None:
        """Count a request that goes on to another provider."""
        with self._instruments.lock:
            self._instruments.failovers.add((backend, reason))

    def guardrail_found(
        self, policy: str, guardrail: str, direction: str, action: str, mode: str, findings: int
    ) -> None:
        """Count what a guardrail found in one text."""
        with self._instruments.lock:
            self._instruments.guardrail_findings.add((policy, guardrail, direction, action, mode), findings)

    def guardrail_failed(self, policy: str, guardrail: str, reason: str, outcome: str) -> None:
        """Count a text that could not be judged."""
        with self._instruments.lock:
            self._instruments.guardrail_failures.add((policy, guardrail, reason, outcome))

    def guardrail_asked(self, policy: str, guardrail: str, kind: str, seconds: float) -> None:
        """Count a question to a webhook or a moderation, whatever was answered."""
        with self._instruments.lock:
            self._instruments.guardrail_duration.observe((policy, guardrail, kind), seconds)

    def guardrails_judged(self, route: str, backend: str, direction: str, seconds: float) -> None:
        """Count a message that was judged here, by the seconds that this took."""
        with self._instruments.lock:
            self._instruments.guardrail_judging.observe((route, backend, direction), seconds)

    def limit_store(self, seconds: float | None) -> None:
        """Count a request to the store of limits, by the seconds that it took; None: it failed."""
        i = self._instruments
        with i.lock:
            i.limit_store_up.set((), int(seconds is not None))
            if seconds is None:
                i.limit_store_errors.add(())
            else:
                i.limit_store_duration.observe((), seconds)

    def _price(self, usage: Usage, own: table.Price | None) -> Cost:
        """By the model that the upstream says it used; where nobody knows that, by the one that was asked for."""
        if usage.tokens is None:
            return UNREPORTED
        prices = self._prices.unit_prices(usage.provider_kind, usage.response_model or usage.request_model, own)
        if not prices.source and usage.response_model:
            prices = self._prices.unit_prices(usage.provider_kind, usage.request_model, own)
        if (
            usage.operation == "realtime_inference"
            and not prices.of_tokens
            and providers.bills_time(usage.provider_kind)
        ):
            return TIMED
        return cost(usage.tokens, prices, unknown_is_text=usage.operation == "chat")

    def _count(self, usage: Usage, price: Cost, duration: float | None) -> None:
        i = self._instruments
        labels = self._family(usage)
        error = labels[usage.status if usage.status in ("failed", "lost") else ""]
        if usage.operation == "realtime_session_time":
            self._count_time(labels, usage.tokens or NO_TOKENS, price)
            return
        i.turns.add((*labels.all, usage.status, _said_by(usage)))
        if duration is not None:
            i.operation_duration.observe(error, duration)
            i.inference_duration.observe(error, duration)
        if usage.estimated or usage.tokens is None:
            self._count_parts(labels, NO_TOKENS)
            self._count_estimate(labels.all, usage.tokens or NO_TOKENS, price)
        else:
            self._count_parts(labels, usage.tokens)
            self._count_reported(labels, error, usage.tokens, price)

    def _count_time(self, labels: Family, tokens: Tokens, price: Cost) -> None:
        i = self._instruments
        i.cost_lookups.add(labels[price.status])
        if price.usd is not None:
            i.cost.add(labels.all, float(price.usd))
        if tokens.session_seconds:
            i.session_seconds.add(labels["session"], tokens.session_seconds)
        if tokens.seconds:
            i.session_seconds.add(labels["audio"], tokens.seconds)
        if tokens.items:
            i.session_items.add(labels.all, tokens.items)

    def _count_reported(self, labels: Family, error: Labels, tokens: Tokens, price: Cost) -> None:
        i, given, answered = self._instruments, tokens.input, tokens.output
        i.cost_lookups.add(labels[price.status])
        if price.usd is not None:
            i.cost.add(labels.all, float(price.usd))
        if tokens.seconds:
            i.transcription_seconds.add(labels.all, tokens.seconds)
        if given or answered or not tokens.seconds:
            i.token_usage.observe(labels["input"], given)
            i.token_usage.observe(labels["output"], answered)
            i.operation_input.observe(error, given)
            i.operation_output.observe(error, answered)

    def _count_estimate(self, labels: Labels, t: Tokens, price: Cost) -> None:
        """Apart from everything that a provider said."""
        i = self._instruments
        if price.usd is not None:
            i.estimated_cost.add(labels, float(price.usd))
        if t.seconds:
            i.estimated_seconds.add(labels, t.seconds)
        for part, amount in t.nonzero().items():
            direction, _, modality = part.partition("_")
            if direction in ("input", "output"):
                i.estimated_tokens.add((*labels, direction, modality), amount)

    def _count_parts(self, labels: Family, t: Tokens) -> None:
        """What is zero makes no series, except that the conventions want every call in both directions."""
        if not t.input:
            self._instruments.input_tokens.add(labels["unknown"], 0)
        if not t.output:
            self._instruments.output_tokens.add(labels["unknown"], 0)
        for (counter, modality), amount in zip(self._parts, parts(t), strict=True):
            if amount:
                counter.add(labels[modality], amount)

    def _family(self, usage: Usage) -> Family:
        labels = self._labels(usage)
        family = self._families.get(labels)
        if family is None:
            if len(self._families) >= LABEL_SETS:
                self._families.clear()
            family = self._families[labels] = Family(labels)
        return family

    def _labels(self, usage: Usage) -> Labels:
        confirmed = usage.response_model != "" or _said_by(usage) == "reported"
        return (
            usage.operation,
            providers.label(usage.provider_kind),
            self._name(usage.request_model, confirmed=confirmed),
            _bounded(usage.response_model),
            usage.route,
            usage.backend,
            *_names(usage.caller, by_key=usage.by_key),
        )

    def _name(self, model: str, *, confirmed: bool) -> str:
        """As a label."""
        return _bounded(model) if confirmed or model in self._declared else OTHER


def _counters(i: Instruments) -> tuple[tuple[Counter, str], ...]:
    """What counts each part of a turn's tokens, in the order of `parts`, and under which modality."""
    modalities = ("text", "audio", "image", "unknown")
    return (
        *((i.input_tokens, modality) for modality in modalities),
        *((i.cache_read, modality) for modality in modalities),
        (i.cache_write, "unknown"),
        *((i.output_tokens, modality) for modality in modalities),
        (i.reasoning, "unknown"),
    )


def _said_by(usage: Usage) -> str:
    """The `usage` of a turn: who said what it used."""
    if usage.tokens is None:
        return "unreported"
    return "estimated" if usage.estimated else "reported"


def _names(caller: Caller, *, by_key: bool) -> tuple[str, str]:
    """Of a caller, as labels: team and key."""
    return _bounded(caller.team), _bounded(caller.key) if by_key else ""


def _bounded(name: str) -> str:
    """A name from outside as a label; the instruments see to its characters."""
    return name if len(name) <= LONGEST_NAME else OTHER


def _code(summary: SessionSummary) -> str:
    """Peers choose among 2,000 private codes: theirs are counted by the thousand. Ours are few."""
    code = summary.close_code
    if summary.initiator == "gateway" or code in REGISTERED_CODES:
        return str(code)
    return f"{code // 1000}xxx"


def _models(backend: table.Backend) -> Iterable[Key]:
    """What may be sent upstream by name."""
    kinds = {provider.name: provider.kind for provider in backend.providers}
    for provider in backend.providers:
        for name in (provider.default_model, provider.model_override):
            if name:
                yield provider.kind, name, None
    for model in backend.models:
        for target in model.targets:
            name = target.model or model.name
            if "*" not in name and target.provider in kinds:
                yield kinds[target.provider], name, model.price
