"""One WebSocket as messages: who awaits the next one holds its peer back meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Protocol, Side

from dataplane.process.room import Holder, Room
from dataplane.realtime.frames import BadClose, Close, parse_close
from dataplane.realtime.legs import Leg
from dataplane.realtime.relay import LINGER

AHEAD = 16
"""Messages that are read before they are asked for, so that a Close behind them is seen."""
AHEAD_BYTES = 64 * 1024
"""Bytes of them, from which on no more is read."""


class Message(NamedTuple):
    data: bytes
    binary: bool


class Closed(Exception):
    """The connection is over: by this Close, or without one (None) where `breach` says what the peer did wrong, if
    anything."""

    def __init__(self, close: Close | None, breach: str = "", code: int = 1006) -> None:
        super().__init__(breach or "closed")
        self.close = close
        self.breach = breach
        self.code = code
        """Of the Close that was sent to a peer that broke the rules."""


class WebSocket:
    """`side`: which end this is. `gone` is called once, as soon as the connection is known to be over; messages that
    came before may still be received."""

    def __init__(
        self,
        side: Side,
        room: Room,
        *,
        max_message: int,
        max_fragments: int,
        stall: float,
        gone: Callable[[Closed], None] | None = None,
    ) -> None:
        self.leg = Leg(self._read, self._lost, self._balance, stall=stall)
        self.messages = 0
        """That came."""
        self.over: Closed | None = None
        self._protocol = Protocol(side, state=OPEN, max_size=max_message)
        self._max_fragments = max_fragments
        self._holder = Holder(room, self._give_up)
        self._gone = gone
        self._waiting: deque[Message] = deque()
        self._parts: list[bytes] = []
        self._size = 0
        """Bytes of them."""
        self._finishing = False
        """Is nothing wanted of the peer any more but its Close?"""
        self._binary = False
        """Is the message that is open?"""
        self._more = asyncio.Event()
        """Something came, or the connection is over."""
        self._drained = asyncio.Event()
        """The peer takes what is sent."""
        self._drained.set()

    async def receive(self) -> Message:
        """The next message. Raises Closed."""
        while not self._waiting:
            if self.over is not None:
                raise self.over
            self._more.clear()
            await self._more.wait()
        message = self._waiting.popleft()
        self._balance()
        return message

    async def send(self, text: bytes) -> None:
        """A text message; return when there is room for another. To a connection that is over, nothing is sent."""
        self.say(text)
        await self._drained.wait()

    def say(self, text: bytes) -> None:
        """The same without waiting."""
        if self.over is None:
            self._protocol.send_text(text)
            self._flush()

    def ping(self) -> None:
        if self.over is None:
            self._protocol.send_ping(b"")
            self._flush()

    async def finish(self, close: Close) -> None:
        """Say Close, wait for the peer's, and end the connection; LINGER seconds for each."""
        if self.over is None:
            self._finishing = True
            self._waiting.clear()
            if payload := close.payload():
                self._protocol.send_close(close.code, payload[2:].decode())
            else:
                self._protocol.send_close()
            self._flush()
            self._balance()
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER):
                    while self.over is None:
                        self._more.clear()
                        await self._more.wait()
        self._holder.leave()
        self.leg.drop()

    def abort(self) -> None:
        """End the connection at once, and hold nothing of it any more."""
        self._holder.leave()
        self.leg.abort()

    # -- what comes ----------------------------------------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        if self.over is not None:
            return
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
        self._flush()
        if (exc := self._protocol.parser_exc) is not None:
            sent = self._protocol.close_sent
            too_big = isinstance(exc, PayloadTooBig)
            self._end(Closed(None, "size" if too_big else "protocol", sent.code if sent else 1006))
        self._balance()

    def _take(self, frame: Frame) -> None:
        match frame.opcode:
            case Opcode.TEXT | Opcode.BINARY:
                self._binary = frame.opcode is Opcode.BINARY
                self._keep(bytes(frame.data))
            case Opcode.CONT:
                self._keep(bytes(frame.data))
            case Opcode.CLOSE:
                try:
                    self._end(Closed(parse_close(bytes(frame.data))))
                except BadClose as error:
                    self._end(Closed(None, "protocol", error.code))
                return
            case _:
                return
        if frame.fin:
            self.messages += 1
            if not self._finishing:
                self._waiting.append(Message(b"".join(self._parts), self._binary))
            self._parts, self._size = [], 0
            self._more.set()
        elif len(self._parts) >= self._max_fragments:
            self._protocol.fail(1009, "too many fragments")
            self._end(Closed(None, "fragments", 1009))

    def _keep(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)

    def _lost(self) -> None:
        self._end(Closed(None))
        self.leg.forget()

    def _end(self, closed: Closed) -> None:
        if self.over is None:
            self.over = closed
            self._more.set()
            self._drained.set()
            self._parts, self._size = [], 0
            gone, self._gone = self._gone, None
            if gone is not None:
                gone(closed)

    def _give_up(self, _held: int) -> None:
        """Of all connections, which together hold too much, it holds most. It may be in the middle of a read."""
        asyncio.get_running_loop().call_soon(self._let_go)

    def _let_go(self) -> None:
        if self.over is None:
            self._protocol.fail(1009, "no room")
            self._flush()
            self._end(Closed(None, "room", 1009))

    # -- what goes -----------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self.leg.write(data)

    def _balance(self) -> None:
        held = sum(len(each.data) for each in self._waiting)
        if self.leg.full and self.over is None:
            self._drained.clear()
        else:
            self._drained.set()
        self.leg.read(
            self.over is not None or (not self.leg.full and len(self._waiting) < AHEAD and held < AHEAD_BYTES)
        )
        held += len(self._protocol.reader.buffer) + self._size
        self._holder.hold(held - self._holder.held)
