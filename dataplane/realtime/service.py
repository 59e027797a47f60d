"""All realtime sessions of this process: their beginning, the list of them, their end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal

import structlog
from aiohttp import web

from dataplane import http
from dataplane.exchange import Exchange
from dataplane.metering.records import SessionSummary, usd
from dataplane.realtime import endings, handshake
from dataplane.realtime.legs import LiveSession
from dataplane.realtime.relay import LINGER, SETTLE, Ended
from dataplane.realtime.session import Logged, Metered, Progress, Session, Unmetered
from dataplane.services import Services
from dataplane.table import Model, Price
from dataplane.upstreams.choose import find

log = structlog.get_logger("tidegate.session")


@dataclass(slots=True)
class _Entry:
    """What is kept of a live session beside its connections."""

    live: LiveSession
    price: Price | None
    models: tuple[Model, ...]
    """The Backend's, for what else the session uses: its transcription model."""
    request: asyncio.Task[object] | None
    """Who opens it."""
    cost: Decimal | None = None
    counted: bool = False
    """Was the client answered? Until then it is a request, not a session."""
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def price_of(self, model: str) -> Price | None:
        """The Backend's own price of another model than the session's."""
        found = find(self.models, model)
        return found[0].price if found else None


class Realtime:
    """Serves Realtime exchanges, and knows the sessions that came of them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._entries: dict[str, _Entry] = {}
        self._stopped = False

    async def serve(self, request: web.BaseRequest, exchange: Exchange) -> http.Answer:
        """Answer a request for a session: with 101 and the session, or with the Refusal that is raised.

        Raises ClientGone, and Refusal."""
        if self._stopped:
            raise http.ClientGone
        upgrade = handshake.Upgrade.of(request)
        chosen = handshake.route(exchange, self._services)
        session = Session(handshake.terms(request, upgrade, exchange, chosen.destination))
        limits, timeouts = exchange.session_limits(), exchange.backend.timeouts
        stall = self._services.limits.client_idle
        live = LiveSession(session, self, max_message=limits.max_message, stall=stall)
        entry = self._entries[exchange.id] = _Entry(
            live, chosen.destination.price, exchange.backend.models, asyncio.current_task()
        )
        try:
            with http.while_connected(request):
                answer = await handshake.open_upstream(live, exchange, chosen, self._services)
                await handshake.first_event(live, exchange, chosen.destination, timeouts.first_event)
            head = handshake.client_head(upgrade, exchange, chosen, answer)
            self._count(entry)  # before the client's first bytes, which may end the session
            return handshake.answer_client(request, head, live)
        except BaseException:
            live.abandon()
            raise

    def sessions(self) -> list[dict[str, object]]:
        """The live sessions with what they have used so far; neither content nor keys."""
        return [_shown(entry) for entry in self._entries.values() if entry.counted]

    def end(self, session_id: str) -> bool:
        """End one session; False where there is none by that id."""
        entry = self._entries.get(session_id)
        if entry is None or not entry.counted:
            return False
        entry.live.end(endings.OPERATOR, "An operator ended the session.")
        return True

    async def stop(self) -> None:
        """End all sessions: each gets its event and Close, and its usage is settled."""
        self._stopped = True
        entries = list(self._entries.values())
        for entry in entries:
            if entry.counted:
                entry.live.end(endings.DRAINING, "The gateway is shutting down.")
            elif entry.request is not None:
                entry.request.cancel()
        try:
            async with asyncio.timeout(SETTLE + 3 * LINGER):  # usage, Close, and what still waits to be sent
                for entry in entries:
                    await entry.over.wait()
        except TimeoutError:
            log.warning("sessions did not end in time", sessions=len(self._entries))

    def _count(self, entry: _Entry) -> None:
        """From here on it is a session, no longer a request."""
        terms = entry.live.session.terms
        entry.counted, entry.request = True, None
        self._services.meter.session_opened(terms.route, terms.backend)

    # -- what sessions report ----------------------------------------------------------------------------------

    def metered(self, live: LiveSession, effect: Metered) -> None:
        usage = effect.usage
        entry = self._entries[live.session.terms.id]
        own = entry.price if usage.operation == "realtime_inference" else entry.price_of(usage.request_model)
        usd = self._services.meter.turn(usage, own).usd
        if usd is not None:
            entry.cost = (entry.cost or Decimal(0)) + usd

    def unmetered(self, live: LiveSession, effect: Unmetered) -> None:
        terms = live.session.terms
        self._services.meter.unmetered(effect.reason, terms.route, terms.backend)

    def logged(self, live: LiveSession, effect: Logged) -> None:
        log.info(
            "event",
            session=live.session.terms.id,
            direction=effect.direction,
            type=effect.type,
            event_id=effect.event_id,
            response_id=effect.response_id,
            size=effect.size,
        )

    def progressed(self, live: LiveSession, effect: Progress) -> None:
        """Time the turn."""

    def ended(self, live: LiveSession, effect: Ended) -> None:
        entry = self._entries.pop(live.session.terms.id)
        entry.over.set()
        if entry.counted:
            self._services.meter.session_closed(_summary(entry, effect))


def _summary(entry: _Entry, effect: Ended) -> SessionSummary:
    session, terms = entry.live.session, entry.live.session.terms
    return SessionSummary(
        id=terms.id,
        route=terms.route,
        backend=terms.backend,
        provider=terms.provider,
        model=session.model or terms.upstream_model,
        seconds=entry.live.age,
        close_code=effect.close.code,
        reason=effect.ending.label,
        initiator=effect.ending.initiator,
        caller=terms.caller,
        turns=session.turns,
        tokens=session.tokens,
        cost=entry.cost,
    )


def _shown(entry: _Entry) -> dict[str, object]:
    session, terms = entry.live.session, entry.live.session.terms
    return {
        "id": terms.id,
        "route": terms.route,
        "backend": terms.backend,
        "provider": terms.provider,
        "model": session.model or terms.upstream_model,
        "caller": {"namespace": terms.caller.namespace, "key": terms.caller.key, "team": terms.caller.team},
        "seconds": round(entry.live.age, 3),
        "turns": session.turns,
        "tokens": session.tokens.nonzero(),
        "cost_usd": usd(entry.cost),
    }
