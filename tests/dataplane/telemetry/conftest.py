"""Each test decides itself what the environment asks for."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.dataplane.telemetry.collector import Collector, collecting


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of a pod of which nobody wants OTLP."""
    for name in os.environ:
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("POD_UID", "pod-1")
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """One that the environment asks to tell everything."""
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        yield collector


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """One that takes everything and never answers, while the test runs."""
    with collecting(silent=True) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
        yield collector
