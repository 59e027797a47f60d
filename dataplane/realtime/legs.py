"""One connection of a session: bytes in, bytes out, and how it is ended when its peer does not."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import Literal, Protocol, cast

from dataplane.realtime import relay
from dataplane.realtime.fair_timer import FairTimer

HIGH_WATER = 64 * 1024
"""Bytes that may wait to be written before the other leg is held back: one second of audio."""
PIECE = 32 * 1024
"""Bytes that are read at once from a peer that was held back before. Transports read up to 256 KiB, and what was read
has to be kept. After a read of so much, others have their turn."""
LOOKS = 4
"""How often it is looked, within the time that a peer has to take something, whether it does."""

Fate = Literal["lost", "silent", "stalled"]
"""How a connection ended without a Close: its peer was gone, or gave no sign of life, or took nothing."""


class Leg(asyncio.Protocol):
    """One connection. `receive` gets its bytes, `lost` is called once when it is gone; a peer that takes nothing of
    what waits for it for `stall` seconds, or a quarter longer, is cut off, since it would hold back the other side for
    ever. `first` is sent before anything else.

    Once there is a `peer`, `flow` is asked first: what it says that goes on is sent to the peer, and only the rest is
    received. That way the most frequent messages take the shortest path. `failed` is told of a fault of `flow`'s."""

    __slots__ = (
        "_balance",
        "_cut",
        "_failed",
        "_first",
        "_idle_looks",
        "_in_pieces",
        "_reading",
        "_resting",
        "_stall",
        "_taken",
        "_transport",
        "cause",
        "fate",
        "flow",
        "full",
        "lost",
        "peer",
        "receive",
        "received",
        "sent",
    )

    def __init__(
        self,
        receive: Callable[[bytes], None],
        lost: Callable[[], None],
        balance: Callable[[], None],
        failed: Callable[[Exception], None] | None = None,
        *,
        stall: float,
        first: bytes = b"",
    ) -> None:
        self.receive = receive
        self.lost = lost
        self.peer: Leg | None = None
        self.flow: Callable[[bytes], tuple[bytes, bytes]] = _nothing_flows
        self.received = 0
        """Bytes that came. With TLS, what was inside; as for those that are sent."""
        self.sent = 0
        """Bytes that were written, for the connection to send."""
        self.full = False
        """Does more wait to be written than should?"""
        self.fate: Fate = "lost"
        self.cause: Exception | None = None
        """What the connection was lost by, where that is known."""
        self._first = first
        self._balance = balance
        self._failed = failed or _nothing
        self._stall = stall
        self._reading = True
        self._resting = False
        """Is nothing read until others have had their turn?"""
        self._in_pieces = False
        self._transport: asyncio.Transport | None = None
        self._cut: FairTimer | None = None
        """What cuts the connection off, unless the peer takes what waits for it."""
        self._taken = 0
        """Bytes that the peer had taken when that was last looked at."""
        self._idle_looks = 0
        """How often it had taken nothing since."""

    @property
    def connected(self) -> bool:
        return self._transport is not None

    @property
    def waiting(self) -> int:
        """Bytes that wait to be sent."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    @property
    def excused(self) -> bool:
        """May its peer be silent? It is not read from, or has much to take before it comes to a Ping; whether it
        takes that is watched anyway."""
        return self.full or not self._reading

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        if self._first:
            self.write(self._first)
            self._first = b""
        self._balance()

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if len(data) >= PIECE:
            self._rest()
        peer = self.peer
        if peer is not None:
            try:
                flowing, data = self.flow(data)
            except Exception as error:
                self._failed(error)
                return
            if flowing:
                peer.write(flowing)
            if not data:
                return
        self.receive(data)

    def count_from(self, received: int) -> None:
        """The handshake is over: what it took does not count, but for bytes behind it."""
        self.received, self.sent = received, 0

    def eof_received(self) -> bool:
        self.drop()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.cause = exc
        self._stop_cut()
        if self._transport is not None:
            self._transport, self.full = None, False
            self.lost()

    def pause_writing(self) -> None:
        self.full = True
        if self._open:
            self._watch_stall()
        self._balance()

    def resume_writing(self) -> None:
        self.full = False
        if self._open:
            self._stop_cut()
        self._balance()

    def write(self, data: bytes) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing():
            self.sent += len(data)
            transport.write(data)

    def read(self, wanted: bool) -> None:
        """Take bytes from the peer, or let them wait."""
        if self._transport is None or wanted == self._reading or not self._open:
            return
        self._reading = wanted
        if wanted and not self._resting:
            self._transport.resume_reading()
        elif not wanted:
            self._transport.pause_reading()
            if not self._in_pieces:  # from now on, since it costs a little and most peers are never held back
                self._in_pieces = True
                self._transport.set_protocol(_Pieces(self))

    def _rest(self) -> None:
        """Read no more in this turn of the loop: libuv reads up to 32 times in a row from a peer that floods."""
        if self._transport is not None and self._open and not self._resting:
            self._resting = True
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._resting = False
        if self._transport is not None and self._open and self._reading:
            self._transport.resume_reading()

    def drop(self) -> None:
        """End the connection: what was written is sent first, within LINGER seconds."""
        if self._transport is not None and self._open:
            self._cut_in(relay.LINGER, self.abort)
            self._transport.close()

    def give_up(self, fate: Fate) -> None:
        """End the connection at once, because its peer does not do its part."""
        self.fate = fate
        self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def forget(self) -> None:
        """It is over: its session is not kept by it, since whole messages may hang on it until garbage is collected."""
        self.receive, self.lost, self._balance, self._failed = _nothing, _nothing, _nothing, _nothing
        self.flow, self.peer = _nothing_flows, None

    @property
    def _open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    # -- a peer that takes nothing -----------------------------------------------------------------------------

    def _watch_stall(self) -> None:
        self._taken, self._idle_looks = self._taken_now(), 0
        self._cut_in(self._stall / LOOKS, self._look)

    def _look(self) -> None:
        if self._taken_now() > self._taken:  # slow, but a message may be large
            self._watch_stall()
        elif self._idle_looks + 1 == LOOKS:
            self.give_up("stalled")
        else:
            self._idle_looks += 1
            self._cut_in(self._stall / LOOKS, self._look)

    def _taken_now(self) -> int:
        """A number that grows when the peer takes something. With TLS, what was encrypted may wait out of our sight:
        the kernel knows better."""
        if self._transport is None:
            return 0
        return self.sent - self.waiting + _acknowledged(self._transport.get_extra_info("socket"))

    def _cut_in(self, seconds: float, cut: Callable[[], None]) -> None:
        self._stop_cut()
        self._cut = FairTimer(asyncio.get_running_loop(), seconds, cut)

    def _stop_cut(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None


def _nothing(*_: object) -> None:
    """What a leg does once it is over."""


def _nothing_flows(data: bytes) -> tuple[bytes, bytes]:
    """All is for `receive`."""
    return b"", data


class _Pieces(asyncio.BufferedProtocol):
    """Stands before a leg, which then gets no more than PIECE bytes at once."""

    _buffer = memoryview(bytearray(PIECE))  # one for all: what comes is taken out at once

    def __init__(self, leg: Leg) -> None:
        self._leg = leg

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._leg.data_received(bytes(self._buffer[:nbytes]))

    def eof_received(self) -> bool:
        return self._leg.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leg.connection_lost(exc)

    def pause_writing(self) -> None:
        self._leg.pause_writing()

    def resume_writing(self) -> None:
        self._leg.resume_writing()


class _Socket(Protocol):
    def getsockopt(self, level: int, name: int, size: int, /) -> bytes: ...


_BYTES_ACKED = slice(120, 128)
"""Where `tcpi_bytes_acked` is in Linux's `struct tcp_info` (include/uapi/linux/tcp.h)."""


def _acknowledged(sock: _Socket) -> int:
    """Bytes that the peer's kernel has confirmed; 0 where ours does not say."""
    option: int | None = getattr(socket, "TCP_INFO", None)
    if option is None:
        return 0
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, option, _BYTES_ACKED.stop)
    except OSError:
        return 0
    return int.from_bytes(info[_BYTES_ACKED], sys.byteorder)
