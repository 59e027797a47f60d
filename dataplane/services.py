"""What every request shares: limits, the meter, upstream connections. Made once, by the server."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from dataplane.affinity.hints import Keys
from dataplane.guard import Guard
from dataplane.http.background import Background
from dataplane.http.proxies import Proxies
from dataplane.http.refused import Refused
from dataplane.judges.about import Judges
from dataplane.metering.prices import Cost
from dataplane.metering.records import SessionSummary
from dataplane.metering.usage import Caller, Usage
from dataplane.process.beside import Beside
from dataplane.process.files import Files
from dataplane.process.pace import Pace
from dataplane.process.revocations import Revocations
from dataplane.process.room import Room
from dataplane.process.threads import Threads
from dataplane.table import Price
from dataplane.tracing import Tracer
from dataplane.upstreams.addresses import AddressPolicy
from dataplane.upstreams.egress import EgressProxy
from dataplane.upstreams.pool import Pool
from dataplane.upstreams.pools import Pools

KIB, MIB = 1024, 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes that are held, seconds that a peer is waited for, and how much the process takes on. What providers are
    given is the Backend's to say (`table.Timeouts`), what a session may take a Policy's (`table.SessionLimits`)."""

    sessions: int = 0
    """Realtime sessions, and WebSockets of other paths, at a time; 0: any number."""
    ping: float = 12.0
    """A leg of a session from which nothing came for so long, or up to twice as long, is sent a Ping: sooner than the
    30 seconds after which many load balancers cut what is quiet."""
    silence: float = 60.0
    """One from which nothing came for so long, not even a Pong, is dead."""

    head: int = 32 * KIB
    """Of a request: its line and all header fields."""
    body: int = 32 * MIB
    """Of a request that must be read (Completions, Responses)."""
    reply: int = 16 * MIB
    """Of a JSON reply, or an event of a response, to read its usage. A longer one is relayed all the same, and counted
    as unmetered."""
    event: int = 4 * MIB
    """Of one event of a stream."""
    client_idle: float = 60.0
    """Between two reads of a request's body, or until a client takes 64 KiB more of its answer."""
    stall: float = 60.0
    """Until a peer of a session, or of another WebSocket, takes some of what waits for it; both legs."""
    linger: float = 2.0
    """For the rest of a body that nobody reads, so that its sender sees the answer before the connection ends."""
    head_time: float = 10.0
    """For a request's head, from its first bytes."""
    keep_alive: float = 75.0
    """How long a connection may be idle."""


class Meter(Protocol):
    """What is counted; see `dataplane.metering.meter.Meter`."""

    def turn(self, usage: Usage, own: Price | None = None, duration: float | None = None) -> Cost: ...

    def handshake(self, route: str, backend: str, status: int, seconds: float) -> None: ...

    def session_opened(self, route: str, backend: str, caller: Caller = ..., *, by_key: bool = ...) -> None: ...

    def first_audio(
        self, route: str, backend: str, model: str, trigger: str, seconds: float, *, confirmed: bool
    ) -> None: ...

    def interrupted(self, route: str, backend: str, model: str, by: str, *, confirmed: bool) -> None: ...

    def traffic(self, route: str, backend: str, side: str, received: int, sent: int, messages: int) -> None: ...

    def tunnel_opened(self, route: str, backend: str) -> None: ...

    def tunnel_closed(self, route: str, backend: str) -> None: ...

    def loop_lag(self, seconds: float) -> None: ...

    def draining(self, draining: bool) -> None: ...

    def capacity(self, sessions: int) -> None: ...

    def session_closed(self, summary: SessionSummary) -> None: ...

    def request(self, route: str, backend: str, status: int, code: str, seconds: float) -> None: ...

    def unmetered(self, reason: str, route: str = "", backend: str = "") -> None: ...

    def keys_fetched(self, url: str, result: str) -> None: ...

    def limited(self, policy: str, limit: str, outcome: str) -> None: ...

    def upstream_healthy(self, backend: str, provider: str, *, healthy: bool | None) -> None: ...

    def upstream_active(self, backend: str, provider: str, kind: str, change: int) -> None: ...

    def ejected(self, backend: str, provider: str, reason: str) -> None: ...

    def rate_limited(self, backend: str, provider: str) -> None: ...

    def failed_over(self, backend: str, reason: str) -> None: ...

    def guardrail_found(
        self, policy: str, guardrail: str, direction: str, action: str, mode: str, findings: int
    ) -> None: ...

    def guardrail_failed(self, policy: str, guardrail: str, reason: str, outcome: str) -> None: ...

    def guardrail_asked(self, policy: str, guardrail: str, kind: str, seconds: float) -> None: ...

    def guardrails_judged(self, route: str, backend: str, direction: str, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Services:
    limits: Limits
    meter: Meter
    tracer: Tracer
    addresses: AddressPolicy
    files: Files
    tls: ssl.SSLContext
    """For upstreams."""
    egress: EgressProxy | None
    """What upstreams are called through."""
    pool: Pool
    rand: Callable[[], float]
    """A number in [0, 1)."""
    pools: Pools
    """Which provider is asked, and how all of them are doing."""
    revocations: Revocations
    proxies: Proxies
    """Those that are believed whom they speak for."""
    hints: Keys
    """Sign what providers keep, where the table has no keys."""
    judges: Judges
    """Who is asked about texts, and is told what was found."""
    background: Background = field(default_factory=Background)
    refused: Refused = field(default_factory=Refused)
    """Responses that nobody goes on from."""
    room: Room = field(default_factory=Room)
    """What sessions may hold of unfinished messages."""
    pace: Pace = field(default_factory=Pace)
    """Of beginnings and ends of sessions."""
    beside: Beside = field(default_factory=Beside)
    """What is judged and changes nothing."""
    threads: Threads = field(default_factory=Threads)
    """Long texts are judged there."""
    guard: Guard = field(default_factory=Guard)
    """Around tracer and meter, where they only tell."""
