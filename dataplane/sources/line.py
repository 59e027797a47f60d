"""One connection with a controller: what is sent on it, and the transfer that it carries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from dataplane.sources.dialling import Failed
from dataplane.sources.transfer import Delivery, Transfer
from dataplane.table import messages
from dataplane.table.messages import BadMessage, FromDataPlane, Offer

WHOLE: Final = 60.0
"""Seconds for all of a table, and for a message to be taken."""
_WAITING: Final = 200
"""Messages that wait to be sent. All are short."""


class Line:
    """`offered` is called with each offer, `delivered` with what came of a transfer."""

    def __init__(
        self,
        connection: ClientConnection,
        offered: Callable[[Offer], None],
        delivered: Callable[[Delivery], None],
    ) -> None:
        self._connection = connection
        self._offered = offered
        self._delivered = delivered
        self._outbox: asyncio.Queue[FromDataPlane] = asyncio.Queue(_WAITING)
        self._transfer: Transfer | None = None
        self._patience: asyncio.Timeout | None = None
        self.heard = False
        """Has it offered anything?"""

    @property
    def fetching(self) -> bool:
        """Whether a table is on its way."""
        return self._transfer is not None

    async def run(self) -> None:
        """Until it ends. Raises Failed, which says why."""
        sending = asyncio.create_task(self._send())
        try:
            await self._receive()
        except BadMessage as error:
            await self._connection.close(CloseCode.PROTOCOL_ERROR, str(error)[:100])
            raise Failed(f"it said what nobody understands: {error}") from None
        except TimeoutError:
            raise Failed(f"a table did not come whole within {WHOLE:g} s") from None
        except ConnectionClosed as closed:
            raise Failed(_ended(closed)) from None
        finally:
            self._patience = None
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            self.cut()

    def send(self, message: FromDataPlane) -> None:
        """As soon as there is room. A controller that takes nothing is cut off."""
        try:
            self._outbox.put_nowait(message)
        except asyncio.QueueFull:
            self.cut()

    def fetch(self, transfer: Transfer) -> None:
        """Begin with it. What was being fetched is given up."""
        self._transfer = transfer
        if self._patience:
            self._patience.reschedule(asyncio.get_running_loop().time() + WHOLE)
        self._ask()

    def cut(self) -> None:
        """End it at once."""
        self._connection.transport.abort()

    def drop(self) -> None:
        """End it, and give up what was being fetched."""
        self._transfer = None
        self.cut()

    def _ask(self) -> None:
        assert self._transfer
        if want := self._transfer.want():
            self.send(want)
            return
        transfer, self._transfer = self._transfer, None
        if self._patience:
            self._patience.reschedule(None)
        self._delivered(transfer.delivery())

    async def _receive(self) -> None:
        async with asyncio.timeout(None) as self._patience:
            while True:
                message = messages.read_by_data_plane(await self._connection.recv())
                if isinstance(message, Offer):
                    if self._transfer and self._transfer.table != message.table:
                        self._transfer = None  # it went on to another
                    self._offered(message)
                elif self._transfer is None:
                    raise BadMessage(f"{message.type}, and nothing was asked for")
                elif self._transfer.take(message):
                    self._ask()
                await asyncio.sleep(0)  # the next message may be there already

    async def _send(self) -> None:
        try:
            while True:
                text = messages.encode(await self._outbox.get())
                async with asyncio.timeout(WHOLE):
                    await self._connection.send(text)
        except (ConnectionClosed, TimeoutError):
            self.cut()


def _ended(closed: ConnectionClosed) -> str:
    """How the connection did."""
    if closed.sent and not closed.rcvd_then_sent:
        return f"the connection was closed here ({closed.sent})"
    return f"it closed the connection ({closed.rcvd})" if closed.rcvd else "the connection was lost"
