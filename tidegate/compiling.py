"""From files to what a gateway serves: read them, compile, and say what is not right.

There is no loop and no gateway here: beside a gateway that serves, it is done in a process of its own (`worker`). What
such a process cannot find out again, should it die, is in every outcome, for the next one.
"""

from __future__ import annotations

import pickle
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from pydantic import SecretStr

from controller import compile as compiler
from controller.compile import Compiled, Condition, Identity
from controller.compile.statuses import CLOSED
from dataplane.slices import SLICE
from dataplane.table import delta
from dataplane.table.delta import Outline, Written
from tidegate.documents import Document, Documents, Loaded
from tidegate.validate import Object


@dataclass(frozen=True, slots=True)
class Job:
    """Files to be served."""

    paths: Sequence[Path]
    environ: Mapping[str, str] = field(repr=False)
    open_by_default: bool
    """See `compile`."""
    base: str = ""
    """Id of the outcome that is served now: where it is the compiler's last one, only what differs is sent."""
    has_store: bool = False
    """See `compile`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job. With errors, there is nothing to be served."""

    id: str
    memory: bytes = field(repr=False)
    """For a compiler that takes over."""
    come_once: frozenset[Path]
    """Paths whose documents came through stdin or a pipe."""
    errors: Sequence[str] = ()
    notes: Sequence[str] = ()
    """What was skipped, and why."""
    problems: Sequence[str] = ()
    """What is said of objects that are not all right, each with its place."""
    outline: Outline = field(default_factory=Outline)
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """Some of what an outcome's outline names and its base has not."""

    parts: Sequence[Written] = ()
    secrets: Mapping[str, SecretStr] = field(default_factory=dict, repr=False)


class Compiler:
    """Does one job after the other, and remembers what helps with the next."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._before: Compiled | None = None
        self._id = ""
        self._parts: delta.Parts = {}
        self._secrets: Mapping[str, SecretStr] = {}

    def run(self, job: Job) -> tuple[Outcome, Iterator[Batch]]:
        """The outcome, and the batches that belong to it. Never raises for what is in the files."""
        self._documents.environ = job.environ
        loaded = self._documents.load(job.paths)
        memory, come_once = pickle.dumps(self._documents), self._documents.come_once
        if loaded.errors:
            return Outcome("", memory, come_once, loaded.errors, loaded.notes), iter(())
        compiled = compiler.compile(
            loaded.contents, self._before, open_by_default=job.open_by_default, has_store=job.has_store
        )
        outline, parts = delta.outlined(compiled.table)
        known = (self._parts, self._secrets) if job.base == self._id else ({}, {})
        batches = _batches(parts, compiled.secrets, *known)
        self._id = uuid.uuid4().hex
        self._before, self._parts, self._secrets = compiled, parts, compiled.secrets
        outcome = Outcome(
            self._id,
            memory,
            come_once,
            notes=loaded.notes,
            problems=_problems(compiled, loaded),
            outline=outline,
            versions=compiled.table.versions(),
        )
        return outcome, batches


def _batches(
    parts: delta.Parts,
    secrets: Mapping[str, SecretStr],
    known_parts: delta.Parts,
    known_secrets: Mapping[str, SecretStr],
) -> Iterator[Batch]:
    """Of a size that can be read in one go."""
    new = delta.written(parts, known_parts)
    while some := list(islice(new, SLICE)):
        yield Batch(parts=some)
    changed = iter([item for item in secrets.items() if known_secrets.get(item[0]) != item[1]])
    while values := dict(islice(changed, SLICE)):
        yield Batch(secrets=values)


def _problems(compiled: Compiled, loaded: Loaded) -> list[str]:
    written: dict[Identity, list[Document]] = defaultdict(list)
    for document in loaded.documents:
        written[document.identity].append(document)
    return [
        f"{status.kind} {status.namespace}/{status.name}: {condition.reason}: {problem}"
        for status in compiled.statuses
        for condition in _false(status.conditions)
        for problem in Object(status, tuple(written[Identity(status.kind, status.namespace, status.name)])).problems(
            condition
        )
    ]


def _false(conditions: Sequence[Condition]) -> Iterator[Condition]:
    """Those that say something of their own: Ready sums up the others, unless it is closed, and what is not accepted is
    nothing else."""
    own = [each for each in conditions if each.type != "Ready" or each.reason == CLOSED]
    wrong = [each for each in own if each.status == "False"]
    yield from [each for each in wrong if each.type == "Accepted"] or wrong
