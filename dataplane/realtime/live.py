"""A live session: its two connections, and the carrying out of what its relay decides.

`LiveSession` is the I/O of a session after the handshakes: it feeds bytes to the relay, writes what comes out, keeps
the relay's timer, and holds back whoever is too fast. It lives until both connections are gone.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import structlog

from dataplane.guardrails.judge import Answer
from dataplane.process.pace import Pace
from dataplane.process.room import Holder, Room
from dataplane.realtime import actions, endings
from dataplane.realtime.actions import Action, Ended
from dataplane.realtime.clocks import Clocks
from dataplane.realtime.effects import Metered
from dataplane.realtime.endings import Ending
from dataplane.realtime.fair_timer import FairTimer
from dataplane.realtime.frames import Close
from dataplane.realtime.hooks import Hooks, report
from dataplane.realtime.legs import Fate, Leg
from dataplane.realtime.listening import Refused
from dataplane.realtime.relay import Relay
from dataplane.realtime.session import Session
from dataplane.services import Limits
from dataplane.table import SessionLimits

EARLY = 1024 * 1024
"""Bytes of the upstream's that are kept while the client has not been answered."""
LAST = 1024 * 1024
"""Bytes that may wait for a peer once the session ends, when the upstream is read on for its usage whoever takes what:
for the client, of a frame of the upstream's that was under way; for the upstream, of answers to its Pings."""
USUAL = 512 * 1024
"""Bytes that may wait for a peer as a matter of course: it is held back then. Of a large message there may be more."""

FAILED = "The gateway failed; its log has the details under this session's id."
_NO_ROOM = (
    "The messages that are unfinished here, or that nobody takes, take too much memory, and this session holds most "
    "of it."
)

log = structlog.get_logger("tidegate.session")


