"""`make bench-pressure`: what peers that are too slow cost the gateway, and those who share it with them.

The same paced load of realtime sessions (the neighbours) is measured in turn with nobody else there, beside clients
that hardly read while their upstream sends as fast as it can, and beside clients that take a second for each byte of a
request's head. Slow readers are also measured at the upstream itself, past the gateway: what they cost there, they cost
the machine. The figures are the time that the neighbours' messages are on their way, as a ratio within a round, and how
much the gateway's memory grows. It has core 0; all the others have core 1. See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench import quick
from bench.processes import rss
from bench.quick import HERE, build, free_port, load, running

READERS, READ, READ_EVERY_S = 20, 1024, 0.2
"""Each of the slow readers takes so many bytes so often."""
HEADS, BYTE_EVERY_S = 1000, 1.0
"""Each of the slow senders sends one byte so often, and begins anew when it is cut off."""
SETTLES_S = 3.0
"""From when they are connected until the pressure is fully there: buffers are filled."""
FEW = 10
"""Files that stay open once there was somebody."""
IDLE = ("nice", "-n", "19")
"""The neighbours' generator and upstream go first on the core that all but the gateway share."""
FLOOD = {"type": "response.create", "response": {"metadata": {"scenario": "flood"}}}
CONFIG = """
apiVersion: tidegate.dev/v1alpha1
kind: Backend
metadata: {{name: neighbours}}
spec:
  providers:
  - {{name: upstream, custom: {{}}, url: "http://127.0.0.1:{port}/v1", auth: {{secretRef: {{name: bench}}}}}}
  routes: {{/v1/realtime: Realtime}}
  expose: {{pathPrefix: /}}
---
apiVersion: tidegate.dev/v1alpha1
kind: Backend
metadata: {{name: flood}}
spec:
  providers:
  - {{name: simulator, custom: {{}}, url: "http://127.0.0.1:{simulator}/v1", auth: {{secretRef: {{name: bench}}}}}}
  routes: {{/v1/realtime: Realtime}}
  expose: {{pathPrefix: /flood}}
---
apiVersion: v1
kind: Secret
metadata: {{name: bench}}
stringData: {{Authorization: sk-simulator}}
"""


# -- the pressure, in a process of its own -------------------------------------------------------------------------


async def slow_reader(port: int, prefix: str = "/flood") -> None:
    """Ask for a flood, and take a little of it now and then."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, ("127.0.0.1", port))
    head = f"GET {prefix}{quick.QUERY} HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    head += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    head += "Authorization: Bearer sk-simulator\r\n\r\n"  # the provider wants one, too
    await loop.sock_sendall(raw, head.encode() + masked(json.dumps(FLOOD).encode()))
    answer = await loop.sock_recv(raw, READ)
    if not answer.startswith(b"HTTP/1.1 101"):
        sys.exit(f"a slow reader was refused: {answer.decode(errors='replace')}")
    while await loop.sock_recv(raw, READ):
        await asyncio.sleep(READ_EVERY_S)
    sys.exit("a slow reader was cut off")


def masked(text: bytes) -> bytes:
    """A text frame of under 126 bytes, with a mask of zeros."""
    return bytes((0x81, 0x80 | len(text), 0, 0, 0, 0)) + text


async def slow_head(port: int) -> None:
    """Send a head that never ends, byte by byte; when that is not waited for any longer, begin anew."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"GET {quick.QUERY} HTTP/1.1\r\nHost: bench\r\nX-Slow: ".encode() + b"x" * 1000
        with suppress(ConnectionError):
            for place in range(len(head)):
                writer.write(head[place : place + 1])
                if await ended(reader, BYTE_EVERY_S):
                    break
        writer.close()


async def ended(reader: asyncio.StreamReader, seconds: float) -> bool:
    """Wait so long; does the other side end it meanwhile, with an answer or without?"""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await reader.read()
            return True
    return False


@dataclass(frozen=True)
class Pressure:
    title: str
    many: int
    one: Callable[[int], Awaitable[None]] | None = None
    past: bool = False
    """Do they go past the gateway?"""


PRESSURES = {
    "none": Pressure("nobody else", 0),
    "direct": Pressure(
        f"{READERS} slow readers of a flood, past the gateway", READERS, lambda port: slow_reader(port, ""), past=True
    ),
    "readers": Pressure(f"{READERS} slow readers of a flood", READERS, slow_reader),
    "heads": Pressure(f"{HEADS:,} slow senders of a head", HEADS, slow_head),
}


async def press(pressure: Pressure, port: int) -> None:
    """All of them at once, for ever."""
    assert pressure.one
    async with asyncio.TaskGroup() as group:
        for _ in range(pressure.many):
            group.create_task(pressure.one(port))  # type: ignore[arg-type]
            await asyncio.sleep(0.001)


