"""A gateway on loopback with a table made by hand, and a meter that remembers."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise

from pydantic import SecretStr

from dataplane.metering.prices import UNREPORTED, Cost
from dataplane.metering.records import SessionSummary
from dataplane.metering.usage import ANONYMOUS, Caller, Usage
from dataplane.server import AddressPolicy, Gateway, Limits
from dataplane.table import (
    Authentication,
    AuthenticationMode,
    Backend,
    CallerKey,
    CallerSet,
    Credential,
    Forward,
    PathType,
    PolicySet,
    Price,
    Provider,
    Route,
    RouteType,
    Table,
    sealed,
)

CLIENT_KEY = "client-key-1f2e3d4c5b6a"
UPSTREAM_KEY = "sk-simulator"
SECRETS = {"upstream@1": SecretStr(f"Bearer {UPSTREAM_KEY}")}
CALLERS = CallerSet(
    id="ai/keys",
    namespace="ai",
    team="support",
    keys=(CallerKey(name="ci-bot", sha256=hashlib.sha256(CLIENT_KEY.encode()).hexdigest()),),
)
REQUIRED = PolicySet(
    authentication=Authentication(policy="ai/auth", mode=AuthenticationMode.REQUIRED, callers=("ai/keys",))
)
OPEN = PolicySet(authentication=Authentication(policy="ai/open", mode=AuthenticationMode.NONE))
PATHS = (
    PathType(suffix="/v1/chat/completions", type=RouteType.COMPLETIONS),
    PathType(suffix="/v1/realtime", type=RouteType.REALTIME),
    PathType(suffix="*", type=RouteType.PASSTHROUGH),
)
ACCOUNT = (
    *("/realtime/client_secrets", "/realtime/sessions", "/realtime/transcription_sessions"),
    *("/auth_tokens", "/v1/organization/*"),
)


def provider(url: str, name: str = "openai", **changes: object) -> Provider:
    """A provider that injects the simulator's key."""
    first = Provider(name=name, kind="openai", url=url, credential=Credential(kind="secret", secret="upstream@1"))
    return first.model_copy(update=changes)


def backend(*providers: Provider, **changes: object) -> Backend:
    first = Backend(name="ai/voice", providers=providers, paths=PATHS, refused=ACCOUNT)
    return sealed(first.model_copy(update=changes))


def table(served: Backend, policies: PolicySet = REQUIRED, **changes: object) -> Table:
    """One Backend at `/`."""
    route = Route(name="ai/voice", forwards=(Forward(backend=served.name, policies=policies),))
    route = sealed(route.model_copy(update=changes))
    return Table(backends=(served,), routes=(route,), callers=(CALLERS,), secrets=("upstream@1",))


