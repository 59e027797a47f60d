"""Where the table of a gateway on one machine comes from: its files, compiled beside it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from pathlib import Path

from dataplane.metering.prices import open_catalogue
from dataplane.process.gently import gently, let_go
from dataplane.slices import at_once
from dataplane.sources.building import Building, Built
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
    """What the files say."""

    outcome: Outcome
    built: Built


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
        new = Building(self._served.built if self._served else None, growing)

        def take(batch: Batch) -> None:
            at_once(new.take(batch.parts, batch.secrets))

        await asyncio.sleep(0)
        base = self._served.outcome.id if self._served else ""
        job = Job(self.paths, dict(self._environ), self.open_by_default, base, self.has_store)
        if compiler := self._first:
            outcome, batches = await running.beside(lambda: _beside(compiler, job))
            for batch in batches:
                take(batch)
                await asyncio.sleep(0)
            self._first = None
        else:
            outcome = await self._worker.run(job, self._memory, take)
        self._memory, self.come_once = outcome.memory, outcome.come_once
        if outcome.errors:
            raise NotLoaded(outcome.errors)
        return Read(outcome, await gently(new.built(outcome.outline)))

    async def serves(self, read: Read) -> None:
        """From now on this is what the next is compared with."""
        before, self._served = self._served, read
        parts: list[object] = list(before.built.parts.values()) if before else []
        del before
        await let_go(parts)

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
