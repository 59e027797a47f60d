"""The store's double: the script in Python, and a server that speaks as much of Redis' protocol as is used.

e2e/test_limits.py holds it against a real Redis, answer by answer.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from dataplane.limits.fleet import StoreFailed
from dataplane.limits.script import SCRIPT, SHA

Field = tuple[int, int, str, list[tuple[str, int, int, int]]]
"""seq, deadline, what was granted, and of each count: name, end, used, reserved."""


class Memory:
    """What a store keeps. `now` is its clock, in milliseconds."""

    def __init__(self, now: Callable[[], int] = lambda: int(time.time() * 1000)) -> None:
        self.now = now
        self.hashes: dict[str, dict[str, Field]] = {}
        self.expires: dict[str, int] = {}
        self.scripts = 0
        self.away = False

    def forget(self) -> None:
        self.hashes.clear()
        self.expires.clear()

    def script(self, key: str, arguments: Sequence[str]) -> list[object]:
        """As `script.SCRIPT` does it."""
        self.scripts += 1
        now = self.now()
        if self.expires.get(key, now + 1) <= now:
            self.hashes.pop(key, None)
            self.expires.pop(key, None)
        rest = iter(arguments)
        own, seq, ttl, keep, counts, asks, fold = next(rest), *(int(next(rest)) for _ in range(6))
        names: list[str] = []
        kept: list[list[int]] = []  # end, uses, used, reserved, what the others are known to have used
        for _ in range(counts):
            names.append(next(rest))
            end, kind = int(next(rest)), next(rest)
            kept.append([end, int(kind == "u"), *(int(next(rest)) for _ in range(3))])
            if now >= end:
                return [b"stale", now]
        fields = self.hashes.get(key, {})
        if own in fields and fields[own][0] > seq:
            return [b"old", now]
        before = fields[own][2] if own in fields and fields[own][0] == seq else None
        others = self._others(fields, own, names, [each[0] for each in kept], now)
        self._fold(fields, own, fold, now)
        others = [(max(used, each[4]), reserved) for (used, reserved), each in zip(others, kept, strict=True)]
        granted = ""
        for _ in range(asks):
            wants = [[int(next(rest)) for _ in range(3)] for _ in range(int(next(rest)))]
            room = all(
                kept[k - 1][2] + kept[k - 1][3] + sum(others[k - 1]) + amount <= most for k, amount, most in wants
            )
            if before is not None:  # the same script has come before
                room = before[len(granted) : len(granted) + 1] == "1"
            granted += "01"[room]
            for k, amount, _most in wants if room else ():
                kept[k - 1][2 if kept[k - 1][1] else 3] += amount
        found = own in fields
        written = [(name, end, used, held) for name, (end, _, used, held, *_) in zip(names, kept, strict=True)]
        self.hashes.setdefault(key, fields)[own] = (seq, now + ttl, granted, written)
        last = max([ttl, *(end - now for end, *_ in kept if end < 250_000_000_000_000)])
        self.expires[key] = max(self.expires.get(key, 0), now + last + keep)
        return [b"ok", now, int(found), granted.encode(), *(number for pair in others for number in pair)]

    @staticmethod
    def _others(
        fields: dict[str, Field], own: str, names: list[str], ends: list[int], now: int
    ) -> list[tuple[int, int]]:
        sums = {name: [0, 0] for name in names}
        for process, (_, deadline, _granted, counts) in list(fields.items()):
            if process == own:
                continue
            alive = deadline > now
            for name, end, used, reserved in counts:
                if name in sums:
                    sums[name][1] += reserved if alive else 0
                    sums[name][0] += used if end == ends[names.index(name)] else 0
            if not alive and not any(used > 0 and end > now for _, end, used, _ in counts):
                del fields[process]
        return [(sums[name][0], sums[name][1]) for name in names]

    @staticmethod
    def _fold(fields: dict[str, Field], own: str, fold: int, now: int) -> None:
        old = [each for each in fields if fold and each not in (own, "gone") and fields[each][1] + fold <= now]
        sums: Counter[tuple[str, int]] = Counter()
        for process in (*old, *(["gone"] if "gone" in fields and old else [])):
            for name, end, used, _held in fields.pop(process)[3]:
                sums[name, end] += used if end > now else 0
        if +sums:
            fields["gone"] = 0, 0, "", [(name, end, used, 0) for (name, end), used in (+sums).items()]

    async def run(self, key: str, arguments: Sequence[str | int]) -> object:
        """As `fleet.Store` has it, without a network."""
        await asyncio.sleep(0)
        if self.away:
            raise StoreFailed("it is away")
        answer = self.script(key, [str(each) for each in arguments])
        await asyncio.sleep(0)
        return answer

    async def close(self) -> None:
        """Nothing is open."""


class Server:
    """Speaks RESP2: AUTH, SELECT, EVAL and EVALSHA of the one script."""

    def __init__(self, memory: Memory, password: str = "") -> None:
        self.memory = memory
        self.port = 0
        self.commands: list[str] = []
        self.silent = False
        """Does it take everything, and answer nothing?"""
        self._password = password
        self._known = False
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """As one that is killed."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()
        self._known = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        trusted = not self._password
        try:
            while True:
                command = await self._command(reader)
                self.commands.append(command[0])
                if self.silent:
                    continue
                if command[0] == "AUTH":
                    trusted = command[-1] == self._password
                    answer = "+OK\r\n" if trusted else "-WRONGPASS invalid username-password pair\r\n"
                elif not trusted:
                    answer = "-NOAUTH Authentication required.\r\n"
                else:
                    answer = self._answer(command)
                writer.write(answer.encode())
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    @staticmethod
    async def _command(reader: asyncio.StreamReader) -> list[str]:
        parts = int((await reader.readuntil(b"\r\n"))[1:])
        command = []
        for _ in range(parts):
            length = int((await reader.readuntil(b"\r\n"))[1:])
            command.append((await reader.readexactly(length + 2))[:-2].decode())
        return command

    def _answer(self, command: list[str]) -> str:
        match command:
            case ["SELECT", _]:
                return "+OK\r\n"
            case ["EVALSHA", sha, "1", key, *arguments] if sha == SHA and self._known:
                return encoded(self.memory.script(key, arguments))
            case ["EVALSHA", *_]:
                return "-NOSCRIPT No matching script. Please use EVAL.\r\n"
            case ["EVAL", script, "1", key, *arguments] if script == SCRIPT:
                self._known = True
                return encoded(self.memory.script(key, arguments))
            case _:
                return f"-ERR unknown command '{command[0]}'\r\n"


def encoded(answer: list[object]) -> str:
    """In RESP2. The script answers texts as bulk strings, numbers as integers."""
    parts = [
        f"${len(each)}\r\n{each.decode()}\r\n" if isinstance(each, bytes) else f":{int(str(each))}\r\n"
        for each in answer
    ]
    return f"*{len(parts)}\r\n{''.join(parts)}"


@asynccontextmanager
async def serving(memory: Memory | None = None, password: str = "") -> AsyncIterator[Server]:
    server = Server(memory or Memory(), password)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
