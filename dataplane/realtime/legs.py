"""The two connections of a session, and the carrying out of what its relay decides.

`LiveSession` is all I/O of a session after the handshakes: it feeds bytes to the relay, writes what comes out,
keeps the relay's timer, and holds back whoever is too fast. It lives until both connections are gone.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Protocol, cast

import structlog

from dataplane.realtime import endings, relay
from dataplane.realtime.endings import Ending
from dataplane.realtime.frames import Close
from dataplane.realtime.relay import Action, Ended, Relay
from dataplane.realtime.session import (
    Began,
    Interrupted,
    Logged,
    Metered,
    Progress,
    Prompted,
    Refused,
    Session,
    Spoke,
    Unmetered,
)
from dataplane.upstreams.connect import keep_alive

HIGH_WATER = 64 * 1024
"""Bytes that may wait to be written before the other leg is held back: one second of audio."""
SLICE = 16 * 1024
"""Bytes of the client's that are judged at a time. Our answers to them may be thirty times as long: between slices
a client that does not read them is held back."""
EARLY = 1024 * 1024
"""Bytes of the upstream's that are kept while the client has not been answered."""

log = structlog.get_logger("tidegate.session")


class Hooks(Protocol):
    """Where a session's effects go."""

    def metered(self, live: LiveSession, effect: Metered) -> None: ...

    def unmetered(self, live: LiveSession, effect: Unmetered) -> None: ...

    def logged(self, live: LiveSession, effect: Logged) -> None: ...

    def progressed(self, live: LiveSession, effect: Progress) -> None: ...

    def ended(self, live: LiveSession, effect: Ended) -> None: ...


class Leg(asyncio.Protocol):
    """One connection. `receive` gets its bytes, `lost` is called once when it is gone; a peer that takes nothing of
    what waits for it for `stall` seconds is cut off, since it would hold back the other side for ever. `first` is
    sent before anything else."""

    def __init__(
        self,
        receive: Callable[[bytes], None],
        lost: Callable[[], None],
        balance: Callable[[], None],
        *,
        stall: float,
        first: bytes = b"",
    ) -> None:
        self.receive = receive
        self.lost = lost
        self._first = first
        self.full = False
        """Does more wait to be written than should?"""
        self.writes = 0
        """How often something was written."""
        self._balance = balance
        self._stall = stall
        self._reading = True
        self._transport: asyncio.Transport | None = None
        self._cut: asyncio.TimerHandle | None = None
        """When the connection is aborted, unless the peer takes what waits for it."""

    @property
    def connected(self) -> bool:
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        keep_alive(self._transport.get_extra_info("socket"))
        if self._first:
            self.write(self._first)
            self._first = b""
        self._balance()

    def data_received(self, data: bytes) -> None:
        self.receive(data)

    feed = data_received

    def eof_received(self) -> bool:
        self.drop()
        return False

    def connection_lost(self, _exc: Exception | None) -> None:
        self._cut_in(None)
        if self._transport is not None:
            self._transport = None
            self.lost()

    def pause_writing(self) -> None:
        self.full = True
        if self._open:
            self._cut_in(self._stall)
        self._balance()

    def resume_writing(self) -> None:
        self.full = False
        if self._open:
            self._cut_in(None)
        self._balance()

    def write(self, data: bytes) -> None:
        if self._transport is not None and self._open:
            self.writes += 1
            self._transport.write(data)

    def read(self, wanted: bool) -> None:
        """Take bytes from the peer, or let them wait."""
        if self._transport is None or wanted == self._reading or not self._open:
            return
        self._reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def drop(self) -> None:
        """End the connection: what was written is sent first, within LINGER seconds."""
        if self._transport is not None and self._open:
            self._cut_in(relay.LINGER)
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    @property
    def _open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def _cut_in(self, seconds: float | None) -> None:
        if self._cut is not None:
            self._cut.cancel()
        self._cut = None if seconds is None else asyncio.get_running_loop().call_later(seconds, self.abort)