class LiveSession:
    """A session with its connections. The upstream's is there first; `attach` adds the client's.

    `limits`: what the session may take; `patience`: how long peers are waited for; `room`: what it may hold
    together with the others; `pace`: how many of them end at once."""

    def __init__(
        self,
        session: Session,
        hooks: Hooks,
        limits: SessionLimits,
        patience: Limits,
        room: Room,
        pace: Pace,
        *,
        reads: bool = True,
    ) -> None:
        self.session = session
        self.limits = limits
        self._holder = Holder(room, self._holds_most)
        self.relay = Relay(
            session,
            mask=lambda: secrets.token_bytes(4),
            max_message=limits.max_message,
            max_fragments=limits.max_fragments,
            reads=reads,
            hold=self._holder.hold,
        )
        loop = asyncio.get_running_loop()
        self._started = loop.time()
        self.dialled: float | None = None
        """When the upstream was."""
        self.left: float | None = None
        """When it was gone."""
        self.opened: asyncio.Future[Refused | None] = loop.create_future()
        """Set by the upstream's first event (None), its refusal, or its end."""
        self._patience = patience
        self.upstream = self._leg(self._from_upstream, self._upstream_lost)
        self.client: Leg | None = None
        self._hooks = hooks
        self._early = bytearray()
        self._untaken = 0
        """Bytes beyond what is usual that wait for peers, as the room knows it."""
        self._answering = False
        """The client is sent answers of ours faster than it reads."""
        self._ponging = False
        """The upstream is sent answers of ours faster than it reads."""
        self._pace = pace
        self._judging = False
        """Is judging to go on, where a peer has sent more than is judged at a time?"""
        self._gone: list[Callable[[], None]] = []
        """What is to be done about peers that left, once all is judged that they have sent."""
        self._timer: FairTimer | None = None
        """The relay's."""
        self._clocks: Clocks | None = None
        self._over = False
        self.failed = False
        """Has a fault of ours ended it?"""
        self._ended: Ended | None = None
        """How it ended, until that is reported."""

    @property
    def age(self) -> float:
        """Seconds since it began."""
        return asyncio.get_running_loop().time() - self._started

    def attach(self) -> Leg:
        """The protocol for the client's connection, to be made at once. The client is first sent what the upstream
        has said already."""
        early, self._early = bytes(self._early), bytearray()
        self.client = self._leg(self._from_client, self._client_lost, early)
        self.client.flow, self.client.peer = self.relay.client_flow, self.upstream
        self.upstream.flow, self.upstream.peer = self.relay.upstream_flow, self.client
        self._clocks = Clocks(
            self._started,
            self.limits,
            self._patience,
            self.relay,
            self.upstream,
            self.client,
            carried=lambda: self._hooks.carried(self),
            perform=self._perform,
        )
        return self.client

    def _leg(self, receive: Callable[[bytes], None], lost: Callable[[], None], first: bytes = b"") -> Leg:
        return Leg(receive, lost, self._balance, self._faulted, stall=self._patience.stall, first=first)

    def end(self, ending: Ending, message: str) -> None:
        """End the session for a reason of the gateway's."""
        self._perform(lambda: self.relay.end(ending, message))

    def end_between_turns(self, ending: Ending, message: str) -> None:
        """End the session for a reason of the gateway's, as soon as it is between turns."""
        self._perform(lambda: self.relay.end_between_turns(ending, message))

    def admit(self, ticket: int) -> None:
        """A turn may begin."""
        self._perform(lambda: self.relay.admit(ticket))
        self._balance()

    def refuse(self, ticket: int, code: str, message: str) -> None:
        """A turn may not begin: the client is told."""
        self._perform(lambda: self.relay.refuse(ticket, code, message))
        self._balance()

    def refuse_and_end(self, ticket: int, ending: Ending, message: str) -> None:
        """A turn may not begin, and the session ends: once nobody is in the middle of a turn."""
        self._perform(lambda: self.relay.refuse_and_end(ticket, ending, message))
        self._balance()

    def judged(self, ticket: int, answer: Answer) -> None:
        """A text was judged, or was not."""
        self._perform(lambda: self.relay.judged(ticket, answer))
        self._balance()

    def abandon(self) -> None:
        """The client was never answered: let the upstream go, if it was ever there. It is not waited for, since that
        would keep the place of a session."""
        self._perform(self.relay.client_lost)
        self.upstream.abort()
        if not self.upstream.connected:
            self._perform(self.relay.upstream_lost)

    def _holds_most(self, held: int) -> None:
        """Of all sessions, which together hold too much. It may be in the middle of a read."""
        asyncio.get_running_loop().call_soon(self._let_go, held)

    def _let_go(self, held: int) -> None:
        what = "unfinished messages take too much memory: the session that holds most lets go"
        log.warning(what, session=self.session.terms.id, held_mib=held // 2**20)
        self._perform(lambda: self.relay.let_go(endings.MESSAGE_TOO_BIG, _NO_ROOM))

    def cut(self) -> None:
        """End both connections at once, whatever the peers have yet to say or to take; then the end is reported."""
        if self.client is not None:
            self.client.abort()
        self.upstream.abort()

    # -- events of the connections -----------------------------------------------------------------------------

    def _from_client(self, data: bytes) -> None:
        if self.relay.put_off_client(data):
            self._judge_close()
            return
        answered = self._perform(lambda: self.relay.from_client(data))
        if answered and self.client is not None and self.client.full:
            self._answering = True
            self._balance()
        if self.relay.client_behind:
            self._judge_on()
        elif self.relay.client_waits:
            self._balance()

    def _from_upstream(self, data: bytes) -> None:
        if self.relay.put_off_upstream(data):
            self._judge_close()
            return
        sent, waited = self.upstream.sent, self.relay.client_waits
        self._perform(lambda: self.relay.from_upstream(data))
        if waited:
            self._balance()  # the client may have waited for this
        if self.upstream.full and self.upstream.sent != sent:
            self._ponging = True
            self._balance()
        if self.relay.upstream_behind:
            self._judge_on()
        self._announce()

    def _judge_on(self) -> None:
        """Judge what is left of what the peers have sent, a part at a time, so that others have their turn; neither
        is read meanwhile. Whoever does not read our answers to what was judged waits."""
        if not self._judging and not self._over:
            self._judging = True
            self._pace.later(self._judge_more)
            self._balance()

    def _judge_close(self) -> None:
        """Judge what a peer says last, in its turn: it is the end of the session."""
        if not self._judging:
            self._judging = True
            self._pace.do(self._judge_more)

    def _judge_more(self) -> None:
        self._judging = False
        if self.relay.client_behind and not self._answering:
            self._from_client(b"")
        if self.relay.upstream_behind and not self._held_back:
            self._from_upstream(b"")
        gone, self._gone = self._gone, []
        for act in gone:
            act()
        self._balance()

    def _client_lost(self) -> None:
        if self.relay.client_behind and not self._over:
            self._gone.append(self._client_lost)
            self._judge_on()
        else:
            self._pace.do(self._client_left)

    def _client_left(self) -> None:
        fate = self.client.fate if self.client is not None else "lost"
        self._perform(lambda: self.relay.client_lost(_CLIENT_GONE[fate]))
        self._report()

    def _upstream_lost(self) -> None:
        if self.left is None:
            self.left = asyncio.get_running_loop().time()
        if self.relay.upstream_behind and not self._over:
            self._gone.append(self._upstream_lost)
            self._judge_on()
        else:
            self._pace.do(self._upstream_left)

    def _upstream_left(self) -> None:
        self._perform(lambda: self.relay.upstream_lost(_UPSTREAM_GONE[self.upstream.fate]))
        self._announce()
        self._report()

    def _announce(self) -> None:
        """Tell whoever waits for the upstream's first word."""
        if self.opened.done():
            return
        opened, ending = self.session.listening.opened, self.relay.ending
        if isinstance(opened, Refused):
            if opened.code or ending is not None:  # an error without a code is explained by the Close behind it
                self.opened.set_result(replace(opened, close_reason=self.relay.close.reason))
        elif opened:
            self.opened.set_result(None)
        elif ending is not None:
            self.opened.set_result(Refused("", "", self.relay.close.reason))

    def _expired(self) -> None:
        self._timer = None
        self._perform(self.relay.expired)

    # -- carrying out ------------------------------------------------------------------------------------------

    def _perform(self, decide: Callable[[], list[Action]]) -> bool:
        """Carry out what the relay decides; whether the client was written to. A fault of ours ends this
        session, and no other."""
        wrote = failed = False
        if self._over:
            return wrote
        self.relay.decided = ()
        try:
            todo: Sequence[Action] = decide()
        except Exception as error:
            self._note_fault(error)
            todo, failed = self.relay.decided, True
        for action in todo:
            try:
                wrote |= self._act(action)
            except Exception as error:  # the others are carried out all the same: the end may be among them
                self._note_fault(error)
                failed = True
        if failed:
            self._fail()
        return wrote

    def _act(self, action: Action) -> bool:
        match action:
            case actions.ToClient(data=data):
                self._to_client(data)
                return True
            case actions.ToUpstream(data=data):
                self._to_upstream(data)
            case actions.DropClient():
                if self.client is not None:
                    self.client.drop()
            case actions.DropUpstream():
                self.upstream.drop()
            case actions.Wait(seconds=seconds):
                self._wait(seconds)
                self._balance()  # usage may have to be read that waits behind what the client does not take
            case Ended():
                self._end(action)
            case _:
                report(self._hooks, self, action)
        return False

    def _to_client(self, data: bytes) -> None:
        if self.client is not None:
            self.client.write(data)
            if self.relay.ending is not None and self.client.waiting > LAST:
                self.client.abort()  # the upstream is read on for its usage, and does not wait for the client any more
        else:
            self._early += data
            self._balance()

    def _to_upstream(self, data: bytes) -> None:
        self.upstream.write(data)
        if self.relay.ending is not None and self.upstream.waiting > LAST:
            self.upstream.abort()

    def _wait(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else FairTimer(asyncio.get_running_loop(), seconds, self._expired)

    @property
    def _held_back(self) -> bool:
        """Must the upstream wait? Not once the session ends, or the upstream has: its usage may be behind what nobody
        takes."""
        if self.relay.ending is not None or not self.upstream.connected:
            return False
        return self._ponging or (self.client.full if self.client is not None else len(self._early) >= EARLY)

    def _balance(self) -> None:
        """Who is read from: a leg whose bytes the other leg can take, who takes our answers to it, and of whom all is
        judged that it has sent."""
        here, client = self.relay, self.client
        self._ponging = self._ponging and self.upstream.full
        if client is not None:
            self._answering = self._answering and client.full
            takes = here.ending is not None or not (self.upstream.full or self._answering)
            client.read(takes and not here.client_behind and not here.client_waits)
        self.upstream.read(not self._held_back and not here.upstream_behind)
        self._weigh()
        if (here.client_behind and not self._answering) or (here.upstream_behind and not self._held_back):
            self._judge_on()

    def _weigh(self) -> None:
        """Count as held what waits for peers, as far as it is of large messages: they take them slowly, or not."""
        legs = (self.upstream, self.client)
        untaken = sum(max(0, leg.waiting - USUAL) for leg in legs if leg is not None and leg.full)
        if untaken != self._untaken:
            more, self._untaken = untaken - self._untaken, untaken
            self._holder.hold(more)

    def _end(self, ended: Ended) -> None:
        self._over = True
        self._wait(None)
        if self._clocks is not None:
            self._clocks.stop()
            self._clocks = None
        self._ended = ended
        self._report()

    def _report(self) -> None:
        """Report the end, once both connections are gone."""
        if self._ended is None or self.upstream.connected or (self.client is not None and self.client.connected):
            return
        ended, self._ended = self._ended, None
        self._holder.leave()
        self._hooks.ended(self, ended)
        for leg in (self.upstream, self.client):
            if leg is not None:
                leg.forget()

    # -- faults of ours ----------------------------------------------------------------------------------------

    def _faulted(self, error: Exception) -> None:
        self._note_fault(error)
        self._fail()

    def _note_fault(self, error: Exception) -> None:
        if not self.failed:
            log.error("session failed", session=self.session.terms.id, exc_info=error)

    def _fail(self) -> None:
        """Tell both sides; where that fails too, cut them off. What the session has counted stays counted."""
        if not self.failed:
            self.failed = True
            self.end(endings.INTERNAL, FAILED)
            return
        if self.client is not None:
            self.client.drop()
        self.upstream.abort()
        with suppress(Exception):  # the fault is in the log
            self.session.abandon()
        for effect in self.session.effects():
            if isinstance(effect, Metered):
                with suppress(Exception):  # of one turn: the others are counted all the same
                    self._hooks.metered(self, effect)
        self._end(Ended(endings.INTERNAL, Close(endings.INTERNAL.code)))


_CLIENT_GONE: dict[Fate, Ending] = {
    "lost": endings.CLIENT_LOST,
    "silent": endings.CLIENT_SILENT,
    "stalled": endings.CLIENT_STALLED,
}
_UPSTREAM_GONE: dict[Fate, Ending] = {
    "lost": endings.UPSTREAM_LOST,
    "silent": endings.UPSTREAM_SILENT,
    "stalled": endings.UPSTREAM_STALLED,
}
