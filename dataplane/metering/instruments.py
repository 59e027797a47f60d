"""Every metric of the data plane.

Each is declared once, here: name, unit, labels, buckets, description. The metrics reference is made from these
declarations (`python -m dataplane.metering.reference`). What they count with is in `counters`.

Names follow the GenAI semantic conventions in both generations, of which dashboards read one or the other:
open-telemetry/semantic-conventions-genai (`latest`), and core conventions up to 1.41 (`legacy`).
"""

from __future__ import annotations

import threading
from typing import Literal

from dataplane.faults import REASONS
from dataplane.metering.counters import Counter, Definition, Gauge, Generation, Histogram, Instrument
from dataplane.metering.labels import BACKEND, CALLER

Generations = Literal["both", "latest", "legacy"]

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105
MODALITY = "gen_ai.token.modality"
ERROR_TYPE = "error.type"

ROUTE = ("route", BACKEND)
TURN = (OPERATION, PROVIDER, REQUEST_MODEL, RESPONSE_MODEL, *ROUTE, *CALLER)
"""What every metric of a turn is labelled with."""

TOKEN_BUCKETS = tuple(float(4**n) for n in range(14))
SECOND_BUCKETS = tuple(0.01 * 2**n for n in range(14))
"""Both as the GenAI conventions recommend."""
HTTP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""As the HTTP conventions recommend."""
FIRST_AUDIO_BUCKETS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0)
"""Finer than the conventions' powers of two, which misstate the 95th percentile of a voice by a third."""
LAG_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
STORE_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
JUDGED_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0)
SESSION_BUCKETS = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 5400.0, 7200.0, 10_800.0)
"""Up to the default of `session.duration`; providers end theirs after 60 and 120 minutes."""

TOKEN = "{token}"  # noqa: S105
SINK = "sink"
INPUT_OF_TURN = "Input tokens of one turn, where the provider reported them."
OUTPUT_OF_TURN = "Output tokens of one turn, where the provider reported them."
SECONDS_OF_CALL = "Seconds that a model call took."


