"""Gateways that are broken in one place, live: each must be caught by the comparison that ten thousand sessions
(test_ten_thousand_sessions.py) stand up to. There, what the meter is told is broken; here, what happens before."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from random import Random
from unittest.mock import patch

import pytest

from dataplane.dialects.openai_usage import response_usage
from dataplane.metering.usage import NO_TOKENS, Tokens, Usage
from dataplane.process.drain import Drain
from dataplane.realtime import turns
from dataplane.realtime.account import Account
from dataplane.realtime.live import LiveSession
from dataplane.realtime.relay import Relay
from dataplane.realtime.session import Session
from dataplane.realtime.speech import Speech
from dataplane.realtime.turns import Turns
from tests.integration.lives import world
from tests.integration.lives.crowd import gather
from tests.integration.lives.plan import DRAINED, ENDS, Plan
from tests.integration.lives.states import STATES

Patch = AbstractContextManager[object]
SHORT = Drain(lame_duck=0, patience=0.4, closing=0.4, linger=0)


def nothing(*_: object, **__: object) -> None:
    """Done in place of something."""


def _estimates_as_reported() -> Patch:
    record = Account._record
    return patch.object(Account, "_record", lambda self, usage: record(self, replace(usage, estimated=False)))


def _reports_as_estimates() -> Patch:
    record = Account._record

    def broken(self: Account, usage: Usage) -> None:
        record(self, replace(usage, estimated=usage.tokens is not None))

    return patch.object(Account, "_record", broken)


def _last_turn_only() -> Patch:
    """As some do: the newest turn's usage stands for the session's."""
    turn = Account.turn

    def broken(self: Account, *args: object, **kwargs: object) -> None:
        self.tokens = NO_TOKENS
        turn(self, *args, **kwargs)  # type: ignore[arg-type]

    return patch.object(Account, "turn", broken)


def _hollow_is_zero() -> Patch:
    def broken(usage: object) -> Tokens | None:
        return response_usage(usage) or NO_TOKENS

    return patch.object(turns, "response_usage", broken)


def _ends_abruptly() -> Patch:
    """The gateway's own endings leave the upstream at once."""
    end = Relay.end

    def broken(self: Relay, *args: object) -> object:
        self._for_upstream.hears = False
        return end(self, *args)  # type: ignore[arg-type]

    return patch.object(Relay, "end", broken)


def _faults_are_final() -> Patch:
    def broken(self: LiveSession) -> None:
        self.failed = True
        self.upstream.abort()

    return patch.object(LiveSession, "_fail", broken)


def _full_client_holds_back() -> Patch:
    """The upstream is read only while the client takes what it says, whatever the session has come to."""

    def broken(self: LiveSession) -> bool:
        return self.client is not None and self.client.full

    return patch.object(LiveSession, "_held_back", property(broken))


def _unanswered_is_forgotten() -> Patch:
    abandon = Turns.abandon

    def broken(self: Turns) -> None:
        self._asked.clear()
        abandon(self)

    return patch.object(Turns, "abandon", broken)


BROKEN: dict[str, Callable[[], Patch]] = {
    "what the upstream never said is forgotten": lambda: patch.object(Session, "abandon", nothing),
    "turns are not cancelled": lambda: patch.object(Session, "leave", nothing),
    "the upstream is not heard out": lambda: patch.object(world, "SETTLE", 0.0),
    "a turn that is said twice counts twice": lambda: patch.object(Account, "once", lambda *_: True),
    "turns are not cut off by anybody": lambda: patch.dict(turns._INTERRUPTERS, clear=True),
    "every turn is completed": lambda: patch.dict(turns._STATUSES, clear=True),
    "transcriptions are not read": lambda: patch.object(Speech, "transcribed", nothing),
    "transcriptions that never came are forgotten": lambda: patch.object(Speech, "abandon", nothing),
    "what never began is forgotten": _unanswered_is_forgotten,
    "audio is not heard": lambda: patch.object(Turns, "_speak", nothing),
    "estimates count as reported": _estimates_as_reported,
    "reports count as estimates": _reports_as_estimates,
    "only the last turn counts": _last_turn_only,
    "hollow usage is zero": _hollow_is_zero,
    "the gateway ends sessions abruptly": _ends_abruptly,
    "a fault of ours loses the turn": _faults_are_final,
    "usage waits for a client that takes nothing": _full_client_holds_back,
}


def plans() -> list[Plan]:
    """All that matters here, without much waiting."""
    told = [name for name, state in STATES.items() if state.told and name != "after"]
    chosen = [
        ("client closes, all quiet", "quiet", ("audio", "twice", "cancelled")),
        ("client closes, all quiet", "quiet", ("text", "vad", "interrupted", "failed", "noise")),
        ("client closes", "never transcribed", ()),
        ("client closes", "unanswered", ()),
        ("upstream is lost", "quiet", ("incomplete",)),
        ("upstream is lost", "beside", ()),
        ("upstream breaks the protocol", "held", ()),
        *((name, state, ()) for name in ("client closes", "client resets", "operator", "fault") for state in told),
    ]
    return [
        Plan(name, ENDS[name], STATES[state], kinds, "", seed, "takes nothing")
        for seed, (name, state, kinds) in enumerate(chosen)
    ]


async def faults(broken: Patch) -> list[str]:
    """What is seen of it: by the books, or by the clients already."""
    last = [Plan("drained", DRAINED, STATES[state], (), "", 7) for state in ("quiet", "held", "late")]
    with patch.multiple(world, SETTLE=0.7, LINGER=0.8, PHASES=SHORT), broken:
        try:
            return (await gather(plans(), last, Random(1))).faults()
        except ExceptionGroup as group:
            seen, other = group.split(AssertionError)
            if seen is None or other is not None or hasattr(group, "__notes__"):  # the patch is wrong
                raise
            return [str(each) for each in seen.exceptions]


async def test_the_right_one_has_no_faults() -> None:
    assert await faults(nullcontext()) == []


@pytest.mark.parametrize("what", BROKEN)
async def test_the_wrong_one_is_caught(what: str) -> None:
    assert await faults(BROKEN[what]()) != []
