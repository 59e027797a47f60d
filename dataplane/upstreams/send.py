"""Send one HTTP request upstream and wait for the head of its answer.

A pooled connection may be closed by its server in the moment in which it is used, which says nothing of what became of
the request. It is sent once more, on a fresh connection, where all of this holds: the connection had served before, not
a byte of an answer came, the close came within about a round trip, and the request is in memory. That is how a server
looks that ends idle connections and read no more (RFC 9112 §9.3.1, §9.6).

It is likely, and no proof. RFC 9110 §9.2.2 has a proxy repeat what is idempotent and nothing else; nginx repeats no
POST that was sent, unless told `proxy_next_upstream non_idempotent`; Envoy repeats nothing unless told, and any request
without an answer under `retry_on: reset`. Here a POST is repeated too: almost every request is one, and clients' SDKs
repeat it on a 502, knowing less than is known here. At worst, a provider that broke down just when it had begun makes
an answer twice.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from dataplane.errors import Refusal
from dataplane.faults import CREDENTIAL, FORBIDDEN, LOST
from dataplane.http import wire
from dataplane.http.headers import Fields
from dataplane.services import Services
from dataplane.table import Timeouts
from dataplane.upstreams.choose import Destination
from dataplane.upstreams.connection import Connection, Lost, Request
from dataplane.upstreams.parser import BadAnswer
from dataplane.upstreams.pool import Pool
from dataplane.upstreams.response import Response
from dataplane.upstreams.target import BY_NAME, Origin, Reach, parted

_LARGE = 64 * 1024
"""Bytes of a body that are copied, to go out with the head in one write."""
_BODILESS = frozenset(["GET", "HEAD", "OPTIONS", "TRACE"])
"""Methods whose requests need not say that they have no body (RFC 9110 §8.6)."""


async def send(
    services: Services,
    destination: Destination,
    timeouts: Timeouts,
    method: str,
    url: str,
    fields: Fields,
    body: bytes | AsyncIterator[bytes] | None,
    *,
    reach: Reach,
) -> Response:
    """The upstream's answer, its body unread. Close it.

    A body that is not yet there may take as long as it comes; the time for the answer runs from its last piece. It is
    sent in chunks, unless `fields` has its length.
    Raises Refusal upstream_unreachable, upstream_unavailable, upstream_address_refused, upstream_timeout,
    upstream_protocol_error, upstream_credential_rejected, overloaded; and what the body raises."""
    origin, target = parted(url)
    if reach is not BY_NAME:
        origin = origin._replace(reach=reach)
    host = origin.host
    line = f"{method} {target} HTTP/1.1"
    try:
        response = await exchanged(services.pool, origin, timeouts, line, [("host", origin.authority), *fields], body)
    except TimeoutError:
        raise Refusal("upstream_timeout", f"{host} did not answer within {timeouts.response:g} s.") from None
    except BadAnswer as error:
        raise Refusal("upstream_protocol_error", f"{host} {error}.") from None
    except Lost as error:
        raise Refusal("upstream_unreachable", f"{host} {error}.", fault=LOST) from None
    try:
        check_credential(destination, response.status)
    except Refusal:
        response.close()
        raise
    return response


async def exchanged(
    pool: Pool,
    origin: Origin,
    timeouts: Timeouts,
    line: str,
    fields: Fields,
    body: bytes | AsyncIterator[bytes] | None,
) -> Response:
    """The answer of any server, its body unread. Close it. `line`: method, target and version; `fields` with Host.

    Raises what `pool.fresh`, `Connection.ask` and the body raise."""
    if body is None or isinstance(body, bytes):
        request = _whole(line, fields, body)
        connection = pool.idle(origin) or await _fresh(pool, origin, timeouts.connect)
    else:
        connection, request = await _begun(pool, origin, timeouts.connect, line, fields, body)
    try:
        head = await connection.ask(request, timeouts.response)
    except Lost as lost:
        if not lost.crossed or not request.repeatable:
            raise
        connection = await pool.fresh(origin, timeouts.connect)
        head = await connection.ask(request, timeouts.response)
    return Response(head, connection, timeouts.idle, pool.give_back)


async def _fresh(pool: Pool, origin: Origin, seconds: float) -> Connection:
    """A connection before anything was sent."""
    try:
        return await pool.fresh(origin, seconds)
    except Refusal as refusal:
        refusal.unsent = True
        raise


def _whole(line: str, fields: Fields, body: bytes | None) -> Request:
    method = line.partition(" ")[0]
    if body is None and method in _BODILESS:
        return Request(wire.head(line, fields), head_only=method == "HEAD")
    body = body or b""
    head = wire.head(line, [*fields, ("content-length", str(len(body)))])
    return Request(head, body) if len(body) > _LARGE else Request(head + body)


async def _begun(
    pool: Pool, origin: Origin, connect: float, line: str, fields: Fields, body: AsyncIterator[bytes]
) -> tuple[Connection, Request]:
    """A connection, and a request of whose body the first piece is here. The client is not asked for it before there
    is a connection."""
    connection = pool.idle(origin) or await _fresh(pool, origin, connect)
    try:
        request = _streamed(line, fields, await anext(body, b""), body)
        if request.rest is None and isinstance(body, AsyncGenerator):
            await body.aclose()
    except BaseException:
        connection.abort()
        raise
    if not connection.open:  # it was closed meanwhile: nothing had been sent
        connection = await pool.fresh(origin, connect)
    return connection, request


def _streamed(line: str, fields: Fields, first: bytes, body: AsyncIterator[bytes]) -> Request:
    """With the first piece, which is often all of it; an empty one is the end."""
    length = next((int(value) for name, value in fields if name == "content-length"), None)
    head_only = line.startswith("HEAD ")
    if length is not None:
        rest = None if len(first) == length else body
        return Request(wire.head(line, fields) + first, rest, head_only=head_only)
    head = wire.head(line, [*fields, ("transfer-encoding", "chunked")])
    if not first:
        return Request(head + wire.LAST_CHUNK, head_only=head_only)
    return Request(head + wire.chunk(first), body, chunked=True, head_only=head_only)


def check_credential(destination: Destination, status: int) -> None:
    """An upstream's 401 or 403 is about our credential, where it was ours, and so is a 401 where there was none; the
    client can do nothing about it.

    Raises Refusal upstream_credential_rejected."""
    provider = destination.provider
    if status == 401 and provider.credential.kind == "none":
        raise Refusal("upstream_credential_rejected", keyless(provider.name), fault=CREDENTIAL)
    if status in (401, 403) and provider.credential.kind == "secret":
        raise Refusal(
            "upstream_credential_rejected",
            f"Provider {provider.name} answered {status} to the gateway's own credential. Whoever runs "
            "the gateway must check the provider's Secret.",
            fault=CREDENTIAL if status == 401 else FORBIDDEN,
        )


def keyless(name: str) -> str:
    """What is said of a provider that was shown no credential, and wants one."""
    return (
        f"Provider {name} wants a key, and gets none: its `auth` in the Backend says neither secretRef nor "
        "passthrough. Whoever runs the gateway must set it."
    )
