"""Traces: spans of handshakes and turns, made after the fact from what `tracing` says of them.

    GET {route}                  SERVER  a request for a session, to its answer
    └─ dial {provider}           CLIENT  the upstream's part of it
    realtime_inference {model}   CLIENT  one turn, in a trace of its own that links to the handshake; also
                                         `transcription {model}`, and `chat {model}` for a chat completion

A client's `traceparent` is the parent of what it asked for only where the client is authenticated: it decides about
sampling. Of a stranger it becomes a link.

Names: `gen_ai.*` from open-telemetry/semantic-conventions-genai, for realtime its pull request 394; `tidegate.*` are
ours. Nothing of what was said, no header and no key is ever in a span. A turn costs the event loop some 60 µs, and
what goes to the collector does so from a thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, get_current_span
from opentelemetry.trace.propagation import set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from dataplane import providers
from dataplane.metering.instruments import ERROR_TYPE, OPERATION, PROVIDER, REQUEST_MODEL, RESPONSE_MODEL
from dataplane.metering.names import clean
from dataplane.metering.prices import Cost
from dataplane.metering.usage import Caller, Tokens, Usage
from dataplane.telemetry.delivery import Delivery
from dataplane.tracing import Handshake, Timing

USAGE, ESTIMATED_USAGE = "gen_ai.usage.", "tidegate.estimated_usage."
"""What a provider reported, and what it never said."""

Value = str | int | float | bool | Sequence[str]
Attributes = dict[str, Value]

_PARTS: Mapping[str, str] = {
    **{f"input_{modality}": f"{modality}.input_tokens" for modality in ("text", "audio", "image")},
    **{f"output_{modality}": f"{modality}.output_tokens" for modality in ("text", "audio", "image")},
    **{f"cached_{modality}": f"{modality}.cache_read.input_tokens" for modality in ("text", "audio", "image")},
    "cache_write": "cache_write.input_tokens",
    "reasoning": "reasoning.output_tokens",
}
"""By field of `Tokens`, the name of the usage attribute. Tokens of unknown modality are in the totals alone."""

_ROOT = Context()
"""No parent, whatever is current in the task that calls."""
_W3C = TraceContextTextMapPropagator()
LONGEST_TRACEPARENT = 512
"""Characters. OpenTelemetry reads no longer one, and would say so in the log for each."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The span of a handshake, for the turns that follow."""

    context: SpanContext
    upstream: Attributes
    """`server.*` of it."""


class Traces:
    """The tracer of the process, exporting by OTLP; sampled as `OTEL_TRACES_SAMPLER` says."""

    def __init__(self, resource: Resource, version: str, delivery: Delivery) -> None:
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(_Processor(delivery))
        self._tracer = self._provider.get_tracer("tidegate", version)

    def handshake(self, done: Handshake) -> Opened:
        parent, links = _origin(done.traceparent, done.caller)
        span = self._tracer.start_span(
            f"GET {clean(done.route)}",
            context=parent,
            kind=SpanKind.SERVER,
            attributes=_of_handshake(done),
            links=links,
            start_time=_ns(done.began),
        )
        upstream = _server(done.upstream)
        if done.dialled is not None:
            self._dial(done, done.dialled, span, upstream)
        _end(span, done.ended, failed=done.status >= 500)
        return Opened(span.get_span_context(), upstream)

    def _dial(self, done: Handshake, began: float, parent: Span, upstream: Attributes) -> None:
        failed = done.code.startswith("upstream_")
        span = self._tracer.start_span(
            f"dial {clean(done.provider)}",
            context=set_span_in_context(parent, _ROOT),
            kind=SpanKind.CLIENT,
            attributes=_given(
                {"tidegate.provider": done.provider, PROVIDER: providers.label(done.provider_kind), **upstream}
                | ({ERROR_TYPE: done.code} if failed else {})
            ),
            start_time=_ns(began),
        )
        _end(span, done.ended, failed=failed)

    def turn(
        self, usage: Usage, cost: Cost, timing: Timing, handshake: object | None = None, *, traceparent: str = ""
    ) -> None:
        parent, links = _origin(traceparent, usage.caller)
        upstream: Attributes = {}
        if isinstance(handshake, Opened):
            links, upstream = [*links, Link(handshake.context)], handshake.upstream
        start = min(timing.began, timing.prompted or timing.began)
        span = self._tracer.start_span(
            f"{usage.operation} {clean(usage.request_model)}".rstrip(),
            context=parent,
            kind=SpanKind.CLIENT,
            attributes=_of_turn(usage, cost, timing) | upstream,
            links=links,
            start_time=_ns(start),
        )
        for event, moment in _moments(timing):
            span.add_event(event, timestamp=_ns(moment))
        _end(span, timing.ended, failed=usage.status in ("failed", "lost"))

    def shutdown(self) -> None:
        """Export a last time and stop. Blocks while the collector does, for up to half a minute."""
        self._provider.shutdown()


class _Exporter(OTLPSpanExporter):
    """Counts what arrives."""

    def __init__(self, delivery: Delivery) -> None:
        super().__init__()
        self._delivery = delivery

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._delivery.carried(spans, super().export, SpanExportResult.SUCCESS)


