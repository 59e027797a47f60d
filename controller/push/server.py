"""The server that gateways dial for their tables: `GET wss://…/v1/tables` with the token of their pod.

A connection is one task of the server, with two of its own: one hears, one says. What is said is decided by `channel`;
a gateway that takes long is offered the newest table when it is done, and no other connection waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import structlog
from websockets.asyncio.server import Server as Listener
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response

from controller.push import door
from controller.push.channel import Channel, Ended, Holding
from controller.push.door import KnowsPod, Pod, Refusal
from controller.push.observing import Observer, Unobserved
from controller.push.publication import Publication
from controller.push.reviews import Reviews, Unavailable
from controller.push.sparing import Sparing
from dataplane.table import messages
from dataplane.table.messages import HealthMessage

CONNECTIONS: Final = 1000
"""Gateways at a time."""
KNOCKING: Final = 200
"""Connections beside those that have not said yet who they are, or are being turned away."""
OPENING: Final = 15.0
"""Seconds for the handshakes, of which the review of the token is one part."""
PING: Final = 20.0
"""Seconds between pings, and for the answer to one."""
SENDING: Final = 60.0
"""Seconds for one message: who takes longer is not read from."""
CLOSING: Final = 5.0
"""Seconds for the answer to a Close frame."""

log = structlog.get_logger("tidegate.push")

# At DEBUG it logs headers and messages: tokens and secrets. It never may.
_websockets = logging.getLogger("tidegate.push.websockets")
_websockets.setLevel(logging.WARNING)


def _no_news() -> None:
    """Nobody wants to know."""


@dataclass(slots=True)
class Server:
    """Make it in the loop that it runs on.

    `account`: the ServiceAccount of gateways, `NAMESPACE:NAME`. `tls`: see `tls.show`, which may be called while it
    serves. `news`: is called when what some gateway holds has changed, see `holdings`; it must not wait."""

    reviews: Reviews
    account: str
    knows: KnowsPod
    tls: ssl.SSLContext
    news: Callable[[], None] = _no_news
    observer: Observer = field(default_factory=Unobserved)
    clock: Callable[[], float] = time.monotonic
    _publication: Publication | None = None
    _conversations: dict[Pod, _Conversation] = field(default_factory=dict)
    _listener: Listener | None = None
    _sparing: Sparing = field(default_factory=Sparing)

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port. Until `publish` gateways are told to come again. Raises OSError."""
        self._listener = await serve(
            self._talk,
            host,
            port,
            ssl=self.tls,
            compression=None,
            process_request=self._at_the_door,
            server_header=None,
            open_timeout=OPENING,
            ping_interval=PING,
            ping_timeout=PING,
            close_timeout=CLOSING,
            max_size=messages.LARGEST_ASKED,
            max_queue=4,
            logger=_websockets,
            create_connection=_Connection,
        )
        return int(self._listener.sockets[0].getsockname()[1])

    def publish(self, publication: Publication) -> None:
        """Offer this to all gateways, now and when they come."""
        self._publication = publication
        for pod, conversation in self._conversations.items():
            if self.knows(*pod):
                conversation.publish(publication)
            else:
                conversation.end("the pod is no gateway of this install any more")

    @property
    def holdings(self) -> Mapping[Pod, Holding]:
        """What each gateway that is connected says that it serves."""
        return {
            pod: conversation.channel.holding for pod, conversation in self._conversations.items() if conversation.met
        }

    @property
    def health(self) -> Mapping[Pod, HealthMessage]:
        """What each gateway that is connected says of providers. `news` is not called for it: it may change all the
        time, and nobody waits for it."""
        said = ((pod, conversation.channel.health) for pod, conversation in self._conversations.items())
        return {pod: health for pod, health in said if health is not None}

    async def stop(self) -> None:
        """Close all connections with 1001, and stop listening."""
        if self._listener:
            self._listener.close(code=CloseCode.GOING_AWAY, reason="the controller stops")
            await self._listener.wait_closed()

    async def _at_the_door(self, connection: ServerConnection, request: Request) -> Response | None:
        assert isinstance(connection, _Connection)
        answer = await self._judged(request)
        if isinstance(answer, Pod):
            connection.pod = answer
            return None
        self.observer.turned_away(answer.status)
        if answer.status != HTTPStatus.SERVICE_UNAVAILABLE:
            self._tell("gateway turned away", answer.reason, status=answer.status)
        response = connection.respond(answer.status, f"{answer.reason}\n")
        if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
            response.headers["Retry-After"] = "1"
        if answer.status == HTTPStatus.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = "Bearer"
        return response

    async def _judged(self, request: Request) -> Pod | Refusal:
        if request.path.partition("?")[0] != messages.PATH:
            return Refusal(404, f"there is only {messages.PATH}")
        if self._publication is None:
            return Refusal(503, "this controller has not read the whole cluster yet: dial again")
        if len(self._conversations) >= CONNECTIONS:
            return Refusal(503, f"{CONNECTIONS} gateways are connected, which is the most: dial again")
        headers = request.headers.get_all("Authorization")
        token = door.token_of(headers[0]) if len(headers) == 1 else ""
        if not token:
            return Refusal(401, "send the token of the pod: Authorization: Bearer …")
        try:
            review = await self.reviews.review(token)
        except Unavailable as error:
            self._tell("gateway not reviewed", str(error))
            return Refusal(503, f"{error}: dial again")
        return door.admitted(review, self.account, self.knows)

    def _tell(self, event: str, reason: str, **more: int) -> None:
        """Whoever dials can have it said, and as often as he likes."""
        if (left_out := self._sparing.left_out(self.clock())) is not None:
            log.warning(event, reason=reason, **more, **({"left_out_before": left_out} if left_out else {}))

    async def _talk(self, connection: ServerConnection) -> None:
        assert isinstance(connection, _Connection)
        assert self._publication  # nobody comes in before
        pod = connection.pod
        conversation = _Conversation(connection, self.observer, self.news, self.clock)
        if before := self._conversations.pop(pod, None):
            before.end("the pod has dialled again")
        self._conversations[pod] = conversation
        self._count()
        conversation.publish(self._publication)
        fault = await conversation.held()
        if self._conversations.get(pod) is conversation:
            del self._conversations[pod]
        self._count()
        self.observer.ended(bool(fault))
        self.news()
        if fault:
            log.warning("gateway cut off", pod=pod.name, reason=fault)
            await connection.close(CloseCode.POLICY_VIOLATION, fault)

    def _count(self) -> None:
        self.observer.connections(len(self._conversations))


