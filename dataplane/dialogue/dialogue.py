"""One connection of a client, from its 101 on: what it asks for is authorised, what it is answered is metered."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

import structlog
from websockets.protocol import SERVER

from dataplane import faults
from dataplane.affinity import placing
from dataplane.affinity.bodies import Json
from dataplane.affinity.hints import Signer
from dataplane.dialogue import lanes, messages, opening
from dataplane.dialogue.account import Account
from dataplane.dialogue.guarding import Guarding, ends
from dataplane.dialogue.messages import Asked
from dataplane.dialogue.socket import Closed, Message, WebSocket
from dataplane.dialogue.strands import Strands
from dataplane.errors import Refusal
from dataplane.exchange import Exchange
from dataplane.http import responses
from dataplane.http.jury import Blocked
from dataplane.http.responding import check_continued, keys_of, placed
from dataplane.limits.spending import Model
from dataplane.metering.records import SessionSummary
from dataplane.metering.usage import Status
from dataplane.realtime import endings
from dataplane.realtime.clocks import LATE
from dataplane.realtime.endings import Ending
from dataplane.realtime.frames import Close
from dataplane.realtime.live import FAILED
from dataplane.realtime.watch import Pulse, Watch
from dataplane.services import Services
from dataplane.table import Provider
from dataplane.upstreams.choose import Destination
from dataplane.upstreams.pools import Lease, Tries
from dataplane.upstreams.send import check_credential

_GONE = {"lost": endings.CLIENT_LOST, "silent": endings.CLIENT_SILENT, "stalled": endings.CLIENT_STALLED}
_UPSTREAM_GONE = {
    "lost": endings.UPSTREAM_LOST,
    "silent": endings.UPSTREAM_SILENT,
    "stalled": endings.UPSTREAM_STALLED,
}
_BREACHES = {
    "size": endings.MESSAGE_TOO_BIG,
    "room": endings.MESSAGE_TOO_BIG,
    "fragments": endings.TOO_MANY_FRAGMENTS,
    "protocol": endings.PROTOCOL_ERROR,
}

_FAULT = "a WebSocket of the Responses API failed"

log = structlog.get_logger("tidegate.session")


@dataclass(slots=True)
class Link:
    """The connection to the provider."""

    lease: Lease
    socket: WebSocket
    signer: Signer
    provider: Provider


class End(NamedTuple):
    ending: Ending
    message: str
    close: Close


class Dialogue:
    """One connection. `run` it; it returns when all is over."""

    def __init__(self, services: Services, exchange: Exchange, client: str) -> None:
        """`client`: the address of who asks."""
        self._services, self._exchange = services, exchange
        self._limits = exchange.session_limits()
        self._account = Account(services, exchange, client)
        self._lanes = self._account.lanes
        self._guarding = Guarding(services, exchange)
        self._ended: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self.client = WebSocket(
            SERVER,
            services.room,
            max_message=self._limits.max_message,
            max_fragments=self._limits.max_fragments,
            stall=services.limits.stall,
            gone=self._client_gone,
        )
        self._account.sockets["client"] = self.client
        self._link: Link | None = None
        self._relaying: asyncio.Task[None] | None = None
        """What the provider says."""
        self._strands = Strands(self._pass_in_turn)
        self._closing: tuple[Ending, str] | None = None
        """What ends it as soon as no response is under way."""
        self._asked = False
        """Did the client ask for anything?"""
        self._heard = began = self._account.began
        """When the provider was last asked, or said something."""
        patience = services.limits
        self._watch = Watch(
            began,
            started=began,
            ping=patience.ping,
            silence=patience.silence,
            idle=self._limits.idle,
            duration=self._limits.duration,
        )
        self._timer: asyncio.TimerHandle | None = None

    # -- its end -------------------------------------------------------------------------------------------------

    def end(self, ending: Ending, message: str = "", close: Close | None = None) -> None:
        """End it; the first reason counts."""
        if not self._ended.done():
            self._ended.set_result(End(ending, message, close or Close(ending.code, message)))

    def end_between_turns(self, ending: Ending, message: str) -> None:
        """End it as soon as no response is under way."""
        self._closing = ending, message
        self._check_closing()

    def cut(self) -> None:
        """End both connections at once, whatever the peers have yet to say or to take."""
        self.client.leg.abort()
        if self._link is not None:
            self._link.socket.leg.abort()

    def revoke(self, why: str) -> None:
        """End it, since its access is revoked."""
        self.end(endings.REVOKED, why)

    async def run(self) -> SessionSummary:
        """From the 101 to the end of both connections."""
        listening = asyncio.create_task(self._listen())
        self._look_later()
        try:
            end = await self._ended
        finally:
            await _stopped(listening, self._relaying)
            await self._strands.stop()
            if self._timer is not None:
                self._timer.cancel()
        return await self._finish(end)

    async def _finish(self, end: End) -> SessionSummary:
        ending = end.ending
        status: Status = "failed" if ending.initiator == "upstream" else "cancelled"
        self._lanes.end(status)
        if ending.event is not None:
            self.client.say(messages.ending(*ending.event, end.message or ending.meaning))
        async with asyncio.TaskGroup() as closing:
            closing.create_task(self.client.finish(end.close))
            if (link := self._link) is not None:
                if ending.initiator == "upstream" and ending is not endings.UPSTREAM_CLOSED:
                    link.lease.failed(faults.LOST, ending.meaning)
                link.lease.leave()
                closing.create_task(link.socket.finish(Close(1000)))
        self._account.tell_traffic()
        return self._account.summary(ending, end.close.code)

    def _client_gone(self, closed: Closed) -> None:
        if closed.close is not None:
            self.end(endings.CLIENT_CLOSED, close=closed.close)
        elif closed.breach:
            self.end(_BREACHES[closed.breach], close=Close(closed.code))
        else:
            self.end(_GONE[self.client.leg.fate])

    def _upstream_gone(self, link: Link, closed: Closed) -> None:
        if closed.close is not None:
            self.end(endings.UPSTREAM_CLOSED, close=closed.close)
        elif closed.breach:
            self.end(endings.UPSTREAM_INVALID)
        else:
            self.end(_UPSTREAM_GONE[link.socket.leg.fate])

    def shown(self) -> dict[str, object]:
        """For whoever runs the gateway."""
        return self._account.shown(self._ended.result().ending if self._ended.done() else None)

    @property
    def _asked_of(self) -> Destination:
        """What was asked last, of the provider that there is."""
        assert self._account.destination is not None, "nobody is asked before there is one"
        return self._account.destination

    def _check_closing(self) -> None:
        if self._closing is not None and not self._lanes.busy:
            self.end(*self._closing)

    # -- what the client asks for --------------------------------------------------------------------------------

    async def _listen(self) -> None:
        try:
            while True:
                message = await self._next()
                try:
                    await self._take(messages.read(message.data, binary=message.binary))
                except Refusal as refusal:
                    await self._refuse(refusal, message)
                    self._check_closing()
        except Closed:
            return  # whoever ended it has said so
        except Exception:
            log.exception(_FAULT, session=self._exchange.id)
            self.end(endings.INTERNAL, FAILED)

    async def _next(self) -> Message:
        if self._asked:
            return await self.client.receive()
        seconds = min(self._limits.idle, self._services.limits.client_idle)
        try:
            async with asyncio.timeout(seconds):
                message = await self.client.receive()
        except TimeoutError:
            self.end(endings.IDLE, f"Nothing was asked for within {seconds:g} s.")
            raise Closed(None) from None
        self._asked = True
        return message

    async def _refuse(self, refusal: Refusal, message: Message) -> None:
        budget = self._exchange.budget
        if budget is not None and budget.ends and refusal.code.startswith("limit"):
            self.end(endings.LIMIT, refusal.message)
        elif isinstance(refusal, Blocked) and ends(refusal):
            self.end(endings.GUARDRAIL, refusal.message)
        else:
            lane = "" if message.binary else messages.lane_of(message.data)
            await self.client.send(messages.error(refusal, lane))

    async def _take(self, asked: Asked) -> None:
        """Raises Refusal."""
        if asked.kind == "steer":
            await self._steer(asked)
            return
        await self._lanes.free(asked.lane)  # those of a lane follow one another
        link = self._link
        if link is None:
            await self._connect(placed(self._services, self._exchange, asked.body, session=True), asked)
            return
        lease = placed(self._services, self._exchange, asked.body, link.provider).first()
        lease.leave()  # it is the connection that counts there
        asked.written(lease.destination.upstream_model)  # or it is refused before it counts
        self._account.destination = lease.destination
        await self._admit(asked, lease.destination)
        written = asked.written(lease.destination.upstream_model)
        self._heard = asyncio.get_running_loop().time()
        await link.socket.send(written)

    async def _admit(self, asked: Asked, to: Destination) -> lanes.Response:
        """It may be asked for. Raises Refusal."""
        response = await self._lanes.admit(asked.lane, to)
        try:
            await self._guarding.ask(asked, to.public_model)
        except BaseException:
            self._lanes.forget(asked.lane)
            raise
        return response

    async def _connect(self, tries: Tries, asked: Asked) -> None:
        """Find who takes the first message. Raises Refusal; then another may be tried."""
        lease = tries.first()
        try:
            response = await self._admit(asked, lease.destination)
        except BaseException:
            lease.leave()
            raise
        services, exchange = self._services, self._exchange
        try:
            lease, socket, event = await opening.opened(services, exchange, tries, lease, asked, response.turn)
        except Refusal as refusal:
            response.turn.broke_off(refusal)
            self._lanes.forget(asked.lane)
            raise
        provider = lease.destination.provider
        signer = placing.signer(keys_of(services, exchange), exchange.backend, provider, exchange.caller)
        self._link = link = Link(lease, socket, signer, provider)
        self._account.sockets["upstream"], self._account.destination = socket, lease.destination
        self._relaying = asyncio.create_task(self._relay(link, event))

    async def _steer(self, asked: Asked) -> None:
        """Raises Refusal."""
        services, exchange, link = self._services, self._exchange, self._link
        if link is not None:
            await self._guarding.ask(asked, self._asked_of.public_model)
        written, signed = messages.steered(asked, keys_of(services, exchange))
        check_continued(services, signed)
        within = placing.within(exchange.backend, signed, exchange.caller)
        if link is None or link.provider.name not in {each.name for each in within.providers}:
            raise placing.unknown(encrypted=False, param="previous_response_id")
        if exchange.budget is not None:  # there may be another response for it, which nobody asks about
            await exchange.budget.admit_turn(Model.of(self._asked_of, speaks=False))
            exchange.budget.release_turn()
        await link.socket.send(written)

    # -- what the provider answers -------------------------------------------------------------------------------

    async def _relay(self, link: Link, first: Message) -> None:
        try:
            await self._pass_on(link, first, judged=True)
            while True:
                event = await link.socket.receive()
                self._heard = asyncio.get_running_loop().time()
                if self._guarding.waits:
                    await self._strands.put(self._guarding.lane_of(event), event)
                else:
                    await self._pass_on(link, event)
        except Closed as closed:
            await self._strands.empty()
            self._upstream_gone(link, closed)
        except Exception:
            log.exception(_FAULT, session=self._exchange.id)
            self.end(endings.INTERNAL, FAILED)

    async def _pass_in_turn(self, event: Message) -> None:
        """In that of its lane."""
        assert self._link is not None, "it is the provider who said it"
        try:
            await self._pass_on(self._link, event)
        except Closed:
            return  # whoever ended it has said so
        except Exception:
            log.exception(_FAULT, session=self._exchange.id)
            self.end(endings.INTERNAL, FAILED)

    async def _pass_on(self, link: Link, event: Message, *, judged: bool = False) -> None:
        """`judged`: was it seen already what it says of the provider?"""
        if self._guarding.watches:
            await self._pass_judged(link, event, judged=judged)
            return
        data = event.data
        said = None if event.binary else responses.event_of(data)
        if said is not None:
            self._lanes.follow(said, self._asked_of)
            instead = b"" if judged else self._blamed(link, said)
            data = instead or responses.signed_event(said, link.signer) or data
        await self.client.send(data)
        self._check_closing()

    async def _pass_judged(self, link: Link, message: Message, *, judged: bool) -> None:
        """The same under guardrails."""
        if self._ended.done():
            return
        event: Json = {}
        try:
            event = self._guarding.read(message)
            self._lanes.follow(event, self._asked_of)
            instead = b"" if judged else self._blamed(link, event)
            signed = responses.signed_event(event, link.signer)
            if not self._guarding.enforces:
                await self.client.send(instead or signed or message.data)
            shown = await self._guarding.say(event, self._asked_of.public_model)
            if self._guarding.enforces:
                for data in [instead] if instead else shown:
                    await self.client.send(data)
        except Blocked as blocked:
            self._guarding.refuse(event)
            if ends(blocked):
                self.end(endings.GUARDRAIL, blocked.message)
                return
            await self.client.send(messages.error(blocked, messages.lane_said(event)))
        self._check_closing()

    def _blamed(self, link: Link, event: Json) -> bytes:
        """See whether an error says that something is wrong with the provider. What the client is told instead of a
        word about the gateway's own credential; empty: nothing else."""
        if (status := messages.status_said(event)) is None:
            return b""
        own = link.provider.credential.kind != "passthrough"
        if (fault := faults.of_status(status, (), self._services.pools.now(), own=own)) is not None:
            link.lease.failed(fault, f"It answered a message with an error ({status}).")
        try:
            check_credential(self._asked_of, status)
        except Refusal as refusal:
            return messages.error(refusal, messages.lane_said(event))
        return b""

    # -- clocks --------------------------------------------------------------------------------------------------

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_at(self._watch.due + LATE, self._look)

    def _look(self) -> None:
        now, link = asyncio.get_running_loop().time(), self._link
        ending, limits = self._watch.look(now, self._account.messages), self._limits
        if ending is endings.IDLE:
            self.end(ending, f"No message passed for {limits.idle:g} s.")
        elif ending is not None:
            self.end(ending, f"The connection is {limits.duration:g} s old, which is the most it may be.")
        self._check(self._watch.client, self.client, now)
        if link is not None:
            self._check(self._watch.upstream, link.socket, now)
            timeouts = self._exchange.backend.timeouts
            if self._lanes.busy and now - self._heard > max(timeouts.response, timeouts.idle):
                self.end(endings.UPSTREAM_SILENT, "The provider said nothing more of a response that is under way.")
        else:
            self._watch.upstream.look(now, 0, excused=True)
        self._account.tell_traffic()
        if not self._ended.done():
            self._look_later()

    def _check(self, pulse: Pulse, socket: WebSocket, now: float) -> None:
        """See whether a peer lives; ask one that is quiet, and give up one that is dead."""
        match pulse.look(now, socket.leg.received, excused=socket.leg.excused):
            case "quiet":
                socket.ping()
                pulse.asked()
            case "dead":
                socket.leg.give_up("silent")


async def _stopped(*tasks: asyncio.Task[None] | None) -> None:
    """They are cancelled, and over."""
    running = [task for task in tasks if task is not None]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
