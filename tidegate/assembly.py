"""A data plane put together: gateway, meter, telemetry, sinks, admin port. Where its tables come from is for whoever
has it made: `standalone` loads files, `subscribed` what controllers offer."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from dataplane.admin import Admin, Source
from dataplane.affinity.hints import Keys
from dataplane.http.certificates import no_passphrase, server_context
from dataplane.limits.fleet import Fleet
from dataplane.limits.limiter import Limiter
from dataplane.metering.instruments import Generations, Instruments
from dataplane.metering.meter import Meter
from dataplane.metering.prices import PriceBook
from dataplane.metering.records import FanOut, Log
from dataplane.metering.sink import HttpSink
from dataplane.process.drain import AT_ONCE, LAST_WORDS, Drain
from dataplane.process.garbage import Garbage
from dataplane.process.pulse import Every
from dataplane.server import AddressPolicy, EgressProxy, Gateway, Limits, Proxies
from dataplane.telemetry.facade import Telemetry
from tidegate import __version__
from tidegate.addresses import Address
from tidegate.exits import Exit, Stop, listening_on

FAREWELL = LAST_WORDS / 3
"""Seconds that the receiver of usage records is given to take the last of them, and then collectors of telemetry."""

COLLECTS = 1.0
"""Seconds between two looks at whether nobody is served, and garbage can be collected."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How it runs, wherever its tables come from."""

    tls: ssl.SSLContext | None = None
    egress: EgressProxy | None = None
    """What upstreams are called through."""
    proxies: Proxies = field(default_factory=Proxies)
    """Load balancers that are believed whom they speak for."""
    semconv: Generations = "both"
    max_sessions: int = 0
    """Realtime sessions at a time; 0: any number."""
    drain: Drain = AT_ONCE
    usage_sink: str = ""
    """Where usage records are sent beside the log; empty: nowhere."""
    usage_sink_token: SecretStr | None = None
    state: str = field(default="", repr=False)
    """Address of the store that all gateways count limits in, perhaps with a password; empty: each counts alone."""
    state_password: SecretStr | None = None
    hints: Keys | None = None
    """What signs what providers keep, where tables have no keys; None: a key that is this process's alone."""
    admin_token: SecretStr | None = None
    """Opens `/table`, `/sessions` and `/limits` to those who are not on this machine; None: nothing does."""


class Assembly:
    """Make it inside the loop that it runs on. `addresses`: which upstreams may be dialled. Raises Stop (usage)."""

    def __init__(self, settings: Settings, addresses: AddressPolicy, source: Source | None = None) -> None:
        self.settings = settings
        self.instruments = Instruments(settings.semconv)
        self.telemetry = Telemetry(self.instruments, __version__)
        self._sink = self._usage_sink()
        sinks = [self._sink] if self._sink else []
        prices = PriceBook()
        self.meter = Meter(self.instruments, prices, FanOut(Log(self.instruments), *self.telemetry.records, *sinks))
        self.gateway = Gateway(
            meter=self.meter,
            tracer=self.telemetry.tracer,
            limits=Limits(sessions=settings.max_sessions),
            addresses=addresses,
            egress=settings.egress,
            limiter=Limiter(prices.unit_prices, self.meter.limited, fleet=self._fleet()),
            proxies=settings.proxies,
            hints=settings.hints,
        )
        self.admin = Admin(self.telemetry, self.gateway, settings.admin_token, source)
        self.garbage = Garbage(lambda: self.gateway.idle)
        self._collecting: Every | None = None

    def _usage_sink(self) -> HttpSink | None:
        if not self.settings.usage_sink:
            return None
        try:
            return HttpSink(self.settings.usage_sink, self.instruments, token=self.settings.usage_sink_token)
        except ValueError as error:
            raise Stop(Exit.USAGE, f"--usage-sink: {error}") from None

    def _fleet(self) -> Fleet | None:
        if not self.settings.state:
            return None
        from dataplane.limits.store import ValkeyStore  # it imports a client that most do without

        try:
            store = ValkeyStore(self.settings.state, self.settings.state_password)
        except ValueError as error:
            raise Stop(Exit.USAGE, f"--state {error}.") from None
        return Fleet(store, self.meter.limit_store)

    async def open_admin(self, address: Address) -> None:
        """Raises Stop where the port cannot be had."""
        with listening_on(str(address), "--admin"):
            await self.admin.start(address.host, address.port)

    async def open(self, address: Address, *, reuse_port: bool = False) -> None:
        """Serve. Raises Stop where the port cannot be had; then the admin port is closed, too."""
        try:
            with listening_on(str(address), "--listen"):
                await self.gateway.start(address.host, address.port, self.settings.tls, reuse_port=reuse_port)
        except Stop:
            await self.admin.stop()
            raise
        if self._sink:
            self._sink.start()
        self.garbage.start()
        self._collecting = Every(COLLECTS, lambda _: self.garbage.look())

    async def stop(self, hurry: asyncio.Event, release: Callable[[], Awaitable[None]]) -> None:
        """Let all sessions end, in the phases that the settings say, then the source of tables (`release`), then the
        admin port, so that the last numbers can still be read. `hurry` cuts all waiting for callers short. Cancelled,
        it waits for nobody at all."""
        try:
            await self.gateway.drain(self.settings.drain, hurry)
            if self._sink:
                await self._sink.close(FAREWELL)
        except asyncio.CancelledError:
            await self.gateway.cut()
            if self._sink:
                await self._sink.close(0)
            raise
        finally:
            if self._collecting:
                self._collecting.stop()
            self.garbage.stop()
            await release()
        await self.admin.linger(self.settings.drain.linger, hurry)
        await self.admin.stop()
        await asyncio.to_thread(self.telemetry.shutdown, FAREWELL)


def server_tls(certificate: Path, key: Path) -> ssl.SSLContext:
    """A context for clients. Raises Stop."""
    context = server_context()
    try:
        for path in (certificate, key):
            path.read_bytes()
        context.load_cert_chain(certificate, key, password=no_passphrase)
    except ssl.SSLError as error:
        raise Stop(
            Exit.CANNOT_START,
            f"{certificate} and {key} are no certificate chain and its private key, in PEM and without a passphrase"
            f"{': ' + error.reason if error.reason else ''}.",
        ) from None
    except OSError as error:
        raise Stop(Exit.CANNOT_START, f"{error.filename}: {error.strerror}.") from None
    return context