@dataclass
class Remembering:
    """A meter that remembers all calls."""

    turns: list[Usage] = field(default_factory=list)
    prices: list[Price | None] = field(default_factory=list)
    requests: list[tuple[str, str, int, str]] = field(default_factory=list)
    opened: int = 0
    closed: list[SessionSummary] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    limits: list[tuple[str, str, str]] = field(default_factory=list)
    """Policy, limit and outcome of each decision."""
    handshakes: list[int] = field(default_factory=list)
    first_audios: list[tuple[str, float]] = field(default_factory=list)
    interruptions: list[str] = field(default_factory=list)
    carried: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By leg, and what: bytes received, bytes sent, messages received."""
    tunnels: list[int] = field(default_factory=list)
    """How many WebSockets of Passthrough paths there were, whenever that changed."""
    drained: bool = False
    healthy: dict[str, bool | None] = field(default_factory=dict)
    """By provider; None: it is gone."""
    active: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By provider and kind."""
    ejections: list[tuple[str, str]] = field(default_factory=list)
    """Provider and reason."""
    full: list[str] = field(default_factory=list)
    """The provider of each request that it had no room for."""
    failovers: list[str] = field(default_factory=list)
    """The reason of each."""
    findings: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    """By guardrail, direction, action and mode."""
    judged: list[tuple[str, str, float]] = field(default_factory=list)
    """Route, direction and seconds."""
    unjudged: list[tuple[str, str, str]] = field(default_factory=list)
    """Guardrail, reason and outcome of each text that nobody judged."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Guardrail and kind of each question."""
    fetches: list[str] = field(default_factory=list)
    """What became of each fetch of an issuer's keys."""

    def turn(self, usage: Usage, own: Price | None = None, duration: float | None = None) -> Cost:
        self.turns.append(usage)
        self.prices.append(own)
        return UNREPORTED

    def session_opened(self, route: str, backend: str, caller: Caller = ANONYMOUS, *, by_key: bool = False) -> None:
        self.opened += 1

    def handshake(self, route: str, backend: str, status: int, seconds: float) -> None:
        self.handshakes.append(status)

    def first_audio(
        self, route: str, backend: str, model: str, trigger: str, seconds: float, *, confirmed: bool
    ) -> None:
        self.first_audios.append((trigger, seconds))

    def interrupted(self, route: str, backend: str, model: str, by: str, *, confirmed: bool) -> None:
        self.interruptions.append(by)

    def traffic(self, route: str, backend: str, side: str, received: int, sent: int, messages: int) -> None:
        self.carried[side, "received"] += received
        self.carried[side, "sent"] += sent
        self.carried[side, "messages"] += messages

    def tunnel_opened(self, route: str, backend: str) -> None:
        self.tunnels.append((self.tunnels or [0])[-1] + 1)

    def tunnel_closed(self, route: str, backend: str) -> None:
        self.tunnels.append(self.tunnels[-1] - 1)

    def loop_lag(self, seconds: float) -> None:
        """Of no interest here."""

    def draining(self, draining: bool) -> None:
        self.drained = draining

    def capacity(self, sessions: int) -> None:
        """Of no interest here."""

    def session_closed(self, summary: SessionSummary) -> None:
        self.closed.append(summary)

    def request(self, route: str, backend: str, status: int, code: str, seconds: float) -> None:
        self.requests.append((route, backend, status, code))

    def unmetered(self, reason: str, route: str = "", backend: str = "") -> None:
        self.lost.append(reason)

    def keys_fetched(self, url: str, result: str) -> None:
        self.fetches.append(result)

    def limited(self, policy: str, limit: str, outcome: str) -> None:
        self.limits.append((policy, limit, outcome))

    def upstream_healthy(self, backend: str, provider: str, *, healthy: bool | None) -> None:
        self.healthy[provider] = healthy

    def upstream_active(self, backend: str, provider: str, kind: str, change: int) -> None:
        self.active[provider, kind] += change

    def ejected(self, backend: str, provider: str, reason: str) -> None:
        self.ejections.append((provider, reason))

    def rate_limited(self, backend: str, provider: str) -> None:
        self.full.append(provider)

    def failed_over(self, backend: str, reason: str) -> None:
        self.failovers.append(reason)

    def guardrail_found(
        self, policy: str, guardrail: str, direction: str, action: str, mode: str, findings: int
    ) -> None:
        self.findings[guardrail, direction, action, mode] += findings

    def guardrail_failed(self, policy: str, guardrail: str, reason: str, outcome: str) -> None:
        self.unjudged.append((guardrail, reason, outcome))

    def guardrail_asked(self, policy: str, guardrail: str, kind: str, seconds: float) -> None:
        self.asked.append((guardrail, kind))

    def guardrails_judged(self, route: str, backend: str, direction: str, seconds: float) -> None:
        self.judged.append((route, direction, seconds))


@dataclass
class Rig:
    gateway: Gateway
    meter: Remembering

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.gateway.port}"

    async def settled(self, requests: int = 1) -> None:
        """Wait until so many requests were counted."""
        async with asyncio.timeout(5):
            while len(self.meter.requests) < requests:
                await asyncio.sleep(0.005)

    async def raw(self, data: bytes) -> bytes:
        """Everything that the gateway answers to these bytes until it closes (or 1 s of silence)."""
        return await self._sent([data])

    async def in_pieces(self, data: bytes, places: Sequence[int]) -> bytes:
        """The same, cut at these places, with every piece in a packet of its own."""
        return await self._sent([data[start:end] for start, end in pairwise((0, *places, len(data)))])

    async def _sent(self, pieces: list[bytes]) -> bytes:
        loop = asyncio.get_running_loop()
        transport, peer = await loop.create_connection(Raw, "127.0.0.1", self.gateway.port)
        try:
            for piece in pieces:
                for _ in range(4):  # gateway and client take turns on one loop
                    await asyncio.sleep(0)
                if transport.is_closing():
                    break
                transport.write(piece)
            seen = -1
            while not peer.ended.is_set() and seen < len(peer.data):
                seen = len(peer.data)
                with suppress(TimeoutError):
                    await asyncio.wait_for(peer.ended.wait(), 1)
            return bytes(peer.data)
        finally:
            transport.close()


class Raw(asyncio.Protocol):
    """Keeps what came, however the connection ended."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


@asynccontextmanager
async def running(
    served: Table,
    limits: Limits | None = None,
    secrets: dict[str, str] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Rig]:
    meter = Remembering()
    gateway = Gateway(
        meter=meter,
        limits=replace(limits or Limits(), linger=0.05),
        addresses=AddressPolicy(allow_loopback=True),
        rand=lambda: 0.0,
        clock=clock,
    )
    known = {name: SecretStr(value) for name, value in secrets.items()} if secrets else SECRETS
    gateway.load(served, known)
    await gateway.start("127.0.0.1", 0)
    try:
        yield Rig(gateway, meter)
    finally:
        await gateway.stop()


BEARER = {"Authorization": f"Bearer {CLIENT_KEY}"}
ASK: dict[str, object] = {"model": "gpt-5", "messages": [{"role": "user", "content": "hello"}]}
