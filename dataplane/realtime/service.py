"""All realtime sessions of this process: their beginning, the list of them, their end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import structlog

from dataplane.errors import Refusal, shutting_down
from dataplane.exchange import Exchange
from dataplane.faults import LOST
from dataplane.http import client as http
from dataplane.http.handover import SWITCHED
from dataplane.http.message import Request
from dataplane.http.proxies import FORWARDED_FOR
from dataplane.judges.about import About
from dataplane.process.drain import MESSAGE
from dataplane.realtime import endings, handshake
from dataplane.realtime.actions import Ended
from dataplane.realtime.attempt import Attempt, epoch, loop_time
from dataplane.realtime.effects import (
    Admit,
    Ask,
    Began,
    Found,
    Interrupted,
    Listen,
    Logged,
    Metered,
    Missed,
    Progress,
    Prompted,
    Released,
    Spoke,
    Switched,
    Unmetered,
)
from dataplane.realtime.endings import Ending
from dataplane.realtime.entry import Entry
from dataplane.realtime.jury import Jury
from dataplane.realtime.listening import Refused
from dataplane.realtime.live import LiveSession
from dataplane.realtime.relay import LINGER, SETTLE
from dataplane.realtime.session import Session
from dataplane.realtime.terms import Terms
from dataplane.realtime.timing import Course
from dataplane.realtime.turnstile import Turnstile
from dataplane.services import Services
from dataplane.slices import SLICE, Slices
from dataplane.tracing import Timing
from dataplane.upstreams.opening import Answer
from dataplane.upstreams.pools import Lease

_BROKEN = (endings.UPSTREAM_LOST, endings.UPSTREAM_SILENT, endings.UPSTREAM_STALLED)
"""Ends that are a fault of the provider's, be it long after the beginning."""
CUT = 1.0
"""Seconds until connections that were cut are gone: some turns of the loop, if it is free."""

log = structlog.get_logger("tidegate.session")


