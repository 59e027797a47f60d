"""What the standard `OTEL_*` variables ask for; the one place of ours that reads them.

A signal is exported where `OTEL_{SIGNAL}_EXPORTER` holds `otlp`, or says nothing while an endpoint is given: of all
signals (`OTEL_EXPORTER_OTLP_ENDPOINT`) or of this one. So nothing ever leaves a process that was told nothing.
`OTEL_SDK_DISABLED=true` turns all of it off. How it is exported (headers, certificates, timeouts, compression,
sampler, batches) OpenTelemetry's own code reads by itself.

Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from typing import Literal, get_args

import structlog
from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from dataplane.metering.names import clean
from dataplane.metering.receivers import fault

Signal = Literal["metrics", "traces", "logs"]

QUEUE = 2048
"""Spans, and as many log records, that may wait for the collector; OpenTelemetry's default."""
_QUEUE_SIZE: Mapping[Signal, str] = {"traces": "OTEL_BSP_MAX_QUEUE_SIZE", "logs": "OTEL_BLRP_MAX_QUEUE_SIZE"}

log = structlog.get_logger(__name__)


def wanted(signal: Signal, env: Mapping[str, str]) -> bool:
    """Whether a signal is asked for by OTLP."""
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = env.get(f"OTEL_{signal.upper()}_EXPORTER", "")
    if exporters:
        return "otlp" in (name.strip() for name in exporters.split(","))
    return any(env.get(f"OTEL_EXPORTER_OTLP_{part}ENDPOINT") for part in ("", f"{signal.upper()}_"))


def exported() -> frozenset[Signal]:
    """The signals that are asked for and can be exported; says in the log why one cannot."""
    signals: list[Signal] = [signal for signal in get_args(Signal) if wanted(signal, os.environ)]
    if not signals:
        return frozenset()
    if not _installed():
        log.warning(
            "OTLP is asked for by OTEL_* variables, but its exporter is not installed; metrics are served on "
            "/metrics, and records of turns and sessions are log lines. Install tidegate[otlp].",
            signals=signals,
        )
        return frozenset()
    return frozenset(signal for signal in signals if _spoken(signal) and _addressed(signal))


def queue(signal: Signal) -> int:
    """How many items of a signal may wait for the collector."""
    asked = os.environ.get(_QUEUE_SIZE[signal], "").strip()
    return int(asked) if asked.isdecimal() and int(asked) else QUEUE


def resource(version: str) -> Resource:
    """Who we are: the pod, where there is one. What the environment says about it (`OTEL_SERVICE_NAME`,
    `OTEL_RESOURCE_ATTRIBUTES`) wins."""
    ours = {"service.name": "tidegate", "service.instance.id": os.environ.get("POD_UID") or str(uuid.uuid4())}
    if version:
        ours["service.version"] = version
    said = {**ours, **OTELResourceDetector().detect().attributes}
    return Resource.create({name: clean(value) if isinstance(value, str) else value for name, value in said.items()})


def _installed() -> bool:
    try:
        import opentelemetry.exporter.otlp.proto.http  # noqa: F401
    except ImportError:
        return False
    return True


def _spoken(signal: Signal) -> bool:
    """Whether the protocol that is asked for is the one that is spoken here."""
    of_all = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "")
    protocol = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "") or of_all
    if protocol in ("", "http/protobuf"):
        return True
    log.warning(
        "not exported by OTLP: only the protocol http/protobuf is spoken here. Set it as OTEL_EXPORTER_OTLP_PROTOCOL, "
        "and as endpoint the collector's port for HTTP, 4318 by default.",
        signal=signal,
        protocol=protocol,
    )
    return False


def _addressed(signal: Signal) -> bool:
    """Whether the endpoint, if one is given, can be one at all. Otherwise every export would fail, the first after a
    minute."""
    names = (f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    name = next((name for name in names if os.environ.get(name)), "")
    wrong = fault(os.environ[name]) if name else ""
    if wrong:
        log.warning("not exported by OTLP: the endpoint cannot be used", signal=signal, error=f"{name} {wrong}")
    return not wrong
