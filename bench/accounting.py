"""`make bench-accounting`: what it costs to account for a turn and for a request, in CPU time of the event loop.

Nothing here is done per message. The parts are measured one by one and together, as medians of rounds; the log goes to
nowhere, since what a disk or a pipe costs is the log's thread's, not the loop's. See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from dataplane.metering.instruments import Instruments
from dataplane.metering.meter import Meter
from dataplane.metering.prices import UNREPORTED, Cost, PriceBook
from dataplane.metering.records import FanOut, Log, SessionSummary, turn_record
from dataplane.metering.usage import Caller, Tokens, Usage
from dataplane.process import logs
from dataplane.realtime import frames
from dataplane.realtime.relay import Relay
from dataplane.realtime.session import Session
from dataplane.realtime.terms import Terms
from dataplane.telemetry.facade import Telemetry

TERMS = Terms(
    id="5f0c7f9d2b8e4c1fa3d6e07b91c24a58",
    route="ai/voice",
    backend="ai/voice",
    caller=Caller("ai", "ci-bot", "support"),
    provider="openai",
    provider_kind="openai",
    public_model="voice",
    upstream_model="gpt-realtime",
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
TURN = Usage(
    id="use_gw_5f0c7f9d2b8e4c1fa3d6e07b91c24a58_17",
    session="5f0c7f9d2b8e4c1fa3d6e07b91c24a58",
    response_id="resp_1",
    operation="realtime_inference",
    status="completed",
    route="ai/voice",
    backend="ai/voice",
    provider="openai",
    provider_kind="openai",
    public_model="voice",
    request_model="gpt-realtime",
    response_model="gpt-realtime",
    caller=Caller("ai", "ci-bot", "support"),
    tokens=Tokens(input_text=200, input_audio=800, cached_audio=250, output_text=100, output_audio=400),
)
USAGE = {
    "total_tokens": 1500,
    "input_tokens": 1000,
    "output_tokens": 500,
    "input_token_details": {"text_tokens": 200, "audio_tokens": 800, "cached_tokens": 250},
    "output_token_details": {"text_tokens": 100, "audio_tokens": 400},
}
SAID = {"role": "assistant", "content": [{"type": "output_audio", "transcript": "word " * 200}]}


class Nowhere:
    """Takes records, and does nothing with them."""

    def turn(self, usage: Usage, cost: Cost, duration: float | None) -> None: ...

    def session(self, summary: SessionSummary) -> None: ...


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--times", type=int, default=2000)
    options = parser.parse_args()
    figures, sys.stdout = sys.stdout, Path(os.devnull).open("w")  # noqa: SIM115  (it is the log's until the end)
    logs.configure("json")
    instruments = Instruments()
    prices, log = PriceBook(), Log(instruments)
    counts, ledger = Meter(instruments, prices, Nowhere()), Meter(instruments, prices, FanOut(log))
    record = turn_record(TURN, UNREPORTED, 1.0, NOW)
    parts: dict[str, Callable[[], object]] = {
        "a turn: its events read, its usage taken (session core)": session_turn(options.times * options.rounds),
        "a turn: priced and added up": lambda: counts.turn(TURN),
        "a turn: its record made": lambda: turn_record(TURN, UNREPORTED, 1.0, NOW),
        "a turn: its record rendered and queued for the log": lambda: log.write(record),
        "a turn: priced, added up, recorded": lambda: ledger.turn(TURN),
        "a request: counted, with its duration": lambda: counts.request("ai/voice", "ai/voice", 200, "", 0.02),
        "a request that was a chat completion, in all": lambda: chat(ledger),
    }
    print("| accounted | µs |\n|---|---|", file=figures)
    for name, act in parts.items():
        spread = [cost(act, options.times) for _ in range(options.rounds)]
        print(f"| {name} | {statistics.median(spread):.1f} |", file=figures, flush=True)
    print(f"\nA scrape of /metrics, in its thread: {scrape(instruments):.1f} ms.", file=figures)


def session_turn(times: int) -> Callable[[], object]:
    """What a session does with a turn's `response.created` and `response.done`; each turn has an id of its own."""
    relay = Relay(Session(TERMS), mask=lambda: b"1234", max_message=1 << 24, max_fragments=1000)
    relay.from_upstream(wire({"type": "session.created", "session": {}}))
    names = [f"resp_{number}" for number in range(times)]
    turns = iter([(begun(name), done(name)) for name in names])

    def turn() -> None:
        for message in next(turns):
            relay.from_upstream(message)

    return turn


def begun(name: str) -> bytes:
    return wire({"type": "response.created", "response": {"id": name}})


def done(name: str) -> bytes:
    response = {"id": name, "status": "completed", "usage": USAGE, "output": [SAID]}
    return wire({"type": "response.done", "response": response})


def chat(meter: Meter) -> None:
    meter.turn(TURN, duration=0.02)
    meter.request("ai/voice", "ai/voice", 200, "", 0.02)


def wire(event: dict[str, object]) -> bytes:
    return frames.frame(frames.TEXT, json.dumps(event, separators=(",", ":")).encode())


def cost(act: Callable[[], object], times: int) -> float:
    """CPU time of this thread, in µs, that one call takes."""
    began = time.thread_time_ns()
    for _ in range(times):
        act()
    return (time.thread_time_ns() - began) / times / 1000


def scrape(instruments: Instruments) -> float:
    telemetry = Telemetry(instruments)
    began = time.perf_counter()
    telemetry.exposition()
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
