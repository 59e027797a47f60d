"""Lines that people type, or that a pipe has."""

from __future__ import annotations

import asyncio
import os
import sys
import threading

import typer


class Lines:
    """Lines of stdin. A thread waits for them, since neither files nor terminals can be awaited; it reads the
    descriptor itself, for a thread inside `sys.stdin` would keep the process from ending."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str | None] = asyncio.Queue(maxsize=1)
        threading.Thread(target=self._read, args=(sys.stdin.fileno(),), daemon=True).start()

    async def next(self) -> str | None:
        """The next line without its end; None at the end of the file."""
        return await self._lines.get()

    def _read(self, descriptor: int) -> None:
        rest = b""
        while data := os.read(descriptor, 65536):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._put(line.decode("utf-8", "replace"))
        if rest:
            self._put(rest.decode("utf-8", "replace"))
        self._put(None)

    def _put(self, line: str | None) -> None:
        asyncio.run_coroutine_threadsafe(self._lines.put(line), self._loop).result()


def prompt(text: str = "you> ") -> None:
    """Ask for a line: people only."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        typer.secho(text, nl=False, bold=True)