class _Connection(ServerConnection):
    """One that knows whose it is; dropped at once where too many have not said it yet."""

    pod: Pod

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if len(self.server.handler_tasks) > CONNECTIONS + KNOCKING:
            self.transport.abort()


class _Conversation:
    """A channel with its connection."""

    __slots__ = ("_clock", "_connection", "_ended", "_news", "_observer", "_wake", "channel", "met")

    def __init__(
        self,
        connection: ServerConnection,
        observer: Observer,
        news: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self.channel = Channel(clock())
        self.met = False
        """Has the gateway said what it holds?"""
        self._connection = connection
        self._observer = observer
        self._news = news
        self._clock = clock
        self._wake = asyncio.Event()
        self._ended = ""

    def publish(self, publication: Publication) -> None:
        self.channel.publish(publication, self._clock())
        self._wake.set()

    def end(self, reason: str) -> None:
        """Close it, with this reason."""
        self._ended = reason
        self._wake.set()

    async def held(self) -> str:
        """Talk until it ends; returns what the gateway did wrong, empty if it ended well."""
        fault = ""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._hear())
                group.create_task(self._say())
        except* ConnectionClosed:
            pass
        except* TimeoutError:
            fault = f"took no message for {SENDING:g} s"
        except* Ended as ended:
            fault = str(ended.exceptions[0])
        return fault

    async def _hear(self) -> None:
        while True:
            text = await self._connection.recv()
            before = self.channel.holding
            if answer := self.channel.receive(text, self._clock()):
                self._observer.answered(answer)
            if not self.met or self.channel.holding != before:
                self.met = True
                self._news()
            self._wake.set()

    async def _say(self) -> None:
        while True:
            self._wake.clear()
            while not self._ended and (text := self.channel.next_text(self._clock())) is not None:
                async with asyncio.timeout(SENDING):
                    await self._connection.send(text)
                self._observer.sent(len(text))
            if self._ended:
                raise Ended(self._ended)
            due = self.channel.due()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else max(0.0, due - self._clock())):
                    await self._wake.wait()
            self.channel.tick(self._clock())