@contextmanager
def under(name: str, pid: int, ports: tuple[int, int]) -> Iterator[None]:
    """Run a process that presses the gateway, or goes past it: `ports` are its and the simulator's."""
    if PRESSURES[name].one is None:
        yield
        return
    before, port = open_files(pid), ports[PRESSURES[name].past]
    command = ["taskset", "-c", "1", *IDLE, sys.executable, "-m", "bench.pressure", "--press", name, str(port)]
    with subprocess.Popen(command) as process:
        try:
            if not PRESSURES[name].past:
                wait_until_there(lambda: open_files(pid) - before, PRESSURES[name].many)
            time.sleep(SETTLES_S)
            yield
            if process.poll() is not None:
                sys.exit(f"the pressure of {name} ended before its time, so the figures mean nothing")
        finally:
            process.terminate()


# -- the figures ---------------------------------------------------------------------------------------------------


@dataclass
class Figures:
    p50: float
    p99: float
    grown_mb: float


class Memory(threading.Thread):
    """Looks at a process's memory while the block runs; `first` and `most`, in KiB, are what it had."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._over = pid, threading.Event()
        self.first = self.most = rss(pid)

    def run(self) -> None:
        while not self._over.wait(0.1):
            self.most = max(self.most, rss(self._pid))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    @property
    def grown_mb(self) -> float:
        """How much it grew at most."""
        return (self.most - self.first) / 1024


def wait_until_there(count: Callable[[], int], many: int) -> None:
    """Nearly all at once; some are always about to begin anew."""
    most = 0
    for _ in range(300):
        if (most := max(most, count())) >= many * 0.9:
            return
        time.sleep(0.1)
    sys.exit(f"only {most} connections were ever there, so the figures mean nothing")


def open_files(pid: int) -> int:
    """Of a process; its connections among them."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--press", nargs=2, metavar=("NAME", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.press:
        asyncio.run(press(PRESSURES[options.press[0]], int(options.press[1])))
    generator, upstream, simulator, port = build(), free_port(), free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:  # gateways end before their files
        config = Path(folder, "bench.yaml")
        config.write_text(CONFIG.format(port=upstream, simulator=simulator))
        tidegate = [sys.executable, "-m", "tidegate"]
        stack.enter_context(running([generator, "upstream", "--port", str(upstream), "--cpu", "1"], upstream))
        double = [*IDLE, *tidegate, "simulate", "--listen", f"127.0.0.1:{simulator}"]
        stack.enter_context(running(double, simulator, cpu=1))
        serve = [*tidegate, "serve", "-f", str(config), "--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0"]
        pid = stack.enter_context(running([*serve, "--log-format", "json"], port, cpu=0))
        idle = open_files(pid)
        load(generator, port, pid, upstream, options.sessions, 2)  # what is made once is made
        rounds = []
        for number in range(options.rounds):
            results = {
                name: measure(
                    name, generator, (port, simulator), pid, upstream, options.sessions, options.seconds, idle
                )
                for name in PRESSURES
            }
            rounds.append(results)
            shown = ", ".join(f"{name} {each.p50:.0f}/{each.p99:.0f}" for name, each in results.items())
            print(f"round {number + 1}: p50/p99 in µs: {shown}", flush=True)
    report(rounds)


def measure(
    name: str, generator: str, ports: tuple[int, int], pid: int, upstream: int, sessions: int, seconds: float, idle: int
) -> Figures:
    wait_until_idle(pid, idle)
    with Memory(pid) as memory, under(name, pid, ports):
        result = load(generator, ports[0], pid, upstream, sessions, seconds)
    return Figures(result["p50"], result["p99"], memory.grown_mb)


def wait_until_idle(pid: int, idle: int) -> None:
    """Wait until those before have gone: until hardly more files are open than when nobody had been there."""
    for _ in range(200):
        if open_files(pid) <= idle + FEW:
            return
        time.sleep(0.1)
    sys.exit(f"{open_files(pid)} files are open with nobody there, and there were {idle}")


def report(rounds: list[dict[str, Figures]]) -> None:
    print("\n| beside the neighbours | p50 µs | p99 µs | p50 ratio | p99 ratio | memory grew, MB |")
    print("|---|---|---|---|---|---|")
    for name, pressure in PRESSURES.items():
        here, alone = [each[name] for each in rounds], [each["none"] for each in rounds]
        p50s, p99s = [each.p50 for each in here], [each.p99 for each in here]
        figures = (
            f"{statistics.median(p50s):.0f}",
            f"{statistics.median(p99s):.0f}",
            f"{ratio(p50s, [each.p50 for each in alone]):.2f}",
            f"{ratio(p99s, [each.p99 for each in alone]):.2f}",
            f"{max(each.grown_mb for each in here):.1f}",
        )
        print(f"| {pressure.title} | {' | '.join(figures)} |")


def ratio(values: list[float], bases: list[float]) -> float:
    """The median of the ratios within the rounds."""
    return statistics.median(value / base for value, base in zip(values, bases, strict=True))


if __name__ == "__main__":
    os.chdir(HERE.parent)
    main()
