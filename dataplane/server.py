"""The data port. A request goes through its stages in order; each may refuse:

    accept ─ match route ─ authenticate ─ limits ─ pick provider ─ open upstream ─ answer ─ relay ─ settle

The first three are the same for all (`accept`, `stages`), the others belong to the type of the path: Completions,
Responses, Realtime, Models, Passthrough.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import ssl as tls
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from dataplane.affinity.hints import Keys
from dataplane.callers import KeyUnknown
from dataplane.callers.expiry import Expiries
from dataplane.callers.fetch import fetch
from dataplane.callers.refresh import Refresher
from dataplane.dialogue.service import Dialogues
from dataplane.errors import Refusal
from dataplane.exchange import Exchange
from dataplane.http import client as http
from dataplane.http import completions, models, passthrough, responding
from dataplane.http.accept import accept
from dataplane.http.certificates import Certificates, choosing
from dataplane.http.head import wants_websocket
from dataplane.http.jury import check_unread
from dataplane.http.message import Request
from dataplane.http.port import Port
from dataplane.http.ports import Ports
from dataplane.http.proxies import NO_PROXY, Proxies
from dataplane.http.redirects import Redirected
from dataplane.http.tunnels import Tunnels
from dataplane.ids import new_id
from dataplane.judges.panel import Panel
from dataplane.limits.limiter import Limiter
from dataplane.metering.prices import PriceBook
from dataplane.process.complaints import Complaints
from dataplane.process.drain import Drain, Emptying
from dataplane.process.files import Files, none_left
from dataplane.process.gently import gently
from dataplane.process.lifecycle import Running
from dataplane.process.memory import Memory, of_this_process
from dataplane.process.overload import Overload, check_caps
from dataplane.process.pace import Pace
from dataplane.process.revocations import Revocations
from dataplane.process.room import Room
from dataplane.realtime.service import Realtime
from dataplane.routing import OWN_PORT
from dataplane.services import Limits, Meter, Services
from dataplane.slices import Slices, at_once
from dataplane.snapshot import EMPTY, Snapshot, TableRefused
from dataplane.stages import Visit, authenticated
from dataplane.table import Listener, RouteType, Secrets, Table
from dataplane.tracing import Tracer, Untraced
from dataplane.upstreams.addresses import AddressPolicy
from dataplane.upstreams.egress import EgressProxy
from dataplane.upstreams.identities import identified, identify
from dataplane.upstreams.pool import Pool
from dataplane.upstreams.pools import Pools

__all__ = ["AddressPolicy", "EgressProxy", "Gateway", "Limits", "Proxies", "TableRefused"]

log = logging.getLogger(__name__)

_SERVE = {
    RouteType.COMPLETIONS: completions.serve,
    RouteType.MODELS: models.serve,
    RouteType.PASSTHROUGH: passthrough.serve,
    RouteType.RESPONSES: responding.serve,
}


class Gateway:
    """Carries traffic by a table. Make it and `start` it inside a running event loop.

    `addresses`: which upstream addresses may be dialled, `egress`: what through. `rand` and `now` are chance and the
    clock, `clock` one that is never set, `memory` says how much there is and how much is used, `files` how many
    descriptors there may be. `limiter`: what callers may take; its own by default, which counts alone. `proxies` are
    believed whom they speak for. `hints` are keys for what providers keep, where the table has none; by default one
    that nobody else has."""

    def __init__(
        self,
        *,
        meter: Meter,
        tracer: Tracer | None = None,
        limits: Limits | None = None,
        addresses: AddressPolicy | None = None,
        upstream_tls: tls.SSLContext | None = None,
        egress: EgressProxy | None = None,
        rand: Callable[[], float] = random.random,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        memory: Memory | None = None,
        files: Files | None = None,
        limiter: Limiter | None = None,
        proxies: Proxies = NO_PROXY,
        hints: Keys | None = None,
    ) -> None:
        self._meter = meter
        self._tracer = tracer or Untraced()
        self._limits = limits or Limits()
        self._addresses = addresses or AddressPolicy()
        self._tls, self._egress = upstream_tls, egress
        self._rand, self._now = rand, now
        self._complaints = Complaints(now)
        self._snapshot = EMPTY
        self._certificates = Certificates()
        self._loaded = False
        self._draining = False
        self._room = Room()
        self._overload = Overload(memory or of_this_process(), self._room)
        self._files = files or Files()
        self.limiter = limiter or Limiter(PriceBook().unit_prices, meter.limited)
        self._proxies = proxies
        self.pools = Pools(meter, rand=rand, clock=clock, now=now)
        self._hints = hints or Keys(secrets.token_bytes(32))
        self._expiries = Expiries()
        self._sessions: Realtime | None = None
        self._dialogues: Dialogues | None = None
        self._running: Running | None = None

    def load(self, table: Table, secrets: Secrets) -> None:
        """Serve this table from now on; what is under way keeps the one that it began with.

        Of 5,000 routes it takes some 0.1 s: `replace` is for where somebody is served meanwhile.
        Raises TableRefused, and goes on with the one before."""
        built = Snapshot.build(table, secrets, self._snapshot)
        at_once(self._serving_by(identified(built, self._snapshot)))

    async def replace(self, table: Table, secrets: Secrets) -> None:
        """`load` in slices that yield to the loop. One at a time."""
        built = await gently(Snapshot.building(table, secrets, self._snapshot))
        await gently(self._serving_by(await identify(built, self._snapshot)))

    def _serving_by(self, snapshot: Snapshot) -> Slices[None]:
        """Use this snapshot from now on. Raises TableRefused where a port cannot be had."""
        listeners = snapshot.table.listeners
        certificates = yield from Certificates.building(listeners, snapshot.secrets, self._certificates)
        if self._running:
            try:
                self._follow(self._running.ports, listeners)
            except OSError as error:
                raise TableRefused([f"a port that listeners want cannot be had: {error.strerror}"]) from None
        self._snapshot, self._certificates = snapshot, certificates
        yield from self.limiter.loading(snapshot.table)
        yield from self.pools.following(snapshot.backends)
        self._loaded = True
        if self._running:
            self._running.services.revocations.changed()
            self._running.keys.follow(snapshot.callers.sources, snapshot.callers.tenants)
        yield from self._expiries.tell(snapshot.table.callers, self._now())

    def _follow(self, ports: Ports, listeners: Sequence[Listener]) -> None:
        """Raises OSError."""
        wanted = {listener.port: listener.tls for listener in listeners}
        ports.follow(wanted, lambda port: choosing(port, lambda: self._certificates))

    def table(self) -> Table:
        """The table that is served (it holds no secrets)."""
        return self._snapshot.table

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before `start`."""
        return self._running.ports.own.number if self._running else 0

    @property
    def draining(self) -> bool:
        """Whether it was told to drain."""
        return self._draining

    @property
    def idle(self) -> bool:
        """Whether nobody is served."""
        return not (self._running and self._running.left())

    def ready(self) -> bool:
        """Whether new requests are welcome: a table is loaded, the port is open, and nobody has said `drain`."""
        return self._loaded and not self._draining and self._running is not None and self._running.accepting

    async def start(self, host: str, port: int, ssl: tls.SSLContext | None = None, *, reuse_port: bool = False) -> None:
        """Listen; port 0 takes a free one, `self.port` says which. `reuse_port`: share it with other processes that say
        so, too. Raises OSError if the address is taken."""
        context = self._tls or tls.create_default_context()
        pace = Pace()
        pool = Pool(self._addresses, files=self._files, tls=context, egress=self._egress, rand=self._rand)
        services = Services(
            limits=self._limits,
            meter=self._meter,
            tracer=self._tracer,
            addresses=self._addresses,
            files=self._files,
            tls=context,
            egress=self._egress,
            pool=pool,
            rand=self._rand,
            pools=self.pools,
            revocations=Revocations(lambda: self._snapshot, self._now, pace),
            proxies=self._proxies,
            hints=self._hints,
            judges=Panel(pool, self._meter, lambda: self._snapshot, self._now),
            room=self._room,
            pace=pace,
        )
        self._sessions = Realtime(services)
        ports = Ports(self._port(OWN_PORT), self._port)
        keys = Refresher(partial(fetch, services.pool), self._meter.keys_fetched, self._rand)
        tunnels = Tunnels(services)
        self._dialogues = Dialogues(services)
        doors = (ports, services, self._sessions, tunnels, self._dialogues)
        self._running = Running(*doors, self._overload, keys, self.limiter)
        await self._running.start(host, port, ssl, reuse_port=reuse_port)
        try:
            self._follow(ports, self._snapshot.table.listeners)
        except OSError:
            await self._running.stop(0)
            raise
        callers = self._snapshot.callers
        keys.follow(callers.sources, callers.tenants)

    async def drain(self, phases: Drain, hurry: asyncio.Event) -> None:
        """Stop in the phases of `process.drain`, up to the deadline; then do what `stop` does. When `hurry` is set, the
        waiting is cut short, and what is left ends at once. If it is called twice, the shorter phases win."""
        self._draining = True
        self._meter.draining(True)
        if self._running:
            self._running.ports.last()
            await Emptying(self._running, phases, hurry).run()
        await self.stop()

    async def stop(self, grace: float = 2.0) -> None:
        """Close the port, then end everything that is under way; requests have `grace` seconds to finish."""
        if self._running:
            await self._running.stop(grace)

    async def cut(self) -> None:
        """End everything without waiting for any peer, for whoever has cancelled `drain` or `stop`; what was used is
        counted all the same."""
        if self._running:
            await self._running.cut()

    def sessions(self) -> list[dict[str, object]]:
        """The live sessions, with what each used so far."""
        return at_once(self.listing())

    def listing(self) -> Slices[list[dict[str, object]]]:
        """The same, with pauses, for whoever must hold nobody up."""
        realtime = (yield from self._sessions.sessions()) if self._sessions else []
        return [*realtime, *((yield from self._dialogues.sessions()) if self._dialogues else [])]

    async def refresh_limits(self) -> str:
        """Hear what other processes have counted, for half a second at most; what is to be said where that failed."""
        return await self.limiter.refresh()

    def limits(self) -> Slices[list[dict[str, object]]]:
        """What is counted of callers under each limit, with pauses."""
        return (yield from self.limiter.listing())

    def doing(self, backend: str, provider: str) -> Mapping[str, object]:
        """How a provider is doing; nothing where its Backend was never asked for anything."""
        return self.pools.shown(backend, provider)

    def end_session(self, session_id: str) -> bool:
        """End one session; False where there is none by that id."""
        kinds = self._sessions, self._dialogues
        return any(each is not None and each.end(session_id) for each in kinds)

    def _port(self, number: int) -> Port:
        """One that routes know by this number."""
        return Port(self._serve, self._limits, self._files, self._refused_unread, self._proxies, number)

    async def _serve(self, request: Request) -> http.Answer:
        """One request, from its head to its last byte."""
        visit = Visit(new_id(), time.monotonic())
        try:
            answer = await self._answered(request, visit)
        except http.ClientGone:
            answer = http.Answer(http.GONE, code="client_gone")
        except http.UpstreamLost as lost:
            answer = http.Answer(lost.status, code="upstream_lost")
        except asyncio.CancelledError:
            self._count(visit, http.GONE, "shutdown")
            raise
        self._count(visit, answer.status, answer.code)
        return answer

    async def _answered(self, request: Request, visit: Visit) -> http.Answer:
        """Run the stages; what they refuse, and what nobody foresaw, becomes an answer."""
        try:
            return await self._stages(request, visit)
        except (http.ClientGone, http.UpstreamLost):
            raise
        except Redirected as moved:
            return await http.redirect(request, self._limits, moved.status, moved.location, visit.id)
        except Refusal as refused:
            refusal = refused.with_traceback(None)  # it would hold this frame, and that holds it
            self._complaints.hear(refusal, visit.backend)
        except Exception:
            log.exception("request %s failed", visit.id)
            message = f"The gateway failed. Its log has the details under the request id {visit.id}."
            refusal = Refusal("internal_error", message)
        if request.begun:  # too late to say it
            raise http.UpstreamLost(refusal.status)
        return await http.refuse(request, self._limits, refusal, visit.id)

    async def _stages(self, request: Request, visit: Visit) -> http.Answer:
        running = self._running
        if running is None:
            raise http.ClientGone  # never: nobody can ask before `start`
        try:
            exchange = self._exchange(request, visit)
        except KeyUnknown as unknown:
            with http.while_connected(request):
                await running.keys.refreshed(unknown.url)
            exchange = self._exchange(request, visit)
        http.check_expectation(request)
        if exchange.policies.guardrails:
            check_unread(running.services, exchange)
        if exchange.type is RouteType.REALTIME:
            return await running.sessions.serve(request, exchange, lambda: self._admit(request, running, exchange))
        if exchange.type is RouteType.PASSTHROUGH and wants_websocket(request.head):
            return await running.tunnels.serve(request, exchange, lambda: self._admit(request, running, exchange))
        if exchange.type is RouteType.RESPONSES and wants_websocket(request.head):
            return await running.dialogues.serve(request, exchange, lambda: self._admit(request, running, exchange))
        self._check_resources(request)
        if exchange.budget is not None and exchange.type is RouteType.PASSTHROUGH:
            await exchange.budget.admit_request()
        return await _SERVE[exchange.type](running.services, request, exchange)

    def _exchange(self, request: Request, visit: Visit) -> Exchange:
        head = request.head
        target = accept(head, request.connection.port, secure=request.connection.secure)
        snapshot, now = self._snapshot, self._now()
        exchange = authenticated(snapshot, visit, target, head.method, head.headers, rand=self._rand, now=now)
        limits = exchange.policies.limits
        exchange.budget = self.limiter.budget(limits, exchange.caller, exchange.backend.name)
        return exchange

    def _check_resources(self, request: Request) -> None:
        """Raises Refusal overloaded where memory or descriptors are short."""
        self._overload.check()
        if not request.connection.welcome:
            raise none_left()

    def _admit(self, request: Request, running: Running, exchange: Exchange) -> None:
        """Whether there is room for one more session. Raises Refusal overloaded, backend_overloaded."""
        self._check_resources(request)
        check_caps(running.live, self._limits, exchange.backend)

    def _refused_unread(self, refusal: Refusal) -> None:
        """Count the answer to something that was no request."""
        self._meter.request("", "", refusal.status, refusal.code, 0.0)

    def _count(self, visit: Visit, status: int, code: str) -> None:
        self._meter.request(visit.route, visit.backend, status, code, time.monotonic() - visit.began)
