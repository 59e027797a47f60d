"""The command as users run it: a process, its output, its exit code."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

PATIENCE_S = 20.0


@dataclass
class Process:
    """A running `tidegate …`; `output` is what was read of stdout and stderr so far."""

    process: asyncio.subprocess.Process
    output: str = ""
    _seen: int = field(default=0, repr=False)

    async def until(self, pattern: str) -> re.Match[str]:
        """Read until something new matches the pattern. Fails with the output if nothing does."""
        async with asyncio.timeout(PATIENCE_S):
            while not (found := re.compile(pattern).search(self.output, self._seen)):
                assert self.process.stdout is not None
                data = await self.process.stdout.read(4096)
                assert data, f"ended without {pattern!r}:\n{self.output}"
                self.output += data.decode()
        self._seen = found.end()
        return found

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Wait for the end: the exit code."""
        async with asyncio.timeout(PATIENCE_S):
            rest, _ = await self.process.communicate()
        self.output += rest.decode()
        assert self.process.returncode is not None
        return self.process.returncode


@asynccontextmanager
async def running(*arguments: str, **variables: str) -> AsyncIterator[Process]:
    """`python -m tidegate` with these arguments; it is killed at the end if it still runs. `serve` and
    `dataplane` log as at a terminal, unless told otherwise."""
    if arguments[0] in ("serve", "dataplane") and "--log-format" not in arguments:
        arguments += ("--log-format", "console")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tidegate",
        *arguments,
        env=environment(**variables),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Process(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


async def run(*arguments: str, stdin: str = "", **variables: str) -> Result:
    """Run to the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tidegate",
        *arguments,
        env=environment(**variables),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            out, err = await process.communicate(stdin.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Result(process.returncode, out.decode(), err.decode())


def environment(**variables: str) -> dict[str, str]:
    """These variables, and the environment without what would change the commands."""
    dropped = ("OPENAI_", "TIDEGATE_", "OTEL_", "FORCE_COLOR", "PYTHONWARNINGS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1", **variables}
