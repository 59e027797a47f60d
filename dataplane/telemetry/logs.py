"""Logs: the records of turns and sessions as OTLP log records, beside the lines of the log.

An event `tidegate.turn` or `tidegate.session.ended` for each, with the fields of its record as attributes: nested
ones joined by dots, those that say nothing left out. `tidegate.id` is the record's id: a batch that is sent again
after a lost answer may arrive twice, and a receiver drops what it has. A record costs the event loop some 60 µs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExportResult
from opentelemetry.sdk.resources import Resource

from dataplane.metering.records import Record
from dataplane.telemetry.delivery import Delivery

EVENTS = {"turn": "tidegate.turn", "session": "tidegate.session.ended"}
"""By kind of record."""


class Logs:
    """A writer of records; see `metering.records.Writer`."""

    def __init__(self, resource: Resource, version: str, delivery: Delivery) -> None:
        self._delivery = delivery
        self._provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
        exporter = _Exporter(delivery)
        self._provider.add_log_record_processor(BatchLogRecordProcessor(exporter, max_queue_size=delivery.room))
        self._logger = self._provider.get_logger("tidegate", version)

    def write(self, record: Record) -> None:
        if not self._delivery.admitted():
            return
        event = EVENTS[str(record["kind"])]
        self._logger.emit(
            LogRecord(
                timestamp=time.time_ns(),
                severity_number=SeverityNumber.INFO,
                severity_text="INFO",
                body=event,
                attributes=dict(_flat("tidegate", record)),
                event_name=event,
            )
        )

    def shutdown(self) -> None:
        """Export a last time and stop. Blocks while the collector does, for up to half a minute."""
        self._provider.shutdown()


class _Exporter(OTLPLogExporter):
    """Counts what arrives."""

    def __init__(self, delivery: Delivery) -> None:
        super().__init__()
        self._delivery = delivery

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        return self._delivery.carried(batch, super().export, LogRecordExportResult.SUCCESS)


def _flat(prefix: str, fields: Mapping[str, object]) -> Iterator[tuple[str, str | bool | int | float]]:
    for name, value in fields.items():
        match value:
            case Mapping():
                yield from _flat(f"{prefix}.{name}", value)
            case str() | bool() | int() | float() if value != "":
                yield f"{prefix}.{name}", value