class Instruments:
    """One of each. Hold `lock` while changing them: it makes a turn visible as a whole or not at all to the
    thread that reads them by `snapshot`."""

    def __init__(self, generations: Generations = "both") -> None:
        self.lock = threading.Lock()
        self._generations = generations
        self._declare_legacy()
        self._declare_latest()
        self._declare_turns()
        self._declare_estimates()
        self._declare_sessions()
        self._declare_process()
        self._declare_requests()
        self._declare_upstreams()
        self._declare_limits()
        self._declare_guardrails()
        self._declare_records()
        self._declare_tables()

    def _declare_legacy(self) -> None:
        self.token_usage = _histogram(
            "gen_ai.client.token.usage",
            TOKEN,
            (*TURN, TOKEN_TYPE),
            "Tokens of one turn, by direction.",
            TOKEN_BUCKETS,
            "legacy",
        )
        self.operation_duration = _histogram(
            "gen_ai.client.operation.duration",
            "s",
            (*TURN, ERROR_TYPE),
            SECONDS_OF_CALL,
            SECOND_BUCKETS,
            "legacy",
        )

    def _declare_latest(self) -> None:
        def usage(part: str, description: str) -> Counter:
            name = f"gen_ai.client.inference.usage.{part}"
            return Counter(Definition(name, TOKEN, (*TURN, MODALITY), description, "latest"))

        def per_turn(name: str, unit: str, description: str, bounds: tuple[float, ...]) -> Histogram:
            name = f"gen_ai.client.inference.{name}"
            return _histogram(name, unit, (*TURN, ERROR_TYPE), description, bounds, "latest")

        self.input_tokens = usage("input_tokens", "Input tokens, cached ones included.")
        self.output_tokens = usage("output_tokens", "Output tokens, reasoning included.")
        self.cache_read = usage("cache_read.input_tokens", "The input tokens that came from the cache.")
        self.cache_write = usage("cache_write.input_tokens", "The input tokens that went into the cache.")
        self.reasoning = usage("reasoning.output_tokens", "The output tokens that were reasoning.")
        self.operation_input = per_turn("operation.input_tokens", TOKEN, INPUT_OF_TURN, TOKEN_BUCKETS)
        self.operation_output = per_turn("operation.output_tokens", TOKEN, OUTPUT_OF_TURN, TOKEN_BUCKETS)
        self.inference_duration = per_turn("duration", "s", SECONDS_OF_CALL, SECOND_BUCKETS)

    def _declare_turns(self) -> None:
        self.turns = _counter(
            "tidegate.turns",
            "{turn}",
            (*TURN, "status", "usage"),
            "Finished turns by how they ended (completed, cancelled, failed, incomplete, lost) and by who said what "
            "they used: the provider (reported), the gateway, from what it saw (estimated), or nobody (unreported).",
        )
        self.transcription_seconds = _counter(
            "tidegate.transcription.seconds", "s", TURN, "Seconds of audio that the provider bills by time."
        )
        self.session_seconds = _counter(
            "tidegate.realtime.billed.seconds",
            "s",
            (*TURN, "basis"),
            "Seconds of realtime sessions at providers that bill time: by the clock (session), or of the audio that "
            "was sent and received (audio).",
        )
        self.session_items = _counter(
            "tidegate.realtime.billed.items",
            "{item}",
            TURN,
            "Items that clients added to conversations at such providers, and that are billed by the piece.",
        )
        self.cost = _counter("tidegate.gen_ai.cost", "USD", TURN, "Cost of the reported usage, where it has a price.")
        self.cost_lookups = _counter(
            "tidegate.gen_ai.cost.lookups",
            "{lookup}",
            (*TURN, "status"),
            "Turns with reported usage by what became of their price: priced, unpriced (a kind of token has no "
            "price), missing (nobody knows the model), timed (the provider bills the session's time).",
        )
        self.unmetered = _counter(
            "tidegate.unmetered",
            "{item}",
            (*ROUTE, "reason"),
            "What may have cost something and brought no usage that can be read, by reason: turns (usage_unreadable, "
            "unanswered), replies to requests (reply_not_json, reply_too_long), messages of a session "
            "(undecodable, binary).",
        )

    def _declare_estimates(self) -> None:
        """What no provider said. It is in none of the other figures."""
        name = "tidegate.estimated"
        self.estimated_tokens = _counter(
            f"{name}.tokens",
            TOKEN,
            (*TURN, TOKEN_TYPE, MODALITY),
            "Tokens of turns whose usage the provider never reported, estimated from what was seen of them, by "
            "direction and modality. In no other metric of tokens.",
        )
        self.estimated_seconds = _counter(
            f"{name}.transcription.seconds",
            "s",
            TURN,
            "Seconds of audio that the provider may bill by time and never reported, estimated. In no other metric.",
        )
        self.estimated_cost = _counter(
            f"{name}.cost",
            "USD",
            TURN,
            "Cost of the estimated usage, where it has a price. In no other metric of cost, and its turns are not "
            "among the price look-ups.",
        )

    def _declare_sessions(self) -> None:
        name = "tidegate.realtime.sessions"
        who = (*ROUTE, *CALLER)
        self.sessions = _counter(name, "{session}", who, "Realtime sessions that were opened.")
        self.sessions_active = Gauge(Definition(f"{name}.active", "{session}", who, "Realtime sessions that are open."))
        self.session_duration = _histogram(
            "tidegate.realtime.session.duration",
            "s",
            ROUTE,
            "Seconds from the start of a session to its end.",
            SESSION_BUCKETS,
        )
        self.closes = _counter(
            "tidegate.realtime.closes",
            "{session}",
            (*ROUTE, "code", "reason", "initiator"),
            "Realtime sessions that ended, by close code, reason, and who ended them (client, upstream, gateway). The "
            "gateway's own codes and registered ones (1000 to 1015; 3000, 3003, 3008) are counted each, others that a "
            "peer chose as 3xxx and 4xxx; the records of sessions have them as they were.",
        )
        self._declare_live()

    def _declare_live(self) -> None:
        self.handshake_duration = _histogram(
            "tidegate.realtime.handshake.duration",
            "s",
            (*ROUTE, "status"),
            "Seconds from a request for a realtime session to its answer, by the status of the answer.",
            HTTP_BUCKETS,
        )
        self.first_audio = _histogram(
            "tidegate.realtime.response.time_to_first_audio",
            "s",
            (*ROUTE, RESPONSE_MODEL, "trigger"),
            "Seconds from the end of what the user said (voice), or from the request for a response (client), to the "
            "first audio of the answer.",
            FIRST_AUDIO_BUCKETS,
        )
        self.interruptions = _counter(
            "tidegate.realtime.interruptions",
            "{turn}",
            (*ROUTE, RESPONSE_MODEL, "by"),
            "Turns that were cut off, by the user who began to speak (voice) or by the client (client).",
        )
        self.io = _counter(
            "tidegate.websocket.io",
            "By",
            (*ROUTE, "side", "direction"),
            "Bytes of realtime sessions, and of WebSockets of Passthrough paths, by leg (client, upstream) and "
            "direction (received, sent).",
        )
        self.messages = _counter(
            "tidegate.websocket.messages",
            "{message}",
            (*ROUTE, "side"),
            "Messages received in realtime sessions, by the leg that they came on (client, upstream).",
        )
        self.tunnels_active = Gauge(
            Definition(
                "tidegate.websocket.tunnels.active",
                "{connection}",
                ROUTE,
                "WebSockets of Passthrough paths that are open. With the active sessions they are what the capacity is "
                "for.",
            )
        )

    def _declare_process(self) -> None:
        self.loop_lag = _histogram(
            "tidegate.event_loop.lag",
            "s",
            (),
            "Seconds by which the event loop was late; everything that it serves waits so much longer.",
            LAG_BUCKETS,
        )
        self.sessions_capacity = Gauge(
            Definition(
                "tidegate.realtime.sessions.capacity",
                "{session}",
                (),
                "Realtime sessions, and WebSockets of Passthrough paths, that the process may hold; absent where there "
                "is no bound.",
            )
        )
        self.draining = Gauge(
            Definition("tidegate.draining", "1", (), "1 from when the process began to shut down, else 0.")
        )
        self.draining.set((), 0)

    def _declare_requests(self) -> None:
        self.requests = _counter(
            "tidegate.http.requests",
            "{request}",
            (*ROUTE, "status", "code"),
            "Requests by the status of their answer, and by the error code where the gateway refused them.",
        )
        self.request_duration = _histogram(
            "tidegate.http.request.duration",
            "s",
            ROUTE,
            "Seconds from a request's head to the end of its answer; to the 101 for a WebSocket.",
            HTTP_BUCKETS,
        )

        self.key_fetches = _counter(
            "tidegate.jwks.fetches",
            "{fetch}",
            ("url", "result"),
            "Fetches of the keys that callers' tokens are verified with, by where they are published, and by what "
            "became of it (fetched, failed). While they fail, the keys that are known stay in use.",
        )

    def _declare_upstreams(self) -> None:
        name, whose = "tidegate.upstream", (BACKEND, "provider")
        self.upstream_healthy = Gauge(
            Definition(
                f"{name}.healthy",
                "1",
                whose,
                "1 while the provider is asked like the others, 0 while it is ejected, and until it has taken a "
                "request again. Of Backends that were asked for something.",
            )
        )
        self.upstream_active = Gauge(
            Definition(
                f"{name}.active",
                "{request}",
                (*whose, "kind"),
                "What is under way with the provider: sessions and other WebSockets (session), or requests (request); "
                "those too that are being opened.",
            )
        )
        reasons = "; ".join(f"{reason} ({meaning})" for reason, meaning in REASONS.items())
        self.ejections = _counter(
            f"{name}.ejections",
            "{ejection}",
            (*whose, "reason"),
            f"How often the provider was ejected, by what was wrong the last time: {reasons}.",
        )
        self.rate_limited = _counter(
            f"{name}.rate_limited", "{request}", whose, "Requests that the provider had no room for (429)."
        )
        self.failovers = _counter(
            "tidegate.failovers",
            "{request}",
            (BACKEND, "reason"),
            "How often a request, or the opening of a session, went on to another provider, by what was wrong with the "
            "one before; for the reasons see the ejections.",
        )

    def _declare_limits(self) -> None:
        self.limit_decisions = _counter(
            "tidegate.limit.decisions",
            "{decision}",
            ("policy", "limit", "outcome"),
            "What limits of Policies decided about requests, sessions and turns: admitted, refused (no room), unpriced "
            "(the model's price is not known), unavailable (the store does not answer). The limit is named as in "
            "RateLimit-Policy: tokens/Day.",
        )
        name = "tidegate.limit.store"
        self.limit_store_up = Gauge(
            Definition(
                f"{name}.up", "1", (), "1 while the store of limits answers, else 0; absent where there is none."
            )
        )
        self.limit_store_errors = _counter(
            f"{name}.errors", "{request}", (), "Requests to the store of limits that failed, heartbeats included."
        )
        self.limit_store_duration = _histogram(
            f"{name}.duration", "s", (), "Seconds that the store of limits took to answer.", STORE_BUCKETS
        )

    def _declare_guardrails(self) -> None:
        name, which = "tidegate.guardrail", ("policy", "guardrail")
        self.guardrail_findings = _counter(
            f"{name}.findings",
            "{finding}",
            (*which, "direction", "action", "mode"),
            "What guardrails found, by direction (input, output), by action (block, mask, flag), and by mode: with "
            "shadow, nothing followed.",
        )
        self.guardrail_failures = _counter(
            f"{name}.failures",
            "{text}",
            (*which, "reason", "outcome"),
            "Texts that a guardrail did not judge, by reason: not_transcribed (speech that nobody wrote down); and of "
            "webhooks and moderations timeout, unreachable, status (it answered another than 200), nonsense (it "
            "answered something else than it should), too_large (more text than it is asked about), busy (too many "
            "questions under way), credential (its Secret holds no key), internal. And by what became of them: "
            "stopped (closed), or not (open).",
        )
        self.guardrail_duration = _histogram(
            f"{name}.duration",
            "s",
            (*which, "kind"),
            "Seconds that a webhook or a moderation (kind) took to say something of a text, or until it was given up.",
            JUDGED_BUCKETS,
        )

    def _declare_records(self) -> None:
        self.usage_records = _counter(
            "tidegate.usage.records",
            "{record}",
            (SINK, "result", "reason"),
            "Usage records by what became of them on their way to each sink (log, http, otlp): delivered, or dropped "
            "(queue_full, failed; of http: queue_full, refused, expired, failed, closed). Each series of a sink that "
            "is in use is there from the beginning.",
        )
        self.usage_retries = _counter(
            "tidegate.usage.retries",
            "{batch}",
            (SINK, "reason"),
            "Batches of usage records that are sent once more, by what became of the last time: a status, timeout, or "
            "connection.",
        )
        self.spans = _counter(
            "tidegate.spans",
            "{span}",
            ("result", "reason"),
            "Spans by what became of them: delivered to the collector, or dropped (queue_full, failed).",
        )
        self.usage_queue = Gauge(
            Definition("tidegate.usage.queue", "{record}", (SINK,), "Usage records that wait for their delivery.")
        )

    def _declare_tables(self) -> None:
        """Of `tidegate dataplane` alone: they are absent elsewhere."""
        self.table_updates = _counter(
            "tidegate.table.updates",
            "{table}",
            ("result",),
            "Tables that controllers offered and that were not served yet, by what became of them: applied, refused "
            "(it cannot be served; what was served stays), stale (it is older than what is served), failed (it did "
            "not come whole).",
        )
        self.table_applied = Gauge(
            Definition("tidegate.table.applied", "s", (), "When the table that is served came into use (Unix time).")
        )
        self.table_from_snapshot = Gauge(
            Definition(
                "tidegate.table.from_snapshot",
                "1",
                (),
                "1 while the table that is served is that of the snapshot, since no controller has offered one, else "
                "0.",
            )
        )
        self.controllers_connected = Gauge(
            Definition("tidegate.controllers.connected", "{controller}", (), "Controllers that are connected.")
        )

    def all(self) -> list[Instrument]:
        """Those that are exported, in the order of their declaration."""
        every = [value for value in vars(self).values() if isinstance(value, Counter | Histogram)]
        return [each for each in every if self._exported(each.definition.generation)]

    def _exported(self, generation: Generation | None) -> bool:
        return generation is None or self._generations in ("both", generation)

    def snapshot(self) -> list[Instrument]:
        """Copies of those that are exported, all of one moment. Callable from any thread."""
        with self.lock:
            return [each.copy() for each in self.all()]


def _counter(name: str, unit: str, labels: tuple[str, ...], description: str) -> Counter:
    return Counter(Definition(name, unit, labels, description))


def _histogram(
    name: str,
    unit: str,
    labels: tuple[str, ...],
    description: str,
    bounds: tuple[float, ...],
    generation: Generation | None = None,
) -> Histogram:
    return Histogram(Definition(name, unit, labels, description, generation), bounds)
