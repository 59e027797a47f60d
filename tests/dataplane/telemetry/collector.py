"""A collector on loopback that speaks OTLP over HTTP, and keeps what it gets."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otlp")

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Value = str | bool | int | float | list[object] | None


@dataclass
class Collector:
    """`status` is its answer. While `silent` is set it takes requests and says nothing."""

    url: str = ""
    status: int = 200
    silent: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    bodies: list[tuple[str, bytes]] = field(default_factory=list)
    """By path, unpacked."""
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def everything(self) -> bytes:
        return b"\n".join(body for _, body in self.bodies)

    def spans(self) -> list[Span]:
        return [
            span
            for body in self._of("/v1/traces")
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans() if span.name == name]

    def records(self) -> list[LogRecord]:
        return [
            record
            for body in self._of("/v1/logs")
            for resource in ExportLogsServiceRequest.FromString(body).resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    def resources(self) -> list[dict[str, Value]]:
        """Who says that it sent each of the traces and logs."""
        traces = [ExportTraceServiceRequest.FromString(body) for body in self._of("/v1/traces")]
        logs = [ExportLogsServiceRequest.FromString(body) for body in self._of("/v1/logs")]
        return [attributes(each.resource.attributes) for request in traces for each in request.resource_spans] + [
            attributes(each.resource.attributes) for request in logs for each in request.resource_logs
        ]

    def metrics(self) -> dict[str, Metric]:
        """By name, as they came last."""
        return {
            metric.name: metric
            for body in self._of("/v1/metrics")
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def _of(self, path: str) -> list[bytes]:
        return [body for where, body in self.bodies if where == path]


def attributes(fields: Iterable[KeyValue]) -> dict[str, Value]:
    return {each.key: _value(each.value) for each in fields}


def _value(value: AnyValue) -> Value:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    found: str | bool | int | float | None = getattr(value, kind) if kind else None
    return found


@contextmanager
def collecting(silent: bool = False) -> Iterator[Collector]:
    collector = Collector()
    if silent:
        collector.silent.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.bodies.append(
                (self.path, gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            )
            collector.arrived.release()
            if collector.silent.is_set():
                collector.released.wait(60)
            self.send_response(collector.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        worker = threading.Thread(target=server.serve_forever, args=(0.01,))
        worker.start()
        collector.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield collector
        finally:
            collector.released.set()
            server.shutdown()
            worker.join()
