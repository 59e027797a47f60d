"""Where the table of a gateway on one machine comes from: its files, compiled beside it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from pathlib import Path

from pydantic import SecretStr

from dataplane.metering.prices import open_catalogue
from dataplane.process.gently import gently
from dataplane.slices import SLICE, Slices
from dataplane.table import Part, Table, delta
from dataplane.table.delta import Parts
from tidegate import running
from tidegate.compiling import Batch, Compiler, Job, Outcome
from tidegate.documents import Documents
from tidegate.worker import Worker


class NotLoaded(Exception):
    """The files cannot be served, for these reasons."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


@dataclass(slots=True)
class Read:
    """What the files say. Parts that are as they were are the same objects as before."""

    outcome: Outcome
    table: Table
    secrets: Mapping[str, SecretStr] = field(repr=False)
    parts: Parts = field(repr=False)


@dataclass(slots=True)
class Source:
    """Reads files, the first time in this process, then in a worker's. One at a time."""

    paths: Sequence[Path]
    open_by_default: bool
    documents: InitVar[Documents]
    has_store: bool = False
    come_once: frozenset[Path] = frozenset()
    """Paths that there is nothing to watch of: they were stdin or a pipe."""
    _worker: Worker = field(default_factory=Worker)
    _memory: bytes = field(default=b"", repr=False)
    _served: Read | None = None
    _environ: Mapping[str, str] = field(init=False, repr=False)
    _first: Compiler | None = field(init=False, repr=False)

    def __post_init__(self, documents: Documents) -> None:
        self._environ = documents.environ
        self._first = Compiler(documents)

    async def read(self, growing: Callable[[int], None]) -> Read:
        """`growing` is told of new parts, how many each time. Raises NotLoaded, and `worker.Failed`."""
        new = _New(self._served, growing)
        await asyncio.sleep(0)
        base = self._served.outcome.id if self._served else ""
        job = Job(self.paths, dict(self._environ), self.open_by_default, base, self.has_store)
        if compiler := self._first:
            outcome, batches = await running.beside(lambda: _beside(compiler, job))
            for batch in batches:
                new.take(batch)
                await asyncio.sleep(0)
            self._first = None
        else:
            outcome = await self._worker.run(job, self._memory, new.take)
        self._memory, self.come_once = outcome.memory, outcome.come_once
        if outcome.errors:
            raise NotLoaded(outcome.errors)
        return await gently(new.read(outcome))

    async def serves(self, read: Read) -> None:
        """From now on this is what the next is compared with. The one before is let go some parts at a time: to free
        thousands at once would hold up the loop, too."""
        before, self._served = self._served, read
        parts = list(before.parts.values()) if before else []
        del before
        while parts:
            del parts[-SLICE:]
            await asyncio.sleep(0)

    async def close(self) -> None:
        await self._worker.close()


def _beside(compiler: Compiler, job: Job) -> tuple[Outcome, Sequence[Batch]]:
    """In a thread, with all that would hold up the loop later. Collections of garbage would find nothing."""
    gc.disable()
    try:
        outcome, batches = compiler.run(job)
        open_catalogue()
        return outcome, list(batches)
    finally:
        gc.enable()


class _New:
    """What arrives, on top of what is served."""

    def __init__(self, served: Read | None, growing: Callable[[int], None]) -> None:
        self._growing = growing
        self._parts: dict[str, Part] = {**served.parts} if served else {}
        self._secrets = {**served.secrets} if served else {}

    def take(self, batch: Batch) -> None:
        new = [part for part in batch.parts if part.hash not in self._parts]
        self._growing(len(new))
        self._parts.update((part.hash, delta.read(part)) for part in new)
        self._secrets.update(batch.secrets)

    def read(self, outcome: Outcome) -> Slices[Read]:
        """With what the outline names, and nothing that only the one before had."""
        outline = outcome.outline
        parts: dict[str, Part] = {}
        for count, name in enumerate(outline.names(), 1):
            parts[name] = self._parts[name]
            if count % (SLICE * 20) == 0:
                yield
        secrets = {name: self._secrets[name] for name in outline.secrets}
        yield
        table = delta.assembled(outline, parts)
        yield
        return Read(outcome, table, secrets, parts)
