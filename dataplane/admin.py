"""The admin port: health and metrics for the cluster, the state of this process for whoever runs it.

`/healthz`, `/readyz` and `/metrics` are for everyone who reaches the port. `/table`, `/sessions` and `/limits` tell who
is talking to what, and how much, and `DELETE /sessions/{id}` ends a call: they are for the machine itself (loopback,
which is what `kubectl port-forward` uses), or for whoever shows the admin token as `Authorization: Bearer TOKEN`.

A browser on this machine is on loopback, too. A page that points its own host name at 127.0.0.1 (DNS rebinding)
could read what loopback may, so there the Host must be `localhost` or an address; and a page of another origin is
refused by its `Origin`.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import orjson
from aiohttp import web
from pydantic import SecretStr

from dataplane import table
from dataplane.process.gently import gently
from dataplane.slices import SLICE, Slices
from dataplane.telemetry.metrics import CONTENT_TYPE

LAST_SCRAPES = 2
"""One may have begun before the last numbers were there."""
LINGER_TICK = 0.1

CLOSED = (
    "This is for the machine that the gateway runs on: ask from loopback, with Host localhost or an address. For "
    "others set TIDEGATE_ADMIN_TOKEN in the gateway's environment, and send it as Authorization: Bearer TOKEN."
)
"""Where no token is set."""
WANTED = "Send the admin token (the gateway's TIDEGATE_ADMIN_TOKEN) as Authorization: Bearer TOKEN."

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.Response]]


class GatewayView(Protocol):
    """What the admin port shows of the gateway, and the one thing it may do to it."""

    def ready(self) -> bool:
        """Whether new requests are welcome."""

    def table(self) -> table.Table | None:
        """The table in use; None before the first was loaded."""

    def listing(self) -> Slices[list[dict[str, object]]]:
        """Live sessions with their usage so far, without keys."""

    async def refresh_limits(self) -> str:
        """Ask for what other gateways have counted, in a short time; what is to be said where that failed."""

    def limits(self) -> Slices[list[dict[str, object]]]:
        """What is counted of callers, and of how much."""

    def doing(self, backend: str, provider: str) -> Mapping[str, object]:
        """How a provider is doing; nothing where its Backend was never asked for anything."""

    def end_session(self, session_id: str) -> bool:
        """Begin to end a session; False if there is none of this id."""


class Source(Protocol):
    """Where tables come from, if not from files beside the gateway."""

    def waits_for(self) -> str:
        """Why there is no table yet; empty: there is one."""

    def shown(self) -> Mapping[str, object]:
        """What is known of the table that is served."""


class Exposition(Protocol):
    def exposition(self) -> bytes:
        """All metrics in Prometheus text format; called in a thread."""


class Admin:
    """Serves the admin port. Start it on the loop of the gateway."""

    def __init__(
        self,
        telemetry: Exposition,
        gateway: GatewayView,
        token: SecretStr | None = None,
        source: Source | None = None,
    ) -> None:
        self._telemetry = telemetry
        self._gateway = gateway
        self._source = source
        self._token = token.get_secret_value().encode() if token else b""
        self._scrape = asyncio.Lock()
        self._scrapes = 0
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen. Port 0 takes a free one; see `port`. OSError if the address is taken."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
                web.get("/table", self._private(self._table)),
                web.get("/sessions", self._private(self._sessions)),
                web.get("/limits", self._private(self._limits)),
                web.delete("/sessions/{id}", self._private(self._end_session)),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=75, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        if self._runner is None:
            raise RuntimeError("the admin port is not open")
        return int(self._runner.addresses[0][1])

    async def linger(self, seconds: float, hurry: asyncio.Event) -> None:
        """Wait until whoever scrapes has come twice more, for so many seconds at most; not at all where nobody ever
        has. `hurry` cuts it short."""
        if not self._scrapes:
            return
        wanted, end = self._scrapes + LAST_SCRAPES, asyncio.get_running_loop().time() + seconds
        while not hurry.is_set() and self._scrapes < wanted and asyncio.get_running_loop().time() < end:
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER_TICK):
                    await hurry.wait()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        if self._gateway.ready():
            return web.Response(text="ready\n")
        if self._source and (why := self._source.waits_for()):
            reason = f"no table yet: {why}"
        elif self._gateway.table() is None:
            reason = "no table is loaded yet"
        else:
            reason = "it is about to stop, or not listening yet"
        return web.Response(status=503, text=f"not ready: {reason}\n")

    async def _metrics(self, _request: web.Request) -> web.Response:
        async with self._scrape:  # one thread at a time: the loop needs the others for look-ups
            body = await asyncio.to_thread(self._telemetry.exposition)
        self._scrapes += 1
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    async def _table(self, _request: web.Request) -> web.Response:
        loaded = self._gateway.table()
        if loaded is None:
            return _error(503, "no table is loaded yet")
        return _json(
            {**(self._source.shown() if self._source else {}), **await gently(summary(loaded, self._gateway.doing))}
        )

    async def _sessions(self, _request: web.Request) -> web.Response:
        return _json({"sessions": await gently(self._gateway.listing())})

    async def _limits(self, _request: web.Request) -> web.Response:
        note = await self._gateway.refresh_limits()
        limits = await gently(self._gateway.limits())
        return _json({"limits": limits, **({"note": note} if note else {})})

    async def _end_session(self, request: web.Request) -> web.Response:
        session_id = request.match_info["id"]
        if not self._gateway.end_session(session_id):
            return _error(404, "there is no session of this id; GET /sessions lists them")
        return _json({"ending": session_id}, status=202)

    def _private(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.Response:
            if self._shows_token(request) or _is_local(request):
                return await handler(request)
            if self._token:
                response = _error(401, WANTED)
                response.headers["WWW-Authenticate"] = "Bearer"
                return response
            return _error(403, CLOSED)

        return guarded

    def _shows_token(self, request: web.Request) -> bool:
        scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
        given = shown.strip().encode("utf-8", "replace")
        return bool(self._token) and scheme.lower() == "bearer" and hmac.compare_digest(given, self._token)


Doing = Callable[[str, str], Mapping[str, object]]
"""How a provider of a Backend is doing, by both names."""


def summary(loaded: table.Table, doing: Doing) -> Slices[dict[str, object]]:
    """What `/table` shows: versions, routes and where they lead, and how providers are doing. Neither policies nor
    callers, since a literal header value or the hash of a key is nobody's business."""
    versions = yield from loaded.versioning()
    routes = yield from _each(_route, loaded.routes)
    backends = yield from _each(lambda each: _backend(each, doing), loaded.backends)
    return {"schema": loaded.schema_number, "versions": versions, "routes": routes, "backends": backends}


