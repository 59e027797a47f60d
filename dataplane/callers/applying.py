"""Which blocks of Policies are for a caller."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from dataplane.metering.usage import ANONYMOUS, Caller
from dataplane.table import Block, Subject

BlockT = TypeVar("BlockT", bound=Block)


def applying(blocks: Iterable[BlockT], caller: Caller) -> Iterator[BlockT]:
    """Those that are for this caller, in their order. Where the first that applies holds, it is the next of these."""
    return (block for block in blocks if applies(block.subjects, caller))


def applies(subjects: tuple[Subject, ...], caller: Caller) -> bool:
    """Whether what is said for these is for this caller. Without subjects it is for everyone."""
    return not subjects or any(
        subject.namespace == caller.namespace
        and (subject.key in ("", caller.key))
        and (subject.team in ("", caller.team))
        and caller != ANONYMOUS
        for subject in subjects
    )
