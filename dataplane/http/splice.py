"""Two connections joined: what comes from one goes to the other, as it is. Nothing is read, nothing is kept.

Back-pressure is the transports' own: where one cannot write, the other is not read. When one ends, the other is
closed once it has sent what it still holds, or aborted if it does not get rid of that in time.
"""

from __future__ import annotations

import asyncio
from typing import cast

FLUSH_S = 10.0


class Leg(asyncio.Protocol):
    """One of the two connections. Make them with `pair`."""

    def __init__(self, splices: set[Leg]) -> None:
        self.peer: Leg = self
        self._transport: asyncio.Transport | None = None
        self._abort: asyncio.TimerHandle | None = None
        self._splices = splices

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._splices.add(self)

    def data_received(self, data: bytes) -> None:
        self.peer.send(data)

    feed = data_received

    def send(self, data: bytes) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.write(data)

    def pause_writing(self) -> None:
        if transport := self.peer.open():
            transport.pause_reading()

    def resume_writing(self) -> None:
        if transport := self.peer.open():
            transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._splices.discard(self)
        self._transport = None
        if self._abort:
            self._abort.cancel()
        self.peer.close()

    def open(self) -> asyncio.Transport | None:
        """The transport, while it can be used."""
        return self._transport if self._transport and not self._transport.is_closing() else None

    def close(self) -> None:
        """Send what is held, then close; give up after `FLUSH_S`."""
        if transport := self.open():
            transport.close()
            self._abort = asyncio.get_running_loop().call_later(FLUSH_S, transport.abort)

    def abort(self) -> None:
        if self._transport:
            self._transport.abort()


def pair(splices: set[Leg]) -> tuple[Leg, Leg]:
    """Two legs, joined before either has a connection. Live ones are in `splices`, for whoever must end them."""
    one, other = Leg(splices), Leg(splices)
    one.peer, other.peer = other, one
    return one, other
