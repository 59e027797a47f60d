"""A gateway and a simulated provider, and what both have written when all is over."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from unittest.mock import patch

import structlog
from structlog.typing import EventDict

from dataplane import table
from dataplane.metering.instruments import Instruments
from dataplane.metering.meter import Meter
from dataplane.metering.prices import PriceBook
from dataplane.process.drain import Drain
from dataplane.realtime import relay
from dataplane.realtime.gate import Verdict
from dataplane.realtime.session import Session
from dataplane.server import AddressPolicy, Gateway, Limits
from dataplane.telemetry.facade import Telemetry
from simulator.server import Simulator
from tests.dataplane import rig
from tests.integration.lives import client_ends, oracle
from tests.integration.lives.gateway_ends import FAULT
from tests.integration.lives.life import MODELS, PLACES, Road
from tests.integration.lives.tap import Tap
from tests.integration.lives.tape import Tape, Written
from tests.integration.lives.verdict import CAPACITY
from tests.integration.talker import CHAT_MODELS, TRANSCRIBERS

PING, SILENCE, STALL, LINGER, SETTLE = 0.8, 3.0, 1.2, 1.5, 2.5
"""Seconds, short enough to be waited for and long enough for a busy machine."""
SESSION = {
    "calm": {},
    "rough": {"max_message": client_ends.MAX_MESSAGE, "max_fragments": client_ends.MAX_FRAGMENTS},
    "idle": {"idle": 2.0},
    "brief": {"duration": 4.0},
}
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
PHASES = Drain(lame_duck=0.1, patience=0.8, closing=0.6, linger=0)


@dataclass
class World:
    simulator: Simulator
    gateway: Gateway
    telemetry: Telemetry
    tape: Tape
    tap: Tap
    written: Written

    @property
    def port(self) -> int:
        return self.gateway.port

    def end_session(self, session_id: str) -> bool:
        return self.gateway.end_session(session_id)

    async def forgotten(self, session_id: str) -> None:
        """Wait until the gateway does not know that session any more."""
        while any(each["id"] == session_id for each in self.gateway.sessions()):
            await asyncio.sleep(0.2)

    async def settled(self) -> None:
        """Wait until nothing is left of any session, here or at the provider."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE + 4 * LINGER + SILENCE):
                while self.gateway.sessions():
                    await asyncio.sleep(0.02)
        assert self.gateway.sessions() == []

    async def drain(self) -> None:
        await self.gateway.drain(PHASES, asyncio.Event())


def served(url: str) -> table.Table:
    """A table with a route for each road."""
    backends, routes = [], []
    for road, place in PLACES.items():
        backend = rig.backend(rig.provider(url, kind="custom"), name=place.backend, models=_models(road))
        limits = (table.SessionLimits.model_validate(SESSION[road]),)
        policies = rig.REQUIRED.model_copy(update={"session": limits})
        forward = table.Forward(backend=place.backend, policies=policies)
        routes.append(table.sealed(table.Route(name=place.route, hostnames=(f"{road}.test",), forwards=(forward,))))
        backends.append(backend)
    return table.Table(backends=tuple(backends), routes=tuple(routes), callers=(rig.CALLERS,), secrets=("upstream@1",))


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
    )
    with (
        structlog.testing.capture_logs() as lines,
        tap.open(),
        faulty(),
        patch.object(relay, "LINGER", LINGER),
        patch.object(relay, "SETTLE", SETTLE),
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
                await gateway.stop()
                it.telemetry.shutdown()
    assert complaints(lines) == []


def complaints(lines: list[EventDict]) -> list[str]:
    """What the gateway logged that is not right, but for the fault that is injected."""
    wrong = [line for line in lines if line["log_level"] not in ("debug", "info")]
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
