"""A gateway and a simulated provider, and what both have written when all is over."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import traceback
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import cast
from unittest.mock import patch
from weakref import WeakSet

import structlog
from structlog.typing import EventDict

from dataplane import table
from dataplane.errors import Refusal
from dataplane.limits.budget import Budget
from dataplane.limits.spending import Model
from dataplane.metering.instruments import Instruments
from dataplane.metering.meter import Meter
from dataplane.metering.prices import PriceBook
from dataplane.process.drain import Drain
from dataplane.realtime import relay
from dataplane.realtime.legs import Leg
from dataplane.realtime.live import LiveSession
from dataplane.realtime.service import Realtime
from dataplane.realtime.session import Session
from dataplane.realtime.steps import Verdict
from dataplane.revocation import NOT_ADMITTED
from dataplane.server import AddressPolicy, Gateway, Limits
from dataplane.slices import at_once
from dataplane.telemetry.facade import Telemetry
from simulator import realtime
from simulator.server import Simulator
from tests.dataplane import rig
from tests.integration.lives import client_ends, gateway_ends, oracle
from tests.integration.lives.gateway_ends import FAULT
from tests.integration.lives.life import LIMITED_KEY, MODELS, PLACES, Road, Side
from tests.integration.lives.line import Line
from tests.integration.lives.tap import Tap
from tests.integration.lives.tape import Tape, Written
from tests.integration.lives.verdict import CAPACITY, RESERVE
from tests.integration.talker import CHAT_MODELS, TRANSCRIBERS

PING, SILENCE, STALL, LINGER, SETTLE = 0.8, 3.0, 1.2, 2.6, 2.5
"""Seconds, short enough to be waited for and long enough for a busy machine. A client that takes nothing is there for
longer than usage is waited for."""
CLOSE = 10.0
"""Seconds that the provider waits for the answer to its Close: longer than a client may take to stall."""
SESSION = {
    "calm": {},
    "rough": {"max_message": client_ends.MAX_MESSAGE, "max_fragments": client_ends.MAX_FRAGMENTS},
    "idle": {"idle": 2.0},
    "brief": {"duration": 4.0},
    "unnamed": {},
    "guarded": {},
}
_LIMITED = table.CallerKey(name="limited", sha256=hashlib.sha256(LIMITED_KEY.encode()).hexdigest())
CALLERS = rig.CALLERS.model_copy(update={"keys": (*rig.CALLERS.keys, _LIMITED)})
PLENTY = table.CallerLimits(
    policy="ai/plenty",
    subjects=(table.Subject(namespace="ai", key="limited"),),
    limits=(table.Limit(kind="tokens", max=10**12, per="Month"),),
    reserve=RESERVE,
    end_session=True,
)
GUARDED = table.Guardrail(
    policy="ai/guards", name="words", keywords=table.Keywords(words=(gateway_ends.UNSPEAKABLE,)), action="block"
)
ALLOWED = table.ModelAllow(policy="ai/few", patterns=("none-of-these",))
PRICE = table.Price(
    input_text=str(oracle.INPUT),
    input_audio=str(oracle.INPUT),
    input_image=str(oracle.INPUT),
    cached_text=str(oracle.CACHED),
    cached_audio=str(oracle.CACHED),
    cached_image=str(oracle.CACHED),
    output_text=str(oracle.OUTPUT),
    output_audio=str(oracle.OUTPUT),
)
INJECTED = "injected by a test"
NARROW = 32 * 1024
PHASES = Drain(lame_duck=0.1, patience=0.8, closing=0.6, linger=0)


@dataclass
class Spent:
    """A budget of which nothing is left; what was set aside before is given back as ever."""

    before: Budget
    ends: bool = True

    async def admit_turn(self, _: Model) -> None:
        raise Refusal("limit_exceeded", "All is spent.")

    def __getattr__(self, name: str) -> object:
        return getattr(self.before, name)


@dataclass
class World:
    simulator: Simulator
    gateway: Gateway
    telemetry: Telemetry
    tape: Tape
    tap: Tap
    written: Written
    lines: WeakSet[Line] = field(default_factory=WeakSet)

    @property
    def port(self) -> int:
        return self.gateway.port

    def end_session(self, session_id: str) -> bool:
        return self.gateway.end_session(session_id)

    def revoke(self, session_id: str) -> None:
        self._sessions._entries[session_id].revoke(NOT_ADMITTED)

    def spend(self, session_id: str) -> None:
        turnstile = self._sessions._entries[session_id].turnstile
        assert turnstile is not None
        turnstile._budget = cast("Budget", Spent(turnstile._budget))

    async def forgotten(self, session_id: str) -> None:
        """Wait until the gateway does not know that session any more."""
        while session_id in self._sessions._entries:
            await asyncio.sleep(0.2)

    def narrow(self, session_id: str, to: Side = "client") -> None:
        """Let the kernel hold little of what the gateway sends to one side of that session."""
        leg = self._client(session_id) if to == "client" else self._live(session_id).upstream
        transport = leg._transport
        assert transport is not None
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, NARROW)

    async def read(self, session_id: str, messages: int) -> None:
        """Wait until the gateway has read so many of the client's messages, and every turn among them is admitted."""
        async with asyncio.timeout(20):
            while self._live(session_id).relay.client_messages < messages or self._asks(session_id):
                await asyncio.sleep(0.005)

    def _asks(self, session_id: str) -> bool:
        turnstile = self._sessions._entries[session_id].turnstile
        return turnstile is not None and bool(turnstile._asking)

    async def full(self, session_id: str) -> None:
        """Wait until more waits for that session's client than should."""
        async with asyncio.timeout(20):
            while not self._client(session_id).full:
                await asyncio.sleep(0.01)

    def _client(self, session_id: str) -> Leg:
        """The gateway's connection to the client."""
        leg = self._live(session_id).client
        assert leg is not None
        return leg

    def _live(self, session_id: str) -> LiveSession:
        entry = self._sessions._entries.get(session_id)
        assert entry is not None, f"session {session_id} is over"
        return entry.live

    @property
    def _sessions(self) -> Realtime:
        found = self.gateway._sessions
        assert found is not None
        return found

    async def settled(self) -> None:
        """Wait until nothing is left of any session, here or at the provider."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE + 4 * LINGER + SILENCE):
                while self._sessions.live():
                    await asyncio.sleep(0.02)
        assert self.gateway.sessions() == []
        assert [each for each in at_once(self.gateway.limiter.listing()) if each["reserved"]] == []

    def spent(self) -> int:
        """Tokens of the one budget."""
        return sum(int(str(each["used"])) for each in at_once(self.gateway.limiter.listing()))

    async def drain(self) -> None:
        await self.gateway.drain(PHASES, asyncio.Event())


def served(url: str) -> table.Table:
    """A table with a route for each road."""
    backends, routes = [], []
    for road, place in PLACES.items():
        backend = rig.backend(rig.provider(url, kind="custom"), name=place.backend, models=_models(road))
        limits = (table.SessionLimits.model_validate(SESSION[road]),)
        allowed = (ALLOWED,) if road == "unnamed" else ()
        guardrails = (GUARDED,) if road == "guarded" else ()
        blocks = {"session": limits, "models": allowed, "limits": (PLENTY,), "guardrails": guardrails}
        policies = rig.REQUIRED.model_copy(update=blocks)
        forward = table.Forward(backend=place.backend, policies=policies)
        routes.append(table.sealed(table.Route(name=place.route, hostnames=(f"{road}.test",), forwards=(forward,))))
        backends.append(backend)
    return table.Table(backends=tuple(backends), routes=tuple(routes), callers=(CALLERS,), secrets=("upstream@1",))


def _models(road: Road) -> tuple[table.Model, ...]:
    own = [("voice", MODELS[road])] + [(name, name) for name in (*CHAT_MODELS, *TRANSCRIBERS)]
    return tuple(
        table.Model(name=name, targets=(table.Target(provider="openai", model=model),), price=PRICE)
        for name, model in own
    )


def meter(instruments: Instruments, records: Written) -> Meter:
    """One that knows the names of the table."""
    made = Meter(instruments, PriceBook(), records)
    made.load(served("http://any"))
    return made


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    instruments, written, tap = Instruments(), Written(), Tap()
    tape, told = Tape.before(meter(instruments, written))
    gateway = Gateway(
        meter=told,
        limits=Limits(sessions=CAPACITY, ping=PING, silence=SILENCE, stall=STALL),
        addresses=AddressPolicy(allow_loopback=True),
        memory=lambda: None,
        clock=count(step=10_000).__next__,  # nobody is left out: it is hours later at each look
    )
    with (
        structlog.testing.capture_logs() as lines,
        tap.open(),
        faulty(),
        patch.object(relay, "LINGER", LINGER),
        patch.object(relay, "SETTLE", SETTLE),
        patch.object(realtime, "_CLOSE_S", CLOSE),
    ):
        async with Simulator() as simulator:
            await gateway.start("127.0.0.1", 0)
            gateway.load(served(f"{simulator.url}/v1"), rig.SECRETS)
            it = World(simulator, gateway, Telemetry(instruments), tape, tap, written)
            try:
                yield it
            except BaseException as error:
                for complaint in complaints(lines)[:3]:
                    error.add_note(complaint)
                raise
            finally:
                for line in tuple(it.lines):
                    line.reset()
                await gateway.stop()
                it.telemetry.shutdown()
    assert complaints(lines) == []


def complaints(lines: list[EventDict]) -> list[str]:
    """What the gateway logged that is not right, but for the fault that is injected, and for what a provider was told
    to refuse."""
    wrong = [line for line in lines if line["log_level"] not in ("debug", "info")]
    wrong = [line for line in wrong if line["event"] not in ("a provider rests", "a provider is ejected")]
    wrong = [line for line in wrong if line.get("code") != "upstream_credential_rejected"]
    return ["".join(_told(line)) for line in wrong if INJECTED not in str(line.get("exc_info"))]


def _told(line: EventDict) -> list[str]:
    error = line.get("exc_info")
    return [str(line), *(traceback.format_exception(error) if isinstance(error, BaseException) else [])]


def faulty() -> AbstractContextManager[object]:
    """The gateway fails on a client's event with a certain id."""
    read = Session.read_client

    def failing(session: Session, payload: bytes, *, binary: bool) -> Verdict:
        if FAULT.encode() in payload:
            raise RuntimeError(INJECTED)
        return read(session, payload, binary=binary)

    return patch.object(Session, "read_client", failing)
