"""The promise: whatever becomes of a session, every turn of it is counted once, to the token, and what nobody
reported is estimated and kept apart.

Ten thousand sessions end in every way that there is, in every state that they may be in then. What the records say,
what `/metrics` says and what the provider billed must agree, per label set; and how each session ended must be what
its script intended. That the comparison sees what it should is shown by breaking the gateway, one thing at a time.
"""

from __future__ import annotations

import asyncio
import os

import pytest
import uvloop

from dataplane.realtime.endings import ENDINGS
from tests.integration.lives import mutants
from tests.integration.lives.crowd import Crowd, mixed

SESSIONS = int(os.environ.get("TIDEGATE_SESSIONS", "10000"))
SHARDS = 4
"""Runs that can be spread over processors. Every other has the loop that the product runs on; asyncio's own shows
which timers are left."""


def held(seed: int, count: int) -> Crowd:
    loop = uvloop.new_event_loop if seed % 2 else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(mixed(seed, count))


@pytest.mark.parametrize("shard", range(SHARDS))
def test_the_books_agree(shard: int) -> None:
    crowd = held(shard, SESSIONS // SHARDS)
    assert len(crowd.written.sessions) == SESSIONS // SHARDS
    assert not (faults := crowd.faults()), "\n".join(faults[:10])
    assert {summary.reason for summary in crowd.written.sessions} == {
        ending.label for ending in ENDINGS if not ending.reserved
    }
    statuses = {(usage.operation, usage.status) for usage, _ in crowd.written.turns}
    assert {"completed", "cancelled", "failed", "incomplete", "lost"} <= {status for _, status in statuses}
    assert {("transcription", "lost"), ("chat", "failed")} <= statuses


@pytest.mark.parametrize("part", ["metrics and calls", "endings and turns"])
def test_whatever_is_broken_is_found(part: str) -> None:
    crowd = held(len(part), 400)  # some of all kinds, and enough on the calm road
    assert not (faults := crowd.faults()), "\n".join(faults[:10])
    calls = crowd.calls
    if part == "metrics and calls":
        broken = [*mutants.of_instruments(), *mutants.of_calls(calls)]
    else:
        broken = [*mutants.of_endings(calls), *mutants.of_turns(calls)]
    assert crowd.survives(lambda same, _: same)
    assert [name for name, each in broken if crowd.survives(each)] == []
