"""What OpenTelemetry says in the log about its own troubles: seldom enough, and without keys."""

from __future__ import annotations

import logging

import structlog

INTERVAL = 60.0
"""Seconds."""
_EXPORTERS = ("trace_exporter", "_log_exporter", "metric_exporter")

log = structlog.get_logger(__name__)


class Seldom(logging.Filter):
    """Lets one line of each logger and level pass in `INTERVAL`: a collector that is away says so at every try."""

    def __init__(self) -> None:
        super().__init__()
        self._next: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.name, record.levelno
        if record.created < self._next.get(kind, 0.0):
            return False
        self._next[kind] = record.created + INTERVAL
        return True


_SELDOM = Seldom()


def hush() -> None:
    """Set it up; may be done again."""
    for exporter in _EXPORTERS:
        logging.getLogger(f"opentelemetry.exporter.otlp.proto.http.{exporter}").addFilter(_SELDOM)
    logging.getLogger("opentelemetry.util.re").addFilter(_without_header)


def _without_header(_record: logging.LogRecord) -> bool:
    """It quotes a header that it cannot read, and that may be a key."""
    log.warning("a header in OTEL_EXPORTER_OTLP_HEADERS is not sent: write name=value,name=value")
    return False
