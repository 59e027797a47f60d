"""Metrics: the plain numbers of `metering.instruments`, handed over when somebody collects.

They become data points directly. Observable instruments would do for counters, at 20 µs a label set and
collection, but there is no observable histogram; so a reader's source of data is replaced as a whole, and
everything behind it (naming, units, resource, OTLP) is OpenTelemetry's. That seam is internal to the SDK, whose
version is pinned; the golden test of `/metrics` guards it.

Prometheus always; OTLP where it is asked for. Sums are cumulative, always.
"""

from __future__ import annotations

import threading
import time

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    HistogramDataPoint,
    Metric,
    MetricReader,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Histogram as HistogramData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import CollectorRegistry, generate_latest

from dataplane.metering.counters import Counter, Definition, Gauge, Histogram
from dataplane.metering.instruments import Instruments
from dataplane.metering.labels import OVERFLOW, Labels

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of `Metrics.exposition`."""

Attributes = dict[str, str | bool]


class Metrics:
    """Serves one `Instruments` to Prometheus, and to `push`, where a collector is to have them too."""

    def __init__(self, instruments: Instruments, resource: Resource, push: MetricReader | None = None) -> None:
        source = Source(instruments, resource)
        self._registry = CollectorRegistry()
        pull = PrometheusMetricReader(scope_info_enabled=False, registry=self._registry)
        self._readers: list[MetricReader] = [pull, push] if push else [pull]
        for reader in self._readers:
            reader._set_collect_callback(source.collect)  # noqa: SLF001
        self._scraping = threading.Lock()

    def exposition(self) -> bytes:
        """All metrics in Prometheus text format. Takes milliseconds: call it from a thread."""
        with self._scraping:  # two collections at once would give every family twice
            return generate_latest(self._registry)

    def shutdown(self) -> None:
        """Export a last time and stop. Blocks while OTLP does."""
        for reader in self._readers:
            reader.shutdown()


class Source:
    """What readers collect from: the numbers of this moment as OpenTelemetry's data model."""

    def __init__(self, instruments: Instruments, resource: Resource) -> None:
        self._instruments = instruments
        self._resource = resource
        self._start = time.time_ns()

    def collect(self, _reader: MetricReader, timeout_millis: float = 0) -> MetricsData:  # noqa: ARG002
        now = time.time_ns()
        metrics = [_metric(each, self._start, now) for each in self._instruments.snapshot()]
        scope = ScopeMetrics(InstrumentationScope("tidegate"), metrics, "")
        return MetricsData([ResourceMetrics(self._resource, [scope], "")])


def otlp_reader() -> MetricReader:
    """Pushes metrics to a collector, as the environment says. Raises ValueError where that cannot be; ImportError
    without the extra `otlp`."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    return PeriodicExportingMetricReader(OTLPMetricExporter())


def _metric(instrument: Counter | Histogram, start: int, now: int) -> Metric:
    what = instrument.definition
    data = _histogram(instrument, start, now) if isinstance(instrument, Histogram) else _sum(instrument, start, now)
    return Metric(what.name, what.description, what.unit, data)


def _sum(counter: Counter, start: int, now: int) -> Sum:
    points = [
        NumberDataPoint(_attributes(counter.definition, labels), start, now, value)
        for labels, value in counter.values.items()
    ]
    return Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=not isinstance(counter, Gauge))


def _histogram(histogram: Histogram, start: int, now: int) -> HistogramData:
    points = [
        HistogramDataPoint(
            attributes=_attributes(histogram.definition, labels),
            start_time_unix_nano=start,
            time_unix_nano=now,
            count=sum(series.counts),
            sum=series.sum,
            bucket_counts=series.counts,
            explicit_bounds=histogram.bounds,
            min=float("inf"),
            max=float("-inf"),
        )
        for labels, series in histogram.series.items()
    ]
    return HistogramData(points, AggregationTemporality.CUMULATIVE)


def _attributes(what: Definition, labels: Labels) -> Attributes:
    """Labels that do not apply are left out."""
    if labels == OVERFLOW:
        return {"otel.metric.overflow": True}
    return {name: value for name, value in zip(what.labels, labels, strict=True) if value}
