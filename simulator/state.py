"""What all connections of one simulator share: keys, scenarios, the ledger, and what was received."""

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from aiohttp import web

from simulator.kinds import Kind
from simulator.ledger import Ledger
from simulator.scenarios import Scenarios
from simulator.stored_responses import Shelf

_BODY_KEPT = 64 * 1024  # bytes of each request body, characters of each message
_REQUESTS_KEPT = 10_000
_MESSAGES_KEPT = 1_000


@dataclass
class Received:
    """A request as it came: `path` with its query, undecoded; `headers` in order, names as sent; the
    first 64 KiB of the body (empty for a WebSocket)."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def keep(self, data: bytes) -> None:
        """Remember more of the body."""
        if (room := _BODY_KEPT - len(self.body)) > 0:
            self.body += data[:room]


@dataclass
class State:
    """Shared by all connections; bounded, so that a simulator can run for days."""

    keys: frozenset[str]
    kind: Kind
    scenarios: Scenarios
    ledger: Ledger = field(default_factory=Ledger)
    requests: deque[Received] = field(default_factory=lambda: deque(maxlen=_REQUESTS_KEPT))
    messages: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=_MESSAGES_KEPT))
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    shelf: Shelf = field(default_factory=Shelf)
    sessions: int = 0

    def received(self, request: web.Request) -> Received:
        """Remember a request."""
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers]
        entry = Received(request.method, request.raw_path, headers)
        self.requests.append(entry)
        return entry

    def heard(self, session: str, message: str) -> None:
        """Remember a message of a realtime client."""
        self.messages.append((session, message[:_BODY_KEPT]))


STATE = web.AppKey("state", State)
RECEIVED = web.RequestKey("received", Received)
