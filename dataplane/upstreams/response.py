"""An upstream's answer: its head, and its body as it comes."""

from __future__ import annotations

from collections.abc import Callable

from dataplane.upstreams.connection import Connection, PassOn
from dataplane.upstreams.parser import Head


class Response:
    """Iterate over the body's pieces; raises `connection.Lost` where it breaks off. Close it in any case: whoever has
    read it to its end has already given the connection back."""

    __slots__ = (
        "_connection",
        "_give_back",
        "_idle",
        "content_type",
        "fields",
        "length",
        "pass_on",
        "reason",
        "status",
    )

    def __init__(
        self, head: Head, connection: Connection, idle: float, give_back: Callable[[Connection], None]
    ) -> None:
        """`idle`: seconds that the next piece is waited for."""
        self.status, self.reason, self.fields = head.status, head.reason, head.fields
        self.content_type, self.length = head.content_type, head.length
        self.pass_on: PassOn | None = None
        """Gets pieces while the next one is waited for."""
        self._connection: Connection | None = connection
        self._idle, self._give_back = idle, give_back

    @property
    def arrived(self) -> bool:
        """Is some of the body here, or its end?"""
        return self._connection is None or self._connection.arrived

    @property
    def over(self) -> bool:
        """Has all of the body been read?"""
        return self._connection is None

    def whole(self) -> bytes | None:
        """The body, if all of it came with its head, as most answers do that are no stream; it is read then."""
        connection = self._connection
        if connection is None or not connection.ended:
            return None
        data = connection.taken()
        self.close()
        return data

    def __aiter__(self) -> Response:
        return self

    async def __anext__(self) -> bytes:
        connection = self._connection
        if connection is None:
            raise StopAsyncIteration
        data = await connection.read(self._idle, self.pass_on)
        if connection.over:
            self.close()
        if not data:
            raise StopAsyncIteration
        return data

    def close(self) -> None:
        """Give the connection back, which is closed unless the answer is whole."""
        if self._connection is not None:
            self._give_back(self._connection)
            self._connection = None
