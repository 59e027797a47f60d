"""An upstream's answer: its head, and its body as it comes."""

from __future__ import annotations

from collections.abc import Callable

from dataplane.upstreams.connection import Connection
from dataplane.upstreams.parser import Head


class Response:
    """Iterate over the body's pieces; raises `connection.Lost` where it breaks off. Close it in any case: whoever has
    read it to its end has already given the connection back."""

    __slots__ = ("_connection", "_give_back", "_idle", "content_type", "fields", "length", "reason", "status")

    def __init__(
        self, head: Head, connection: Connection, idle: float, give_back: Callable[[Connection], None]
    ) -> None:
        """`idle`: seconds that the next piece is waited for."""
        self.status, self.reason, self.fields = head.status, head.reason, head.fields
        self.content_type, self.length = head.content_type, head.length
        self._connection: Connection | None = connection
        self._idle, self._give_back = idle, give_back

    @property
    def arrived(self) -> bool:
        """Is some of the body here, or its end?"""
        return self._connection is None or self._connection.arrived

    def __aiter__(self) -> Response:
        return self

    async def __anext__(self) -> bytes:
        connection = self._connection
        data = await connection.read(self._idle) if connection is not None else b""
        if not data:
            self.close()
            raise StopAsyncIteration
        return data

    def close(self) -> None:
        """Give the connection back, which is closed unless the answer is whole."""
        if self._connection is not None:
            self._give_back(self._connection)
            self._connection = None
