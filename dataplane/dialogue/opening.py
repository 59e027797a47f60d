"""How a connection finds its provider: its first message is held until one has taken it."""

from __future__ import annotations

import asyncio

from websockets.protocol import CLIENT

from dataplane import faults
from dataplane.dialogue import messages
from dataplane.dialogue.messages import Asked
from dataplane.dialogue.socket import Closed, Message, WebSocket
from dataplane.errors import Refusal
from dataplane.exchange import Exchange
from dataplane.http import responses
from dataplane.http.turn import Turn
from dataplane.realtime.handshake import upgraded
from dataplane.services import Services
from dataplane.upstreams.choose import Destination
from dataplane.upstreams.pools import Lease, Tries
from dataplane.upstreams.request import address, upstream_headers
from dataplane.upstreams.send import check_credential


async def opened(
    services: Services, exchange: Exchange, tries: Tries, lease: Lease, asked: Asked, turn: Turn
) -> tuple[Lease, WebSocket, Message]:
    """The first provider that takes the message, a connection to it, and its first event. Raises the Refusal of the
    last; all that were asked are left then."""
    while True:
        try:
            if turn.destination is not lease.destination:
                turn.move(lease.destination)
            socket, event, fault = await _asked(services, exchange, lease.destination, asked)
            following = tries.instead(lease, fault, "It answered the first message with an error.") if fault else None
            if following is None:
                if fault is None:
                    lease.succeeded()
                return lease, socket, event
            socket.abort()
        except Refusal as refusal:
            try:
                following = tries.after(lease, refusal, repeatable=refusal.unsent or refusal.code != "upstream_timeout")
            except Refusal:
                lease.leave()
                raise
        except BaseException:
            lease.leave()
            raise
        lease.leave()
        lease = following


async def _asked(
    services: Services, exchange: Exchange, to: Destination, asked: Asked
) -> tuple[WebSocket, Message, faults.Fault | None]:
    """A connection, the first event on it, and whether that says that something is wrong with the provider. Raises
    Refusal."""
    limits = exchange.session_limits()
    socket = WebSocket(
        CLIENT,
        services.room,
        max_message=max(limits.max_message, services.limits.reply),
        max_fragments=limits.max_fragments,
        stall=services.limits.stall,
    )
    url = address(to.provider, exchange.path, exchange.query, to.upstream_model)
    try:
        await _upgraded(socket, services, exchange, to, url)
        socket.say(asked.written(to.upstream_model))
        event = await _first(socket, exchange, to)
        return socket, event, _fault(event, to, services.pools.now())
    except BaseException:
        socket.abort()
        raise


async def _upgraded(socket: WebSocket, services: Services, exchange: Exchange, to: Destination, url: str) -> None:
    """Raises Refusal; nothing of the message was sent then."""
    try:
        await upgraded(socket.leg, exchange, to, url, upstream_headers(exchange, to), services)
    except Refusal as refusal:
        refusal.unsent = True
        raise


async def _first(socket: WebSocket, exchange: Exchange, to: Destination) -> Message:
    """Raises Refusal: upstream_timeout, of which nobody else is asked, since it may be at work; upstream_unreachable,
    upstream_protocol_error."""
    name, seconds = to.provider.name, exchange.backend.timeouts.response
    try:
        async with asyncio.timeout(seconds):
            return await socket.receive()
    except TimeoutError:
        raise Refusal("upstream_timeout", f"Provider {name} did not answer within {seconds:g} s.") from None
    except Closed as closed:
        if closed.breach:
            raise Refusal("upstream_protocol_error", f"Provider {name} broke the WebSocket protocol.") from None
        why = f"Provider {name} ended the connection before it answered."
        raise Refusal("upstream_unreachable", why, fault=faults.LOST) from None


def _fault(event: Message, to: Destination, now: float) -> faults.Fault | None:
    """Raises Refusal upstream_credential_rejected."""
    said = responses.event_of(event.data)
    status = messages.status_said(said) if said is not None else None
    if status is None:
        return None
    check_credential(to, status)
    return faults.of_status(status, (), now, own=to.provider.credential.kind != "passthrough")
