"""The process that reads and compiles files beside a gateway that serves: `python -m tidegate.worker FD`.

A thread would do it, too, but hold up the loop: of 5,000 Backends it takes seconds, in which each callback of the loop
would have to wait for the interpreter's lock. The process starts with the first reload, which `serve` makes as soon as
it serves, and has lower priority. It ends with the gateway, whichever way that ends; signals to the process group are
the gateway's.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from tidegate import running
from tidegate.compiling import Batch, Compiler, Job, Outcome

PATIENCE = 120.0
"""Seconds for one job: 5,000 Backends take some 5 the first time; a disk may not answer."""
NICENESS = 10
_BUFFER = 2**20
_LENGTH = 8
"""Bytes of the number that says how long a message is."""


class Failed(Exception):
    """The process could not do the job, for no reason that is in the files."""


class Worker:
    """The gateway's side. One job at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def run(self, job: Job, memory: bytes, take: Callable[[Batch], None]) -> Outcome:
        """Have a job done; `take` gets the batches of the outcome, and between two of them the loop goes round.
        `memory`: of the last outcome, for a process that is new, as where the one before has died. Raises Failed."""
        try:
            async with asyncio.timeout(PATIENCE):
                try:
                    outcome = await self._run(job, memory, take)
                except (ConnectionError, EOFError):
                    await self.close()
                    outcome = await self._run(job, memory, take)
        except BaseException as error:
            await self.close()  # what it would still say is nobody's answer
            if isinstance(error, TimeoutError):
                raise Failed(f"the files were not read and compiled within {PATIENCE:.0f} s") from None
            if isinstance(error, OSError | EOFError):
                raise Failed("the process that reads and compiles the files ended twice before it was done") from error
            raise
        if isinstance(outcome, str):
            raise Failed(f"a failure that nobody foresaw:\n{outcome}")
        return outcome

    async def _run(self, job: Job, memory: bytes, take: Callable[[Batch], None]) -> Outcome | str:
        if self._process is None:
            await self._start()
            await self._send(memory)
        await self._send(pickle.dumps(job))
        outcome = await self._receive()
        assert isinstance(outcome, Outcome | str)
        while (batch := await self._receive()) is not None:
            assert isinstance(batch, Batch)
            take(batch)
            await asyncio.sleep(0)
        return outcome

    async def close(self) -> None:
        """End the process at once, whatever it does."""
        process, self._process = self._process, None
        if self._writer:
            self._writer.close()
            self._reader = self._writer = None
        if process:
            process.kill()
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await running.beside(process.wait)

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = _started(theirs)
        self._reader, self._writer = await asyncio.open_unix_connection(sock=ours, limit=_BUFFER)

    async def _send(self, data: bytes) -> None:
        assert self._writer
        self._writer.write(len(data).to_bytes(_LENGTH))
        self._writer.write(data)
        await self._writer.drain()

    async def _receive(self) -> object:
        assert self._reader
        length = int.from_bytes(await self._reader.readexactly(_LENGTH))
        return pickle.loads(await self._reader.readexactly(length))  # noqa: S301  (our own child's)


def _started(end: socket.socket) -> subprocess.Popen[bytes]:
    """A process that has this end of the connection. It finds modules where this one does, and has the stdin and the
    pipes of this one by the same numbers: a path may name them."""
    end.set_inheritable(True)
    return subprocess.Popen(  # noqa: S603  (this very program)
        [sys.executable, "-P", "-m", "tidegate.worker", str(end.fileno())],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(each or str(Path.cwd()) for each in sys.path)},
        close_fds=False,
        stdout=subprocess.DEVNULL,
    )


def main(descriptor: int) -> None:
    """The process's side: do jobs until the gateway is gone."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    os.nice(NICENESS)
    gc.set_threshold(100_000)  # a job makes a million objects, and leaves hardly any garbage
    gateway = socket.socket(fileno=descriptor)
    incoming, outgoing = gateway.makefile("rb"), gateway.makefile("wb")
    jobs: queue.Queue[bytes] = queue.Queue(2)
    threading.Thread(target=_listen, args=(incoming, jobs), daemon=True).start()
    compiler = Compiler(pickle.loads(jobs.get()))  # noqa: S301  (our own parent's)
    while True:
        _do(compiler, pickle.loads(jobs.get()), outgoing)  # noqa: S301
        outgoing.flush()


def _listen(incoming: BinaryIO, jobs: queue.Queue[bytes]) -> None:
    """Also while a job is being done, for the end of the gateway."""
    with suppress(OSError):
        while len(head := incoming.read(_LENGTH)) == _LENGTH:
            jobs.put(incoming.read(int.from_bytes(head)))
    os._exit(0)


def _do(compiler: Compiler, job: Job, outgoing: BinaryIO) -> None:
    def say(message: object) -> None:
        data = pickle.dumps(message)
        outgoing.write(len(data).to_bytes(_LENGTH) + data)

    try:
        outcome, batches = compiler.run(job)
    except Exception:
        say(traceback.format_exc())
    else:
        say(outcome)
        for batch in batches:
            say(batch)
    say(None)


if __name__ == "__main__":
    main(int(sys.argv[1]))
