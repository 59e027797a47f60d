"""The controller's numbers, for Prometheus. They are read when somebody asks, but for those that are told here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from controller.push.channel import Answer
from dataplane.table.watermark import Watermark

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True)
class Numbers:
    """What is read when somebody asks."""

    objects: Mapping[str, int]
    """In the mirror, by kind."""
    leads: bool
    whole: bool
    """Is all known that a table is made of?"""
    age: float
    """Seconds since the kind that was listed longest ago was listed."""
    writes: int
    """Statuses that were written."""
    failures: Mapping[str, int]
    """Calls of the API server that failed, by what they were for."""
    watches: int
    """How often watching had to begin anew."""
    epoch: int
    too_large: bool
    """Is there no copy of the table, since it is too large for one?"""


class Metrics:
    """All of one replica, and what the server of tables tells."""

    def __init__(self, numbers: Callable[[], Numbers], lags: Callable[[Watermark], None]) -> None:
        """`lags` is called with the watermark of a data plane's table, where that is newer than the one on offer."""
        self._lags = lags
        self._registry = CollectorRegistry()
        self._registry.register(_Read(numbers))

        def name(rest: str) -> str:
            return f"tidegate_controller_{rest}"

        self.compile = Histogram(
            name("compile_seconds"), "Time that a table took to be made.", buckets=SECONDS, registry=self._registry
        )
        self.publications = Counter(
            name("publications"), "Tables that were handed to the server of tables.", registry=self._registry
        )
        self.mistakes = Counter(
            name("compile_failures"), "Tables that could not be made; what was served stays.", registry=self._registry
        )
        self._gateways = Gauge(name("gateways"), "Data planes that are connected.", registry=self._registry)
        self._away = Counter(
            name("gateways_turned_away"), "Who dialled and may not come in.", ["status"], registry=self._registry
        )
        self._ended = Counter(name("gateway_connections_ended"), "By whose fault.", ["fault"], registry=self._registry)
        self._sent = Counter(name("sent_characters"), "Told to data planes.", registry=self._registry)
        self._answers = Histogram(
            name("answer_seconds"),
            "Time until a data plane answered an offer.",
            ["answer"],
            buckets=SECONDS,
            registry=self._registry,
        )

    def exposition(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self._registry)

    # What `controller.push.observing` asks for.
    def turned_away(self, status: int) -> None:
        self._away.labels(str(status)).inc()

    def connections(self, number: int) -> None:
        self._gateways.set(number)

    def ended(self, fault: bool) -> None:
        self._ended.labels("gateway" if fault else "none").inc()

    def sent(self, characters: int) -> None:
        self._sent.inc(characters)

    def answered(self, answer: Answer) -> None:
        self._answers.labels(answer.kind).observe(answer.seconds)
        if answer.watermark is not None:
            self._lags(answer.watermark)


class _Read(Collector):
    def __init__(self, numbers: Callable[[], Numbers]) -> None:
        self._numbers = numbers

    def describe(self) -> Iterable[Metric]:
        return ()  # so that registering it reads nothing

    def collect(self) -> Iterable[Metric]:
        now = self._numbers()
        prefix = "tidegate_controller_"
        objects = GaugeMetricFamily(f"{prefix}objects", "Objects that are known, by kind.", labels=["kind"])
        for kind, number in sorted(now.objects.items()):
            objects.add_metric([kind], number)
        yield objects
        for name, text, value in (
            ("leader", "1 where this replica writes.", now.leads),
            ("whole", "1 where all is known that a table is made of.", now.whole),
            ("list_age_seconds", "Since the kind that was listed longest ago was listed.", now.age),
            ("storage_epoch", "How often the cluster's storage was put back.", now.epoch),
            ("snapshot_too_large", "1 where data planes cannot start without a controller.", now.too_large),
        ):
            yield GaugeMetricFamily(prefix + name, text, value=float(value))
        yield CounterMetricFamily(f"{prefix}status_writes", "Statuses that were written.", value=now.writes)
        yield CounterMetricFamily(f"{prefix}watch_restarts", "Watching had to begin anew.", value=now.watches)
        failures = CounterMetricFamily(
            f"{prefix}api_failures", "Calls of the API server that failed, by what for.", labels=["for"]
        )
        for what, number in sorted(now.failures.items()):
            failures.add_metric([what], number)
        yield failures