class Realtime:
    """Serves Realtime exchanges, and knows the sessions that came of them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._entries: dict[str, Entry] = {}
        """By the session's id, which is the request's."""
        self._given_up: dict[LiveSession, Entry] = {}
        """Those that a provider did not open, until their connections are gone: the request went to another."""
        self._by_backend: Counter[str] = Counter()
        self._refusing = False
        self._closing: tuple[Ending, str] | None = None
        """What ends sessions between turns; those too that are still being opened."""
        self._empty = asyncio.Event()
        self._empty.set()

    async def serve(self, request: Request, exchange: Exchange, admit: Callable[[], None]) -> http.Answer:
        """Answer a request for a session: with 101 and the session, or with the Refusal that is raised. `admit` raises
        one where there is no room.

        Raises ClientGone, and Refusal."""
        forwarded = exchange.headers.all(FORWARDED_FOR)
        attempt = Attempt(exchange, self._services, self._services.proxies.client(request.connection.peer, forwarded))
        try:
            await self._services.pace.turn()
            admit()
            return await self._serve(request, attempt)
        except Refusal as refusal:
            attempt.answered(refusal.status, refusal.code)
            raise
        except http.ClientGone:
            attempt.answered(http.GONE, "client_gone")
            raise
        except Exception:  # the server answers it
            attempt.answered(500, "internal_error")
            raise

    async def _serve(self, request: Request, attempt: Attempt) -> http.Answer:
        if self._refusing:
            raise shutting_down()
        exchange, services = attempt.exchange, self._services
        upgrade = handshake.Upgrade.of(request.head)
        exchange.check_origin()
        asked = handshake.asked(exchange, services)
        attempt.tries = asked.tries

        def enter(lease: Lease) -> Entry:
            return self._enter(attempt, handshake.terms(request.head, upgrade, exchange, lease.destination), lease)

        entry = enter(asked.tries.first())
        try:
            if exchange.budget is not None:
                await exchange.budget.admit_session(entry.model)
            with http.while_connected(request):
                entry, route, answer = await self._opened(entry, exchange, asked, enter)
            head = handshake.client_head(upgrade, exchange, route, answer)
            if entry.access is not None:  # it may have been revoked meanwhile
                await services.revocations.prepare(exchange.snapshot)
                services.revocations.check(entry.access, exchange.snapshot)
            self._begin(entry, attempt)  # before the client's first bytes, which may end the session
            answered = handshake.answer_client(request, head, entry.live)
            if self._closing is not None:
                entry.live.end_between_turns(*self._closing)
            return answered
        except BaseException as error:
            entry = attempt.entry or entry
            entry.live.abandon()
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and entry.refused and task and task.uncancel() == 0:
                raise shutting_down() from None
            raise

    async def _opened(
        self, entry: Entry, exchange: Exchange, asked: handshake.Asked, enter: Callable[[Lease], Entry]
    ) -> tuple[Entry, handshake.Route, Answer]:
        """The first provider that opens a session, and its answer. Raises the Refusal of the last."""
        services, first_event = self._services, exchange.backend.timeouts.first_event
        while True:
            route = asked.route(entry.lease.destination)
            try:
                answer = await handshake.open_upstream(entry.live, exchange, route, services)
                if await handshake.first_event(entry.live, exchange, route.destination, first_event):
                    entry.lease.succeeded()
                else:
                    _heard_of_later(entry)
                return entry, route, answer
            except Refusal as refusal:
                failed, entry = entry, enter(asked.tries.after(entry.lease, refusal))
            failed.live.abandon()
            if exchange.budget is not None:
                exchange.budget.reckon(entry.model)

    def live(self, backend: str = "") -> int:
        """How many sessions are open, or being opened: of one Backend, or of all."""
        return self._by_backend[backend] if backend else len(self._entries)

    def refuse_new(self) -> None:
        """From now on requests for a session are answered 503. What is being opened may become one: that is bounded by
        the time that providers have."""
        self._refusing = True

    def end_between_turns(self, ending: Ending, message: str) -> None:
        """End each session as soon as it is between turns."""
        self._closing = ending, message
        for entry in self._sessions():
            entry.live.end_between_turns(ending, message)

    def end_all(self, ending: Ending, message: str) -> None:
        """End all sessions now: each gets its event and Close, and its usage is settled. What is being opened is
        answered 503."""
        for entry in self._entries.values():
            if entry.request is not None and not entry.refused:
                entry.refused = True
                entry.request.cancel()
        for entry in self._sessions():
            entry.live.end(ending, message)

    async def wait_empty(self, seconds: float) -> bool:
        """Wait until no session is open or being opened, for so long at most; whether that is so."""
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """End everything at once. No session outlasts it: each is accounted for, whatever its peers do."""
        self.refuse_new()
        self.end_all(endings.DRAINING, MESSAGE)
        if await self.wait_empty(SETTLE + 3 * LINGER):  # usage, Close, and what still waits to be sent
            return
        log.warning("sessions did not end in time: their connections are cut", sessions=len(self._entries))
        await self.cut()

    async def cut(self) -> None:
        """Cut the connections of all sessions, and account for them: that takes some turns of the loop."""
        self._services.pace.hurry()
        self.end_all(endings.DRAINING, MESSAGE)
        for entry in self._entries.values():
            entry.live.cut()
        if not await self.wait_empty(CUT):
            log.error("sessions were not accounted for", sessions=len(self._entries))

    def sessions(self) -> Slices[list[dict[str, object]]]:
        """The live sessions with what they have used so far; neither content nor keys."""
        shown = []
        for number, entry in enumerate(self._sessions()):
            if number % SLICE == SLICE - 1:
                yield
            if entry.counted:
                shown.append(entry.shown())
        return shown

    def end(self, session_id: str) -> bool:
        """End one session; False where there is none by that id."""
        entry = self._entries.get(session_id)
        if entry is None or not entry.counted:
            return False
        entry.live.end(endings.OPERATOR, "An operator ended the session.")
        return True

    def _sessions(self) -> list[Entry]:
        return [entry for entry in self._entries.values() if entry.counted]

    def _enter(self, attempt: Attempt, terms: Terms, lease: Lease) -> Entry:
        """A request that is opened with this provider. What it was opened with before is given up."""
        exchange, services = attempt.exchange, self._services
        limits, budget = exchange.session_limits(), exchange.budget
        live = LiveSession(Session(terms), self, limits, services.limits, services.room, services.pace)
        entry = Entry(
            live, lease, exchange.backend.models, asyncio.current_task(), attempt.client, exchange.revocable()
        )
        if terms.guards:
            about = About(terms.id, terms.route, terms.backend, terms.caller, terms.public_model, realtime=True)
            entry.jury = Jury(services.judges, exchange.snapshot, about)
        if budget is not None:
            entry.turnstile, entry.seat = Turnstile(budget, entry.model), budget
        attempt.entry = entry
        before = self._entries.get(terms.id)
        if before is None:
            self._by_backend[terms.backend] += 1
            self._empty.clear()
        else:
            before.request = before.seat = None
            self._given_up[before.live] = before
        self._entries[terms.id] = entry
        return entry

    def _of(self, live: LiveSession) -> Entry:
        return self._given_up.get(live) or self._entries[live.session.terms.id]

    def _remove(self, live: LiveSession) -> Entry:
        if (given_up := self._given_up.pop(live, None)) is not None:
            return given_up
        entry = self._entries.pop(live.session.terms.id)
        backend = live.session.terms.backend
        self._by_backend[backend] -= 1
        if not self._by_backend[backend]:
            del self._by_backend[backend]
        if not self._entries:
            self._empty.set()
        return entry

    def _begin(self, entry: Entry, attempt: Attempt) -> None:
        """From here on it is a session, no longer a request."""
        terms = entry.live.session.terms
        entry.counted, entry.request = True, None
        entry.begin_time(loop_time())
        self._services.meter.session_opened(terms.route, terms.backend, terms.caller, by_key=terms.by_key)
        entry.span = attempt.answered(SWITCHED)
        if entry.access is not None:
            self._services.revocations.watch(entry.access, entry.revoke)

    # -- what sessions report ----------------------------------------------------------------------------------

    def metered(self, live: LiveSession, effect: Metered) -> None:
        usage, entry = effect.usage, self._of(live)
        cost = self._services.meter.turn(usage, entry.price_of(usage))
        if entry.turnstile is not None:
            entry.turnstile.used(live, usage, cost)
        entry.charge(cost.usd, estimated=usage.estimated)
        if usage.operation == "realtime_session_time":
            return  # no turn
        course = entry.timings.ended(usage.response_id)
        with self._services.guard:
            self._services.tracer.turn(usage, cost, _timing(course), entry.span)

    def unmetered(self, live: LiveSession, effect: Unmetered) -> None:
        terms = live.session.terms
        self._services.meter.unmetered(effect.reason, terms.route, terms.backend)
        turnstile = self._of(live).turnstile
        if effect.asked and turnstile is not None:
            turnstile.unanswered()

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
        with self._services.guard:
            self._progressed(live, effect)

    def _progressed(self, live: LiveSession, effect: Progress) -> None:
        session, meter, now = live.session, self._services.meter, loop_time()
        terms, timings, confirmed = session.terms, self._of(live).timings, bool(session.noted.model)
        where = terms.route, terms.backend, session.noted.model or terms.upstream_model
        match effect:
            case Prompted(trigger=trigger):
                timings.prompted(now, trigger)
            case Began(response_id=response_id, trigger=trigger, asked=asked):
                timings.began(now, response_id, trigger, asked=asked)
            case Spoke(response_id=response_id):
                course = timings.spoke(now, response_id)
                if course is not None and course.waited is not None:
                    meter.first_audio(*where, course.trigger, course.waited, confirmed=confirmed)
            case Switched():
                self._entries[terms.id].switch_time(now)
            case Interrupted(response_id=response_id, by=by):
                timings.interrupted(response_id, by)
                meter.interrupted(*where, by, confirmed=confirmed)

    def asked(self, live: LiveSession, effect: Admit) -> None:
        turnstile = self._of(live).turnstile
        assert turnstile is not None, "nobody is asked about sessions without limits"
        turnstile.ask(live, effect.ticket)

    def released(self, live: LiveSession, effect: Released) -> None:
        turnstile = self._of(live).turnstile
        assert turnstile is not None, "nothing was set aside for sessions without limits"
        turnstile.release(effect.count)

    def found(self, live: LiveSession, effect: Found | Missed) -> None:
        jury = self._of(live).jury
        assert jury is not None, "nothing is judged in sessions without guardrails"
        with self._services.guard:
            jury.found(effect)

    def judge(self, live: LiveSession, effect: Ask | Listen) -> None:
        jury = self._of(live).jury
        assert jury is not None, "nothing is judged in sessions without guardrails"
        jury.ask(live, effect)

    def carried(self, live: LiveSession) -> None:
        entry = self._of(live)
        with self._services.guard:
            entry.tell_traffic(self._services.meter)
        if used := entry.time(loop_time()):
            self.metered(live, Metered(used))

    def ended(self, live: LiveSession, effect: Ended) -> None:
        entry = self._of(live)
        if used := entry.time(live.left or loop_time(), over=True):
            self.metered(live, Metered(used))
        self._remove(live)
        if entry.access is not None:
            self._services.revocations.forget(entry.access, entry.revoke)
        if entry.turnstile is not None:
            entry.turnstile.close()
        if entry.jury is not None:
            entry.jury.close()
        if entry.seat is not None:
            entry.seat.leave()
        if entry.counted and effect.ending in _BROKEN:
            entry.lease.failed(LOST, effect.ending.meaning)
        entry.lease.leave()
        if entry.counted:
            with self._services.guard:
                entry.tell_traffic(self._services.meter)
            self._services.meter.session_closed(entry.summary(effect))


def _heard_of_later(entry: Entry) -> None:
    """A provider that says nothing for now, as one that waits for its client: its first event says that it is well."""
    lease = entry.lease
    lease.waits()

    def heard(opened: asyncio.Future[Refused | None]) -> None:
        if not opened.cancelled() and opened.result() is None:
            lease.succeeded()

    entry.live.opened.add_done_callback(heard)


def _timing(course: Course | None) -> Timing:
    """In seconds since the epoch, of a turn that ends now. Of one that never began, and of a transcription, nothing
    else is known."""
    since, now = epoch(), loop_time()
    if course is None:
        return Timing(began=now + since, ended=now + since)
    prompted = None if course.prompted is None else course.prompted + since
    first_audio = None if course.first_audio is None else course.first_audio + since
    by = course.interrupted_by or ""
    return Timing(course.began + since, now + since, prompted, first_audio, course.trigger, by)
