"""`make bench-voice`: how much later a spoken turn is answered because what was said is judged first.

A simulated provider takes turns by server VAD, and transcribes each at once or after 300 ms. The time is that from
`input_audio_buffer.speech_stopped` to `response.created`, as a client sees it. Without a guardrail the provider answers
by itself; with one, the gateway asks for the answer once the transcript was judged.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, ExitStack
from itertools import product
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

from bench.loads import QUERY
from bench.processes import OTHERS_CPU, free_port, prepare, running
from bench.relays import KEY, PROVIDER_KEY, RELAYS, TIDEGATE, TIDEGATE_GUARDED, TIDEGATE_WEBHOOK, started
from bench.series import Spread
from bench.upstream import Upstream

WAYS = {
    TIDEGATE: "no guardrail",
    TIDEGATE_GUARDED: "personal data, keywords, a pattern",
    TIDEGATE_WEBHOOK: "a webhook that takes 50 ms",
}
TRANSCRIBED_MS = (0, 300)
SPOKEN_MS = 500
"""Audio of one turn: what the simulator takes for an utterance."""
PATIENCE = 10.0
PIECE = json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(48 * SPOKEN_MS)).decode()})
SESSION = {
    "type": "realtime",
    "audio": {"input": {"turn_detection": {"type": "server_vad"}, "transcription": {"model": "whisper-1"}}},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=100)
    turns: int = parser.parse_args().turns
    prepare()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        provider = Upstream(free_port(), 0)
        simulate = [sys.executable, "-m", "tidegate", "simulate", "--listen", f"127.0.0.1:{provider.port}"]
        stack.enter_context(running([*simulate, "--key", PROVIDER_KEY], provider.port, OTHERS_CPU))
        ports = {
            way: stack.enter_context(started(RELAYS[way], provider, Path(folder) / str(place), "")).port
            for place, way in enumerate(WAYS)
        }
        show(asyncio.run(measured(ports, turns)))


def show(found: Mapping[tuple[str, int], Spread]) -> None:
    """Print the table of docs/benchmarks.md."""
    heads = [f"transcript after {late} ms" for late in TRANSCRIBED_MS]
    print(f"| guardrails | {' | '.join(heads)} |\n|---|{'---|' * len(heads)}")
    for way, title in WAYS.items():
        cells = (
            f"{each.median:.1f} ({each.least:.1f} to {each.most:.1f})"
            for each in (found[way, late] for late in TRANSCRIBED_MS)
        )
        print(f"| {title} | {' | '.join(cells)} |")


async def measured(ports: Mapping[str, int], turns: int) -> dict[tuple[str, int], Spread]:
    """Milliseconds from the end of speech to the answer's beginning, all ways in turn."""
    async with AsyncExitStack() as stack:
        sessions = {
            (way, late): await stack.enter_async_context(_session(ports[way], late))
            for way, late in product(WAYS, TRANSCRIBED_MS)
        }
        for socket in sessions.values():
            await socket.send(json.dumps({"type": "session.update", "session": SESSION}))
            await _until(socket, "session.updated")
        found: dict[tuple[str, int], list[float]] = {each: [] for each in sessions}
        for _ in range(turns):
            for each, socket in sessions.items():
                found[each].append(await _turn(socket))
    return {each: Spread(statistics.median(times), min(times), max(times), len(times)) for each, times in found.items()}


def _session(port: int, late: int) -> connect:
    url = f"ws://127.0.0.1:{port}{QUERY}&scenario=transcript-ms:{late}"
    return connect(url, additional_headers={"Authorization": f"Bearer {KEY}"}, max_size=None)


async def _turn(socket: ClientConnection) -> float:
    await socket.send(PIECE)
    await _until(socket, "input_audio_buffer.speech_stopped")
    began = time.perf_counter()
    await _until(socket, "response.created")
    took = (time.perf_counter() - began) * 1000
    await _until(socket, "response.done")
    return took


async def _until(socket: ClientConnection, kind: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while (event := json.loads(await socket.recv()))["type"] != kind:
            if event["type"] == "error":
                sys.exit(f"the session was told {event['error']}")


if __name__ == "__main__":
    main()
