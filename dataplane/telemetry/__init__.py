"""What OpenTelemetry is told; the only package that knows it.

    facade       `Telemetry`: all three signals of one process, their beginning and their end
    environment  which signals the standard `OTEL_*` variables ask for, and who we are
    metrics      the plain numbers of `metering.instruments`, when somebody collects: Prometheus always, OTLP if asked
    traces       spans of handshakes and turns, made after the fact (`dataplane.tracing` has the protocol)
    logs         records of turns and sessions as OTLP logs (a `metering.records.Writer`)
    delivery     how much may be on its way to the collector, and what became of it
    quiet        what OpenTelemetry's own loggers may say

`traces` and `logs` need the extra `otlp`, and are imported where they are asked for. The event loop only makes spans
and records; threads of OpenTelemetry's carry them away in batches. Nobody waits for a collector: what it does not take
is dropped and counted.
"""
