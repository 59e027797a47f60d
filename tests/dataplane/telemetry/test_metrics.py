"""What Prometheus and OTLP see of the plain numbers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics.export import Histogram, InMemoryMetricReader, MetricsData
from opentelemetry.sdk.resources import Resource
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from dataplane.metering import reference
from dataplane.metering.instruments import Instruments
from dataplane.metering.labels import LABEL_SETS
from dataplane.telemetry.facade import Telemetry
from dataplane.telemetry.metrics import Source
from tests.dataplane.metering.cases import new_meter, spoken_turn, take_everything
from tests.dataplane.telemetry.collector import Collector, attributes

GOLDEN = Path(__file__).parent / "golden" / "metrics.prom"


@pytest.fixture
def busy() -> Iterator[tuple[Instruments, Telemetry]]:
    """One of everything has happened."""
    meter, instruments, _ = new_meter()
    take_everything(meter, instruments)
    telemetry = Telemetry(instruments, version="1.2.3")
    yield instruments, telemetry
    telemetry.shutdown()


def families(telemetry: Telemetry) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(telemetry.exposition().decode())}


def test_the_exposition_is_the_golden_one(busy: tuple[Instruments, Telemetry]) -> None:
    text = re.sub('telemetry_sdk_version="[^"]*"', 'telemetry_sdk_version="X"', busy[1].exposition().decode())
    if os.environ.get("UPDATE_GOLDENS"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8"), (
        "if that is meant: UPDATE_GOLDENS=1 pytest, and read the difference"
    )


def test_it_parses_and_keeps_its_sums(busy: tuple[Instruments, Telemetry]) -> None:
    found = families(busy[1])
    by_modality = found["gen_ai_client_inference_usage_input_tokens"].samples
    histogram = found["gen_ai_client_inference_operation_input_tokens"].samples
    total = sum(sample.value for sample in by_modality if sample.name.endswith("_total"))
    assert (
        total
        == sum(sample.value for sample in histogram if sample.name.endswith("_sum"))
        == 1000 + 16 + 100 + 1000 + 1000
    )
    assert found["tidegate_realtime_sessions_active"].type == "gauge"
    assert [sample.value for sample in found["tidegate_realtime_sessions_active"].samples] == [0.0, 1.0]


def test_repeated_and_simultaneous_scrapes_are_equal(busy: tuple[Instruments, Telemetry]) -> None:
    first = busy[1].exposition()
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: busy[1].exposition(), range(8))) == {first}


def test_numbers_grow_between_scrapes() -> None:
    meter, instruments, _ = new_meter()
    telemetry = Telemetry(instruments)
    for turns in (1, 2):
        meter.turn(spoken_turn())
        [sample] = [s for s in families(telemetry)["tidegate_turns"].samples if s.name.endswith("_total")]
        assert sample.value == turns
    telemetry.shutdown()


def test_what_the_environment_says_about_the_resource_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=gw-0,service.version=9")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "my-gateway")
    telemetry = Telemetry(Instruments(), version="1.2.3")
    [info] = families(telemetry)["target_info"].samples
    assert info.labels["service_name"] == "my-gateway"
    assert info.labels["service_version"] == "9"
    assert info.labels["k8s_pod_name"] == "gw-0"
    assert info.labels["service_instance_id"] == "pod-1"
    telemetry.shutdown()


def test_the_overflow_series_says_so() -> None:
    instruments = Instruments()
    for number in range(LABEL_SETS + 3):
        instruments.sessions.add((f"route-{number}", "b", "", ""))
    telemetry = Telemetry(instruments)
    samples = families(telemetry)["tidegate_realtime_sessions"].samples
    [overflow] = [sample for sample in samples if sample.labels["otel_metric_overflow"] == "true"]
    assert (overflow.value, overflow.labels["route"]) == (3.0, "")
    telemetry.shutdown()


def test_the_data_model_is_cumulative_and_consistent(busy: tuple[Instruments, Telemetry]) -> None:
    source = Source(busy[0], Resource({}))
    reader = InMemoryMetricReader()
    before, after = source.collect(reader), source.collect(reader)
    for first, second in zip(histograms(before), histograms(after), strict=True):
        for early, late in zip(first.data_points, second.data_points, strict=True):
            assert early.start_time_unix_nano == late.start_time_unix_nano < late.time_unix_nano
            assert early.bucket_counts == late.bucket_counts
            assert sum(late.bucket_counts) == late.count
            assert len(late.bucket_counts) == len(late.explicit_bounds) + 1


def histograms(data: MetricsData) -> list[Histogram]:
    metrics = data.resource_metrics[0].scope_metrics[0].metrics
    return [metric.data for metric in metrics if isinstance(metric.data, Histogram)]


def test_a_collector_gets_the_last_numbers_at_the_end(collector: Collector) -> None:
    meter, instruments, _ = new_meter()
    telemetry = Telemetry(instruments)
    meter.turn(spoken_turn())
    telemetry.shutdown()
    metrics = collector.metrics()
    points = metrics["gen_ai.client.token.usage"].histogram.data_points
    assert sorted((point.count, point.sum) for point in points) == [(1, 500.0), (1, 1000.0)]
    modalities = {
        attributes(point.attributes)["gen_ai.token.modality"]: point.as_int
        for point in metrics["gen_ai.client.inference.usage.input_tokens"].sum.data_points
    }
    assert modalities == {"text": 200, "audio": 800}


def test_the_reference_names_what_metrics_serves(busy: tuple[Instruments, Telemetry]) -> None:
    served = set(re.findall("^# TYPE (\\S+)", busy[1].exposition().decode(), re.MULTILINE)) - {"target_info"}
    assert served == {reference.prometheus_name(each) for each in Instruments().all()}
    assert all(f"## `{name}`\n" in reference.page() for name in served)


def test_a_stale_reference_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "reference" / "metrics.md"
    assert reference.main(["--check", str(page)]) == 1
    assert "python -m dataplane.metering.reference" in capsys.readouterr().err
    assert reference.main([str(page)]) == 0
    assert reference.main(["--check", str(page)]) == 0
    page.write_text("old")
    assert reference.main([str(page), "--check"]) == 1
