"""The data port. A request goes through the stages of `Gateway._stages`, in order; each may refuse:

    accept ─ match route ─ authenticate ─ pick provider ─ open upstream ─ answer ─ relay ─ settle

The first three are here, the others belong to the type of the path: Completions, Realtime, Passthrough.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl as tls
import time
import uuid
from collections.abc import Callable

from aiohttp import web

from dataplane import callers, completions, http, passthrough, paths, routing
from dataplane import query as queries
from dataplane.accept import Target, accept
from dataplane.errors import Refusal
from dataplane.exchange import Exchange
from dataplane.realtime.service import Realtime
from dataplane.services import Limits, Meter, Services
from dataplane.snapshot import EMPTY, Snapshot, TableRefused
from dataplane.table import Backend, Forward, Route, RouteType, Secrets, Table
from dataplane.upstreams.addresses import AddressPolicy
from dataplane.upstreams.connect import http_pool

__all__ = ["AddressPolicy", "Gateway", "Limits", "TableRefused"]

log = logging.getLogger(__name__)
_GONE = 499  # nginx's status for a client that left; only the meter sees it
_BACKLOG = 4096
_STOP_S = 2.0


class Gateway:
    """Carries traffic by a table. Make it and `start` it inside a running event loop.

    `addresses`: which upstream addresses may be dialled. `rand` and `now` are chance and the clock."""

    def __init__(
        self,
        *,
        meter: Meter,
        limits: Limits | None = None,
        addresses: AddressPolicy | None = None,
        upstream_tls: tls.SSLContext | None = None,
        rand: Callable[[], float] = random.random,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._meter = meter
        self._limits = limits or Limits()
        self._addresses = addresses or AddressPolicy()
        self._tls = upstream_tls
        self._rand, self._now = rand, now
        self._snapshot = EMPTY
        self._loaded = False
        self._services: Services | None = None
        self._sessions: Realtime | None = None
        self._web: web.Server | None = None
        self._listener: asyncio.Server | None = None
        self.port = 0

    def load(self, table: Table, secrets: Secrets) -> None:
        """Serve this table from now on; what is under way keeps the one that it began with.

        Raises TableRefused, and goes on with the one before."""
        self._snapshot = Snapshot.build(table, secrets, self._snapshot)
        self._loaded = True

    def table(self) -> Table:
        """The table that is served (it holds no secrets)."""
        return self._snapshot.table

    def ready(self) -> bool:
        """Whether a table is loaded and the port is open."""
        return self._loaded and self._listener is not None and self._listener.is_serving()

    async def start(self, host: str, port: int, ssl: tls.SSLContext | None = None) -> None:
        """Listen; port 0 takes a free one, `self.port` says which. Raises OSError if the address is taken."""
        loop, limits = asyncio.get_running_loop(), self._limits
        context = self._tls or tls.create_default_context()
        pool = http_pool(self._addresses, connect=limits.connect, read=limits.upstream_idle, tls=context)
        self._services = Services(limits, self._meter, self._addresses, context, pool, self._rand, set())
        self._sessions = Realtime(self._services)
        self._web = server = web.Server(self._serve)
        try:
            self._listener = await loop.create_server(
                lambda: http.Connection(server, loop, limits, self._refused_unread),
                host,
                port,
                ssl=ssl,
                backlog=_BACKLOG,
            )
        except OSError:
            await pool.close()
            raise
        self.port = int(self._listener.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close the port, then everything that is under way."""
        if self._listener:
            self._listener.close()
        if self._sessions:
            await self._sessions.stop()
        if self._web:
            self._web.pre_shutdown()  # idle connections need not be waited for
            await self._web.shutdown(_STOP_S)
        if self._listener:
            await self._listener.wait_closed()
            self._listener = None
        if self._services:
            for leg in list(self._services.splices):
                leg.abort()
            await self._services.pool.close()
            self._services = None

    def sessions(self) -> list[dict[str, object]]:
        """The live realtime sessions, with what each used so far."""
        return self._sessions.sessions() if self._sessions else []

    def end_session(self, session_id: str) -> bool:
        """End one realtime session; False where there is none by that id."""
        return self._sessions is not None and self._sessions.end(session_id)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request, from its head to its last byte: run the stages, and turn what goes wrong into an answer."""
        visit = Visit(uuid.uuid4().hex, asyncio.get_running_loop().time())
        answer: web.StreamResponse
        try:
            try:
                answer = await self._stages(request, visit)
            except Refusal as refusal:
                answer = await http.refuse(request, self._limits, refusal, visit.id)
            except Exception as error:
                if isinstance(error, http.ClientGone | http.UpstreamLost):
                    raise
                log.exception("request %s failed", visit.id)
                answer = await self._failed(request, visit)
        except http.ClientGone:
            answer = http.Answer(_GONE, code="client_gone")
        except http.UpstreamLost as lost:
            answer = http.Answer(lost.status, code="upstream_lost")
        except asyncio.CancelledError:
            self._count(visit, _GONE, "cancelled")
            raise
        self._count(visit, answer.status, getattr(answer, "code", ""))
        return answer

    async def _stages(self, request: web.BaseRequest, visit: Visit) -> web.StreamResponse:
        target = accept(request, self._limits.head)
        exchange = self._authenticated(request, target, visit, *self._matched(request, target, visit))
        http.check_expectation(request)
        services = self._services
        if services is None:
            raise http.ClientGone
        match exchange.type:
            case RouteType.COMPLETIONS:
                return await completions.serve(services, request, exchange)
            case RouteType.PASSTHROUGH:
                return await passthrough.serve(services, request, exchange)
            case RouteType.REALTIME:
                return await self._realtime(request, exchange)

    def _matched(self, request: web.BaseRequest, target: Target, visit: Visit) -> tuple[Route, Forward]:
        """The route, and which of its Backends takes this request."""
        router = self._snapshot.router
        route = router.match(target.host, target.path, request.method, request.headers, target.query)
        if route is None:
            raise Refusal("unknown_host", f"No route serves {target.host}{paths.normalised(target.path)}.")
        visit.route = route.name
        if route.error:
            raise Refusal("configuration_error", f"{route.name} cannot be served: {route.error}")
        forward = self._forward(route)
        visit.backend = forward.backend
        if forward.error:
            raise Refusal("configuration_error", f"{route.name} cannot be served: {forward.error}")
        return route, forward

    def _forward(self, route: Route) -> Forward:
        total = sum(forward.weight for forward in route.forwards)
        point = self._rand() * total
        for forward in route.forwards:
            point -= forward.weight
            if point < 0:
                return forward
        raise Refusal("configuration_error", f"{route.name} has no backend with a weight above 0.")

    def _authenticated(
        self, request: web.BaseRequest, target: Target, visit: Visit, route: Route, forward: Forward
    ) -> Exchange:
        """Everything that was decided about the request. Raises Refusal."""
        snapshot = self._snapshot
        backend = snapshot.backends[forward.backend]
        if backend.error:
            raise Refusal("configuration_error", f"Backend {backend.name} cannot be served: {backend.error}")
        path = paths.stripped(target.path, route.strip_prefix)
        kind = routing.path_type(backend, path)
        presented = callers.credentials(request.headers.items(), target.query)
        caller = snapshot.callers.authenticate(forward.policies.authentication, presented, self._now(), backend.name)
        return Exchange(
            id=visit.id,
            snapshot=snapshot,
            route=route,
            forward=forward,
            backend=backend,
            caller=caller,
            type=kind,
            method=request.method,
            path=path,
            query=_without_keys(backend, target.query),
            headers=request.headers,
        )

    async def _realtime(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        if self._sessions is None:
            raise http.ClientGone
        try:
            return await self._sessions.serve(request, exchange)
        except ConnectionResetError:
            raise http.ClientGone from None

    async def _failed(self, request: web.BaseRequest, visit: Visit) -> web.StreamResponse:
        """The answer to a request that failed for a reason that nobody foresaw."""
        if request.writer.output_size:
            raise http.ClientGone
        message = f"The gateway failed. Its log has the details under the request id {visit.id}."
        return await http.refuse(request, self._limits, Refusal("internal_error", message), visit.id)

    def _refused_unread(self, refusal: Refusal) -> None:
        self._meter.request("", "", refusal.status, refusal.code, 0.0)

    def _count(self, visit: Visit, status: int, code: str) -> None:
        seconds = asyncio.get_running_loop().time() - visit.began
        self._meter.request(visit.route, visit.backend, status, code, seconds)


class Visit:
    """What the meter is told of a request: as much as was found out."""

    __slots__ = ("backend", "began", "id", "route")

    def __init__(self, id: str, began: float) -> None:  # noqa: A002
        self.id, self.began = id, began
        self.route = self.backend = ""


def _without_keys(backend: Backend, query: str) -> str:
    if any(provider.credential.kind == "passthrough" for provider in backend.providers):
        return query
    return queries.without(query, callers.QUERY)
