"""All three signals of one process: their beginning and their end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from dataplane.metering.instruments import Instruments
from dataplane.metering.records import Writer
from dataplane.telemetry import environment, quiet
from dataplane.telemetry.delivery import Delivery
from dataplane.telemetry.environment import Signal
from dataplane.telemetry.metrics import Metrics, otlp_reader
from dataplane.tracing import Tracer, Untraced

SHUTDOWN = 5.0
"""Seconds that a collector is given to take the last batches."""

Made = TypeVar("Made")

log = structlog.get_logger(__name__)


class Telemetry:
    """Tells OpenTelemetry what happens, as the environment of the process asks for it."""

    def __init__(self, instruments: Instruments, version: str = "") -> None:
        self._resource, self._version = environment.resource(version), version
        self.tracer: Tracer = Untraced()
        """Where spans go; nowhere unless that is asked for."""
        self.records: tuple[Writer, ...] = ()
        """Where records go beside the log; nowhere unless that is asked for."""
        exported = environment.exported()
        quiet.hush()
        reader = _made("metrics", otlp_reader) if "metrics" in exported else None
        self._metrics = Metrics(instruments, self._resource, reader)
        self._stops: dict[Signal, Callable[[], None]] = {"metrics": self._metrics.shutdown}
        if "traces" in exported:
            _made("traces", lambda: self._trace(instruments))
        if "logs" in exported:
            _made("logs", lambda: self._log(instruments))

    def exposition(self) -> bytes:
        """All metrics in Prometheus text format. Takes milliseconds: call it from a thread."""
        return self._metrics.exposition()

    def shutdown(self, seconds: float = SHUTDOWN) -> None:
        """Export a last time and stop. Blocks for up to so many seconds (call it from a thread); what the collector
        has not taken by then is lost."""
        deadline = time.monotonic() + seconds
        # Daemons: OpenTelemetry may wait for half a minute, which must not keep the process alive.
        threads = {signal: threading.Thread(target=stop, daemon=True) for signal, stop in self._stops.items()}
        for thread in threads.values():
            thread.start()
        for thread in threads.values():
            thread.join(max(0.0, deadline - time.monotonic()))
        if late := [signal for signal, thread in threads.items() if thread.is_alive()]:
            log.warning("the collector did not take the last batches in time; they are lost", signals=late)

    # What OTLP needs takes 35 ms to import, and is an extra: it is imported where it is asked for.

    def _trace(self, instruments: Instruments) -> None:
        from dataplane.telemetry.traces import Traces

        delivery = Delivery(environment.queue("traces"), instruments.spans, instruments.lock)
        traces = Traces(self._resource, self._version, delivery)
        self.tracer, self._stops["traces"] = traces, traces.shutdown

    def _log(self, instruments: Instruments) -> None:
        from dataplane.telemetry.logs import Logs

        delivery = Delivery(environment.queue("logs"), instruments.usage_records, instruments.lock, ("otlp",))
        logs = Logs(self._resource, self._version, delivery)
        self.records, self._stops["logs"] = (logs,), logs.shutdown


def _made(signal: Signal, make: Callable[[], Made]) -> Made | None:
    """What is asked for in a way that cannot be must not keep the gateway from its work."""
    try:
        return make()
    except Exception as error:
        log.warning("not exported by OTLP: the OTEL_* variables cannot be used", signal=signal, error=str(error))
        return None
