"""A WebSocket of a Passthrough path: the client's handshake goes upstream, the upstream's answer comes back, and then
both connections are joined, compression and all. Frames are never looked at."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response
from websockets.uri import parse_uri

from dataplane.errors import Refusal
from dataplane.exchange import Exchange
from dataplane.faults import Fault, of_status
from dataplane.http import client as http
from dataplane.http import headers
from dataplane.http.handover import SWITCHED, take_over
from dataplane.http.message import Request
from dataplane.http.splice import Splice
from dataplane.services import Services
from dataplane.upstreams.choose import Destination
from dataplane.upstreams.connect import dial
from dataplane.upstreams.pools import Lease
from dataplane.upstreams.request import address, response_headers, subprotocols, upstream_headers
from dataplane.upstreams.send import check_credential
from dataplane.upstreams.tls_failures import lost_by

_HANDSHAKE = ("sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions")
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |\r)")
_END = b"\r\n\r\n"


async def serve(services: Services, request: Request, exchange: Exchange, splice: Splice) -> http.Answer:
    """Serve one connection, until it is joined by `splice`. Raises Refusal, ClientGone."""
    with http.while_connected(request):
        destination, (transport, incoming, refused) = await _opened(services, exchange, splice)
        try:
            if refused is not None:
                return await _relay_refusal(services, request, exchange, destination, refused)
            await splice.prepare(exchange.snapshot)
        except BaseException:
            transport.abort()
            raise
    return _join(splice, request, exchange, destination, transport, incoming)


Upstream = tuple[asyncio.Transport, "Incoming", Response | None]
"""A connection on which a handshake was answered: how, if it was not by a 101."""


async def _opened(services: Services, exchange: Exchange, splice: Splice) -> tuple[Destination, Upstream]:
    """The first provider that answers 101, or the last one's answer. Raises the Refusal of the last."""
    tries = services.pools.any(exchange, session=True)
    lease: Lease = tries.first()
    following: Lease | None
    while True:
        splice.lease = lease
        try:
            upstream = await _ask(services, exchange, lease.destination)
            fault = _fault(services, lease.destination, upstream[2])
        except Refusal as refusal:
            following = tries.after(lease, refusal)
        else:
            if fault is None:
                lease.succeeded()
                return lease.destination, upstream
            following = tries.instead(lease, fault, "It answered a handshake with an error.")
            if following is None:
                return lease.destination, upstream
        lease.leave()
        lease = following


def _fault(services: Services, destination: Destination, refused: Response | None) -> Fault | None:
    """What an answer that is no 101 says of the provider. Raises Refusal upstream_credential_rejected."""
    if refused is None:
        return None
    check_credential(destination, refused.status_code)
    own = destination.provider.credential.kind != "passthrough"
    return of_status(refused.status_code, refused.headers.raw_items(), services.pools.now(), own=own)


async def _ask(services: Services, exchange: Exchange, destination: Destination) -> Upstream:
    """One provider's answer to the handshake; a connection that it refused is closed. Raises Refusal."""
    url = address(destination.provider, exchange.path, exchange.query)
    host = urlsplit(url).hostname or ""
    head = _request_head(url, upstream_headers(exchange, destination, _handshake(exchange, destination)))
    transport, incoming = await dial(
        url,
        Incoming,
        reach=exchange.reach(destination.provider),
        rand=services.rand,
        addresses=services.addresses,
        files=services.files,
        timeout=exchange.backend.timeouts.connect,
        tls=services.tls,
        egress=services.egress,
    )
    try:
        transport.write(head)
        async with asyncio.timeout(exchange.backend.timeouts.handshake):
            if await incoming.status(services.limits.head) == SWITCHED:
                transport.pause_reading()
                return transport, incoming, None
            refused = await incoming.refused(url)
    except TimeoutError:
        transport.abort()
        seconds = exchange.backend.timeouts.handshake
        raise Refusal("upstream_timeout", f"{host} did not answer the handshake within {seconds:g} s.") from None
    except ValueError as error:
        transport.abort()
        raise Refusal("upstream_protocol_error", f"{host} {error}.") from None
    except BaseException:
        transport.abort()
        raise
    transport.close()
    return transport, incoming, refused