class _Processor(BatchSpanProcessor):
    """Takes no more than there is room for."""

    def __init__(self, delivery: Delivery) -> None:
        super().__init__(_Exporter(delivery), max_queue_size=delivery.room)
        self._delivery = delivery

    def on_end(self, span: ReadableSpan) -> None:
        if span.context and span.context.trace_flags.sampled and self._delivery.admitted():
            super().on_end(span)


def _origin(traceparent: str, caller: Caller) -> tuple[Context, list[Link]]:
    """Where a span belongs by the client's header: the context of its parent, and the links to it."""
    if not traceparent or len(traceparent) > LONGEST_TRACEPARENT:
        return _ROOT, []
    context = _W3C.extract({"traceparent": traceparent}, _ROOT)
    if caller.key:
        return context, []
    client = get_current_span(context).get_span_context()
    return _ROOT, [Link(client)] if client.is_valid else []


def _of_handshake(done: Handshake) -> Attributes:
    return _given(
        {
            "http.request.method": "GET",
            "http.response.status_code": done.status,
            ERROR_TYPE: done.code,
            "tidegate.session.id": done.session,
            "tidegate.route": done.route,
            "tidegate.backend": done.backend,
            "tidegate.provider": done.provider,
            "tidegate.providers_tried": done.attempts or None,
            PROVIDER: providers.label(done.provider_kind),
            REQUEST_MODEL: done.model,
            "client.address": done.client,
            **_who(done.caller),
        }
    )


def _of_turn(usage: Usage, cost: Cost, timing: Timing) -> Attributes:
    realtime = usage.operation == "realtime_inference"
    found: dict[str, Value | None] = {
        OPERATION: usage.operation,
        PROVIDER: providers.label(usage.provider_kind),
        REQUEST_MODEL: usage.request_model,
        RESPONSE_MODEL: usage.response_model,
        "gen_ai.response.id": usage.response_id,
        "gen_ai.response.finish_reasons": [usage.status] if realtime else None,
        "gen_ai.conversation.id": usage.session,
        "gen_ai.realtime_session.id": usage.session,
        ERROR_TYPE: usage.status if usage.status in ("failed", "lost") else None,
        "tidegate.session.id": usage.session,
        "tidegate.turn.id": usage.id,
        "tidegate.turn.status": usage.status,
        "tidegate.turn.trigger": timing.trigger,
        "tidegate.turn.interrupted_by": timing.interrupted_by,
        "tidegate.route": usage.route,
        "tidegate.backend": usage.backend,
        "tidegate.provider": usage.provider,
        "tidegate.requested.model": usage.public_model,
        "tidegate.cost.usd": None if cost.usd is None else float(cost.usd),
        "tidegate.cost.status": cost.status,
        "tidegate.estimated": usage.estimated,
        "tidegate.first_audio_ms": _milliseconds(timing.prompted, timing.first_audio),
        **_who(usage.caller),
    }
    if usage.tokens is not None:
        found.update(_used(usage.tokens, ESTIMATED_USAGE if usage.estimated else USAGE))
    return _given(found)


def _used(tokens: Tokens, prefix: str) -> Iterator[tuple[str, Value]]:
    if tokens.input or tokens.output or not tokens.seconds:
        yield f"{prefix}input_tokens", tokens.input
        yield f"{prefix}output_tokens", tokens.output
    if tokens.cached:
        yield f"{prefix}cache_read.input_tokens", tokens.cached
    for field, amount in tokens.nonzero().items():
        if field in _PARTS:
            yield prefix + _PARTS[field], amount
    if tokens.seconds:
        yield "tidegate.usage.seconds", tokens.seconds


def _who(caller: Caller) -> Attributes:
    """Names, not keys."""
    return {
        "tidegate.caller.namespace": caller.namespace,
        "tidegate.caller.key": caller.key,
        "tidegate.caller.team": caller.team,
    }


def _server(upstream: str) -> Attributes:
    """`host:port` as the conventions have it."""
    host, _, port = upstream.rpartition(":")
    return {"server.address": host.strip("[]"), "server.port": int(port)} if host and port.isdecimal() else {}


def _moments(timing: Timing) -> Iterator[tuple[str, float]]:
    if timing.prompted is not None:
        yield "tidegate.prompted", timing.prompted
        yield "tidegate.began", timing.began
    if timing.first_audio is not None:
        yield "tidegate.first_audio", timing.first_audio


def _given(found: Mapping[str, Value | None]) -> Attributes:
    """What there is something to say of, as text that every encoder takes."""
    said = {name: clean(value) if isinstance(value, str) else value for name, value in found.items()}
    return {name: value for name, value in said.items() if value is not None and value != ""}


def _end(span: Span, moment: float, *, failed: bool) -> None:
    if failed:
        span.set_status(Status(StatusCode.ERROR))
    span.end(_ns(moment))


def _milliseconds(since: float | None, until: float | None) -> float | None:
    return None if since is None or until is None else round((until - since) * 1000, 1)


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