class LiveSession:
    """A session with its connections. The upstream's is there first; `attach` adds the client's.

    `stall`: seconds that a peer may take nothing of what waits for it."""

    def __init__(self, session: Session, hooks: Hooks, *, max_message: int, stall: float, reads: bool = True) -> None:
        self.session = session
        self.relay = Relay(session, mask=lambda: secrets.token_bytes(4), max_message=max_message, reads=reads)
        loop = asyncio.get_running_loop()
        self._started = loop.time()
        self.opened: asyncio.Future[Refused | None] = loop.create_future()
        """Set by the upstream's first event (None), its refusal, or its end."""
        self._stall = stall
        self.upstream = Leg(self._from_upstream, self._upstream_lost, self._balance, stall=stall)
        self.client: Leg | None = None
        self._hooks = hooks
        self._early = bytearray()
        self._unread = bytearray()
        """Bytes of the client's that wait until it has read our answers to those before."""
        self._answering = False
        """The client is sent answers of ours faster than it reads."""
        self._ponging = False
        """The upstream is sent answers of ours faster than it reads."""
        self._timer: asyncio.TimerHandle | None = None
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
        self.client = Leg(self._from_client, self._client_lost, self._balance, stall=self._stall, first=early)
        return self.client

    def end(self, ending: Ending, message: str) -> None:
        """End the session for a reason of the gateway's."""
        self._perform(lambda: self.relay.end(ending, message))

    def abandon(self) -> None:
        """The client was never answered: let the upstream go, if it was ever there."""
        self._perform(self.relay.client_lost)
        if not self.upstream.connected:
            self._perform(self.relay.upstream_lost)

    # -- events of the connections -----------------------------------------------------------------------------

    def _from_client(self, data: bytes) -> None:
        if self._unread or self._answering or len(data) > SLICE:
            self._unread += data
            self._read_on()
        else:
            self._judge(data)

    def _read_on(self) -> None:
        """Judge what the client has sent, as far as it reads what we answer."""
        while self._unread and not self._answering:
            data = bytes(self._unread[:SLICE])
            del self._unread[:SLICE]
            self._judge(data)

    def _judge(self, data: bytes) -> None:
        answered = self._perform(lambda: self.relay.from_client(data))
        if answered and self.client is not None and self.client.full:
            self._answering = True
            self._balance()

    def _from_upstream(self, data: bytes) -> None:
        writes = self.upstream.writes
        self._perform(lambda: self.relay.from_upstream(data))
        if self.upstream.full and self.upstream.writes != writes:
            self._ponging = True
            self._balance()
        self._announce()

    def _client_lost(self) -> None:
        self._perform(self.relay.client_lost)
        self._report()

    def _upstream_lost(self) -> None:
        self._perform(self.relay.upstream_lost)
        self._announce()
        self._report()

    def _announce(self) -> None:
        """Tell whoever waits for the upstream's first word."""
        if self.opened.done():
            return
        opened, ending = self.session.opened, self.relay.ending
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
        try:
            for action in decide():
                try:
                    wrote |= self._act(action)
                except Exception as error:  # the others are carried out all the same: the end may be among them
                    self._note_fault(error)
                    failed = True
        except Exception as error:
            self._note_fault(error)
            failed = True
        if failed:
            self._fail()
        return wrote

    def _act(self, action: Action) -> bool:
        match action:
            case relay.ToClient(data=data):
                self._to_client(data)
                return True
            case relay.ToUpstream(data=data):
                self.upstream.write(data)
            case relay.DropClient():
                if self.client is not None:
                    self.client.drop()
            case relay.DropUpstream():
                self.upstream.drop()
            case relay.Wait(seconds=seconds):
                self._wait(seconds)
            case Metered():
                self._hooks.metered(self, action)
            case Unmetered():
                self._hooks.unmetered(self, action)
            case Logged():
                self._hooks.logged(self, action)
            case Prompted() | Began() | Spoke() | Interrupted():
                self._hooks.progressed(self, action)
            case Ended():
                self._end(action)
        return False

    def _to_client(self, data: bytes) -> None:
        if self.client is not None:
            self.client.write(data)
        else:
            self._early += data
            self._balance()

    def _wait(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else asyncio.get_running_loop().call_later(seconds, self._expired)

    def _balance(self) -> None:
        """Who is read from: a leg whose bytes the other leg can take, and who takes our answers to it."""
        if self.client is None:
            self.upstream.read(len(self._early) < EARLY)
            return
        if self._answering and not self.client.full:
            self._answering = False
            self._read_on()
        self._ponging = self._ponging and self.upstream.full
        self.upstream.read(not self.client.full and not self._ponging)
        self.client.read(not self.upstream.full and not self._answering)

    def _end(self, ended: Ended) -> None:
        self._over = True
        self._wait(None)
        self._ended = ended
        self._report()

    def _report(self) -> None:
        """Report the end, once both connections are gone."""
        if self._ended is None or self.upstream.connected or (self.client is not None and self.client.connected):
            return
        ended, self._ended = self._ended, None
        self._hooks.ended(self, ended)

    # -- faults of ours ----------------------------------------------------------------------------------------

    def _note_fault(self, error: Exception) -> None:
        if not self.failed:
            log.error("session failed", session=self.session.terms.id, exc_info=error)

    def _fail(self) -> None:
        """Tell both sides; where that fails too, cut them off. What the session has counted stays counted."""
        if not self.failed:
            self.failed = True
            self.end(endings.INTERNAL, "The gateway failed; its log has the details under this session's id.")
            return
        if self.client is not None:
            self.client.drop()
        self.upstream.abort()
        with suppress(Exception):  # the fault is in the log
            self.session.abandon()
            for effect in self.session.effects():
                if isinstance(effect, Metered):
                    self._hooks.metered(self, effect)
        self._end(Ended(endings.INTERNAL, Close(endings.INTERNAL.code)))