def _each(shown: Callable[[T], object], parts: Sequence[T]) -> Slices[list[object]]:
    found: list[object] = []
    for count, part in enumerate(parts, 1):
        found.append(shown(part))
        if count % SLICE == 0:
            yield
    return found


def _route(route: table.Route) -> dict[str, object]:
    return {
        "name": route.name,
        "hash": route.hash,
        "error": route.error,
        "hostnames": route.hostnames,
        "paths": [{"kind": match.path_kind, "path": match.path} for match in route.matches],
        "forwards": [
            {"backend": forward.backend, "weight": forward.weight, "error": forward.error} for forward in route.forwards
        ],
    }


def _backend(backend: table.Backend, doing: Doing) -> dict[str, object]:
    return {
        "name": backend.name,
        "hash": backend.hash,
        "error": backend.error,
        "providers": [
            {
                "name": each.name,
                "kind": each.kind,
                "url": _bare(each.url),
                "error": each.error,
                **doing(backend.name, each.name),
            }
            for each in backend.providers
        ],
        "models": [model.name for model in backend.models],
        "paths": {path.suffix: path.type for path in backend.paths},
    }


def _bare(url: str) -> str:
    """The address without user, password, query and fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _is_local(request: web.Request) -> bool:
    peer = request.transport.get_extra_info("peername") if request.transport else None
    if not peer or not _is_loopback(str(peer[0])):
        return False
    host = request.headers.get("Host", "")
    origin = request.headers.get("Origin")
    return _is_own_name(host) and (origin is None or origin.partition("//")[2] == host)


def _is_loopback(address: str) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return (mapped or parsed).is_loopback


def _is_own_name(host: str) -> bool:
    """Whether a Host header has a name that no stranger can point here: `localhost`, or an address."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or bool(ip_address(name))
    except ValueError:
        return False


def _json(value: object, status: int = 200) -> web.Response:
    body = orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2)
    return web.Response(status=status, body=body + b"\n", content_type="application/json")


def _error(status: int, message: str) -> web.Response:
    return _json({"error": {"message": message, "code": status}}, status)
