"""The composition root: files, compiler and data plane in one process.

A reload is all or nothing as far as files go: with an error in any of them the table that is served stays. An
object that is read but not valid costs only itself, as in a cluster, and is reported.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import structlog
from pydantic import SecretStr

from dataplane.admin import Admin
from dataplane.limits.fleet import Fleet
from dataplane.limits.limiter import Limiter
from dataplane.metering.instruments import Generations, Instruments
from dataplane.metering.meter import Meter
from dataplane.metering.prices import PriceBook
from dataplane.metering.records import FanOut, Log
from dataplane.metering.sink import HttpSink
from dataplane.process.drain import AT_ONCE, LAST_WORDS, Drain
from dataplane.process.garbage import Garbage
from dataplane.process.gently import gently
from dataplane.process.pulse import Every
from dataplane.server import AddressPolicy, Gateway, Limits, Proxies, TableRefused
from dataplane.telemetry.facade import Telemetry
from tidegate import __version__, watching
from tidegate.addresses import Address
from tidegate.compiling import Outcome
from tidegate.documents import Documents
from tidegate.exits import Exit, Stop, listening_on
from tidegate.loading import NotLoaded, Source
from tidegate.worker import Failed

FAREWELL = LAST_WORDS / 3
"""Seconds that the receiver of usage records is given to take the last of them, and then collectors of telemetry."""

COLLECTS = 1.0
"""Seconds between two looks at whether nobody is served, and garbage can be collected."""

log = structlog.get_logger("tidegate")


@dataclass(frozen=True, slots=True)
class Options:
    """How a gateway runs on one machine."""

    paths: Sequence[Path]
    listen: Address
    admin: Address
    tls: ssl.SSLContext | None = None
    reuse_port: bool = False
    """Share `listen` with other processes that do so, too."""
    upstreams_allow: Sequence[IPv4Network | IPv6Network] = ()
    """Private networks that upstreams may be in. Loopback always is allowed."""
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
    admin_token: SecretStr | None = None
    """Opens `/table`, `/sessions` and `/limits` to those who are not on this machine; None: nothing does."""


@dataclass(slots=True)
class Standalone:
    """A gateway that serves files. Configure logging first; make it inside the loop that it runs on."""

    options: Options
    documents: InitVar[Documents | None] = None
    """What reads the files; only tests have one of their own."""
    served: Outcome | None = None
    """What was made of the files that are served."""
    gateway: Gateway = field(init=False)
    admin: Admin = field(init=False)
    _meter: Meter = field(init=False)
    _telemetry: Telemetry = field(init=False)
    _sink: HttpSink | None = field(init=False)
    _source: Source = field(init=False)
    _garbage: Garbage = field(init=False)
    _collecting: Every | None = None
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
    _refused: bool = False
    """Is what the files said last not what is served?"""
    _stopped: bool = False

    def __post_init__(self, documents: Documents | None) -> None:
        instruments = Instruments(self.options.semconv)
        self._telemetry = Telemetry(instruments, __version__)
        self._sink = self._usage_sink(instruments)
        sinks = [self._sink] if self._sink else []
        prices = PriceBook()
        self._meter = Meter(instruments, prices, FanOut(Log(instruments), *self._telemetry.records, *sinks))
        addresses = AddressPolicy(allow_loopback=True, allow=tuple(self.options.upstreams_allow))
        limits = Limits(sessions=self.options.max_sessions)
        self.gateway = Gateway(
            meter=self._meter,
            tracer=self._telemetry.tracer,
            limits=limits,
            addresses=addresses,
            limiter=Limiter(prices.unit_prices, self._meter.limited, fleet=self._fleet()),
            proxies=self.options.proxies,
        )
        self.admin = Admin(self._telemetry, self.gateway, self.options.admin_token)
        self._garbage = Garbage(lambda: self.gateway.idle)
        has_store = bool(self.options.state)
        self._source = Source(self.options.paths, self.options.listen.is_loopback, documents or Documents(), has_store)

    def _usage_sink(self, instruments: Instruments) -> HttpSink | None:
        if not self.options.usage_sink:
            return None
        try:
            return HttpSink(self.options.usage_sink, instruments, token=self.options.usage_sink_token)
        except ValueError as error:
            raise Stop(Exit.USAGE, f"--usage-sink: {error}") from None

    def _fleet(self) -> Fleet | None:
        if not self.options.state:
            return None
        from dataplane.limits.store import ValkeyStore  # it imports a client that most do without

        try:
            store = ValkeyStore(self.options.state, self.options.state_password)
        except ValueError as error:
            raise Stop(Exit.USAGE, f"--state {error}.") from None
        return Fleet(store, self._meter.limit_store)

    async def load(self) -> None:
        """Read the files and serve them from now on. Raises NotLoaded and Failed, and what is served stays."""
        with self._garbage.kept_away() as growing:
            read = await self._source.read(growing)
            try:
                await self.gateway.replace(read.built.table, read.built.secrets)
            except TableRefused as refused:
                raise NotLoaded(refused.reasons) from None
            await gently(self._meter.loading(read.built.table))
            self.served = read.outcome
            await self._source.serves(read)

    async def start(self) -> None:
        """Load, unless that was done, and listen. Raises NotLoaded, and Stop where a port cannot be had."""
        if self.served is None:
            await self.load()
        listen, admin = self.options.listen, self.options.admin
        with listening_on(str(admin), "--admin"):
            await self.admin.start(admin.host, admin.port)
        try:
            with listening_on(str(listen), "--listen"):
                await self.gateway.start(listen.host, listen.port, self.options.tls, reuse_port=self.options.reuse_port)
        except Stop:
            await self.admin.stop()
            raise
        if self._sink:
            self._sink.start()
        self._garbage.start()
        self._collecting = Every(COLLECTS, lambda _: self._garbage.look())

    async def stop(self, hurry: asyncio.Event | None = None) -> None:
        """Let all sessions end, in the phases that the options set, then the admin port, so that the last numbers can
        still be read. `hurry` cuts all waiting for callers short. Cancelled, it waits for nobody at all."""
        phases, hurry = self.options.drain, hurry or asyncio.Event()
        try:
            await self.gateway.drain(phases, hurry)
            if self._sink:
                await self._sink.close(FAREWELL)
        except asyncio.CancelledError:
            await self.gateway.cut()
            if self._sink:
                await self._sink.close(0)
            raise
        finally:
            self._stopped = True
            if self._collecting:
                self._collecting.stop()
            self._garbage.stop()
            await self._source.close()
        await self.admin.linger(phases.linger, hurry)
        await self.admin.stop()
        await asyncio.to_thread(self._telemetry.shutdown, FAREWELL)

    async def reload(self, *, asked: bool = False) -> None:
        """Load again, and log what came of it; that nothing did, only to whoever asked. Never raises: whatever goes
        wrong, what is served stays."""
        async with self._one_at_a_time:
            if self._stopped:
                return
            before = self.versions, self.problems(), self._refused
            self._refused = True
            try:
                await self.load()
            except NotLoaded as refused:
                for reason in refused.reasons:
                    log.error("not reloaded; what was served before stays", error=reason)
            except Failed as failed:
                if not self._stopped:
                    log.error("the reload failed; what was served before stays", error=str(failed))
            except Exception:
                log.exception("the reload failed; what was served before stays")
            else:
                self._refused = False
                if (self.versions, self.problems(), self._refused) != before:
                    await self._reloaded()
                elif asked:
                    log.info("reloaded: nothing has changed")

    async def _reloaded(self) -> None:
        versions = {section: version[:12] for section, version in self.versions.items()}
        log.info("reloaded", routes=len(self.gateway.table().routes), versions=versions)
        await self.report()

    async def report(self) -> None:
        """Log what was skipped, and everything that is not right."""
        for note in self.served.notes if self.served else ():
            log.info(note)
        if not self.gateway.table().routes:
            log.warning("nothing is served: these files hold no Backend that can be, so every request is answered 404")
        for problem in self.problems():
            log.warning(problem)
            await asyncio.sleep(0)  # there may be thousands

    @property
    def versions(self) -> Mapping[str, str]:
        """Of the table's sections."""
        return self.served.versions if self.served else {}

    def problems(self) -> Sequence[str]:
        """What is said of objects that are not all right, each with its place."""
        return self.served.problems if self.served else []

    async def watch(self) -> None:
        """Reload whenever the files change, until it is cancelled."""
        paths = [path for path in self.options.paths if path not in self._source.come_once]
        try:
            async for _ in watching.changes(paths):
                await self.reload()
        except (OSError, RuntimeError) as error:  # out of inotify watches, an odd file system
            log.warning("the files are not watched; send SIGHUP to reload", error=str(error))

    @property
    def address(self) -> Address:
        """Where it listens, with the port that it got."""
        return Address(self.options.listen.host, self.gateway.port)

    @property
    def admin_address(self) -> Address:
        return Address(self.options.admin.host, self.admin.port)


def server_tls(certificate: Path, key: Path) -> ssl.SSLContext:
    """A context for clients. Raises Stop."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        for path in (certificate, key):
            path.read_bytes()
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except ssl.SSLError as error:
        raise Stop(
            Exit.CANNOT_START,
            f"{certificate} and {key} are no certificate chain and its private key, in PEM and without a passphrase"
            f"{': ' + error.reason if error.reason else ''}.",
        ) from None
    except OSError as error:
        raise Stop(Exit.CANNOT_START, f"{error.filename}: {error.strerror}.") from None
    context.set_alpn_protocols(["http/1.1"])
    return context


def _no_passphrase() -> str:
    """Without it, OpenSSL would ask at the terminal."""
    return ""