class Incoming(asyncio.Protocol):
    """What an upstream sends until it is joined with a client."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.answered = 0
        """The status, once it is known."""
        self._ended = False
        self._why = "closed the connection"
        self._more = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.data += data
        self._more.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._why = lost_by(exc) or self._why
        self._more.set()

    async def status(self, limit: int) -> int:
        """Wait for the head of the answer, which then begins `data`. Raises ValueError."""
        while True:
            while (end := self.data.find(_END)) < 0:
                if self._ended or len(self.data) > limit:
                    raise ValueError(self._why if self._ended else "sent an endless head")
                await self._wait()
            match = _STATUS.match(self.data)
            if not match:
                raise ValueError("answered something that is not HTTP/1.1")
            status = int(match[1])
            if status >= 200 or status == SWITCHED:
                self.answered = status
                return status
            del self.data[: end + len(_END)]

    async def refused(self, url: str) -> Response:
        """The whole answer that is no 101. Raises ValueError."""
        parser = ClientProtocol(parse_uri(re.sub("^http", "ws", url)))
        while True:
            data, self.data = bytes(self.data), bytearray()
            if data:
                parser.receive_data(data)
            if self._ended:
                parser.receive_eof()
            if isinstance(parser.handshake_exc, InvalidStatus):
                return parser.handshake_exc.response
            if parser.handshake_exc or self._ended:
                raise ValueError("answered something that is not HTTP/1.1, or too long")
            await self._wait()

    async def _wait(self) -> None:
        self._more.clear()
        await self._more.wait()


def _handshake(exchange: Exchange, destination: Destination) -> Iterator[tuple[str, str]]:
    yield "connection", "Upgrade"
    yield "upgrade", "websocket"
    for name in _HANDSHAKE:
        for value in exchange.headers.all(name):
            yield name, value
    offered = ", ".join(exchange.headers.all("sec-websocket-protocol"))
    if kept := subprotocols(offered, credential=destination.provider.credential.kind):
        yield "sec-websocket-protocol", kept


def _request_head(url: str, fields: headers.Fields) -> bytes:
    parts = urlsplit(url)
    target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    host = parts.netloc.rpartition("@")[2]
    lines = [f"GET {target} HTTP/1.1", f"host: {host}", *(f"{name}: {value}" for name, value in fields)]
    return _encoded(lines)


async def _relay_refusal(
    services: Services,
    request: Request,
    exchange: Exchange,
    destination: Destination,
    response: Response,
) -> http.Answer:
    fields = response_headers(exchange, destination, response.headers.raw_items())
    writer = http.Writer(
        request,
        services.limits,
        response.status_code,
        [*fields, (http.REQUEST_ID, exchange.id)],
        reason=response.reason_phrase,
        length=len(response.body),
    )
    return await writer.end(bytes(response.body))


def _join(
    splice: Splice,
    request: Request,
    exchange: Exchange,
    destination: Destination,
    transport: asyncio.Transport,
    incoming: Incoming,
) -> http.Answer:
    """No await from here on: bytes that either side has sent already go over in order. Raises Refusal, ClientGone;
    then the upstream's connection is gone."""
    end = incoming.data.index(_END) + len(_END)
    head, rest = bytes(incoming.data[:end]), bytes(incoming.data[end:])
    try:
        splice.check(exchange.snapshot)
        head = _changed(exchange, destination, head)
    except BaseException:
        transport.abort()
        raise
    transport.set_protocol(splice.upstream)
    splice.upstream.connection_made(transport)
    try:
        answer = take_over(request, head, splice.client)
    except http.ClientGone:
        splice.cut()
        raise
    splice.begin()
    if not splice.client.full:
        transport.resume_reading()
    if rest:  # last: the client may be slow to take it, and have the upstream held back again
        splice.upstream.data_received(rest)
    return answer


def _changed(exchange: Exchange, destination: Destination, head: bytes) -> bytes:
    """The upstream's 101 as it came, unless a Policy changes its fields, or limits the caller."""
    changes = exchange.transformations(destination.provider.transformations)
    budget = exchange.budget
    if budget is None and not any(change.response != headers.NO_CHANGES for change in changes):
        return head
    first, *lines = head.removesuffix(_END).decode("utf-8", "surrogateescape").split("\r\n")
    fields = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    if budget is not None:
        fields = headers.limited(fields, budget.headers())
    resolve = exchange.resolver(provider=destination.provider.name)
    for change in changes:
        fields = headers.transformed(fields, change.response, resolve)
    return _encoded([first, *(f"{name}: {value}" for name, value in fields)])


def _encoded(lines: Iterable[str]) -> bytes:
    """A head, from its lines. Bytes that are no UTF-8 stay what they were."""
    return b"\r\n".join(line.encode("utf-8", "surrogateescape") for line in lines) + _END
