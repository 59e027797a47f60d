"""The composition root: files, compiler and data plane in one process.

A reload is all or nothing as far as files go: with an error in any of them the table that is served stays. An
object that is read but not valid costs only itself, as in a cluster, and is reported.
"""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import structlog
from pydantic import SecretStr

from controller import compile as compiler
from controller.compile import Compiled, Condition, Identity
from dataplane.admin import Admin
from dataplane.metering.instruments import Generations, Instruments
from dataplane.metering.meter import Meter
from dataplane.metering.prices import PriceBook
from dataplane.metering.records import FanOut, Log
from dataplane.metering.sink import HttpSink
from dataplane.process.drain import AT_ONCE, LAST_WORDS, Drain
from dataplane.server import AddressPolicy, Gateway, Limits, TableRefused
from dataplane.telemetry.facade import Telemetry
from tidegate import __version__, running, watching
from tidegate.addresses import Address
from tidegate.documents import Document, Documents, Loaded
from tidegate.exits import Exit, Stop, listening_on
from tidegate.validate import Object

FAREWELL = LAST_WORDS / 3
"""Seconds that the receiver of usage records is given to take the last of them, and then collectors of telemetry."""

log = structlog.get_logger("tidegate")


class NotLoaded(Exception):
    """The files cannot be served, for these reasons."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class Options:
    """How a gateway runs on one machine."""

    paths: Sequence[Path]
    listen: Address
    admin: Address
    tls: ssl.SSLContext | None = None
    upstreams_allow: Sequence[IPv4Network | IPv6Network] = ()
    """Private networks that upstreams may be in. Loopback always is allowed."""
    semconv: Generations = "both"
    max_sessions: int = 0
    """Realtime sessions at a time; 0: any number."""
    drain: Drain = AT_ONCE
    usage_sink: str = ""
    """Where usage records are sent beside the log; empty: nowhere."""
    usage_sink_token: SecretStr | None = None
    admin_token: SecretStr | None = None
    """Opens `/table` and `/sessions` to those who are not on this machine; None: nothing does."""


@dataclass(slots=True)
class Standalone:
    """A gateway that serves files. Configure logging first; make it inside the loop that it runs on."""

    options: Options
    documents: Documents = field(default_factory=Documents)
    objects: Sequence[Object] = ()
    """Everything that was read, with what is said about it."""
    notes: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the table's sections."""
    gateway: Gateway = field(init=False)
    admin: Admin = field(init=False)
    _meter: Meter = field(init=False)
    _telemetry: Telemetry = field(init=False)
    _sink: HttpSink | None = field(init=False)
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
    _refused: bool = False
    """Is what the files said last not what is served?"""

    def __post_init__(self) -> None:
        instruments = Instruments(self.options.semconv)
        self._telemetry = Telemetry(instruments, __version__)
        self._sink = self._usage_sink(instruments)
        sinks = [self._sink] if self._sink else []
        self._meter = Meter(instruments, PriceBook(), FanOut(Log(instruments), *self._telemetry.records, *sinks))
        addresses = AddressPolicy(allow_loopback=True, allow=tuple(self.options.upstreams_allow))
        limits = Limits(sessions=self.options.max_sessions)
        self.gateway = Gateway(meter=self._meter, tracer=self._telemetry.tracer, limits=limits, addresses=addresses)
        self.admin = Admin(self._telemetry, self.gateway, self.options.admin_token)

    def _usage_sink(self, instruments: Instruments) -> HttpSink | None:
        if not self.options.usage_sink:
            return None
        try:
            return HttpSink(self.options.usage_sink, instruments, token=self.options.usage_sink_token)
        except ValueError as error:
            raise Stop(Exit.USAGE, f"--usage-sink: {error}") from None

    async def load(self) -> None:
        """Read the files and serve them from now on. Raises NotLoaded, and what is served stays."""
        with _no_collection():
            self.versions, self.objects, self.notes = await running.beside(self._load)

    def _load(self) -> tuple[Mapping[str, str], Sequence[Object], Sequence[str]]:
        """All of it in a thread: of 5,000 Backends it takes a second. What it ends with swaps one reference each."""
        loaded = self.documents.load(self.options.paths)
        if loaded.errors:
            raise NotLoaded(loaded.errors)
        compiled = compiler.compile(loaded.contents, open_by_default=self.options.listen.is_loopback)
        versions, objects = compiled.table.versions(), _objects(compiled, loaded)
        try:
            self.gateway.load(compiled.table, compiled.secrets)
        except TableRefused as refused:
            raise NotLoaded(refused.reasons) from None
        self._meter.load(compiled.table)
        return versions, objects, loaded.notes

    async def start(self) -> None:
        """Load and listen. Raises NotLoaded, and Stop where a port cannot be had."""
        await self.load()
        listen, admin = self.options.listen, self.options.admin
        with listening_on(str(admin), "--admin"):
            await self.admin.start(admin.host, admin.port)
        try:
            with listening_on(str(listen), "--listen"):
                await self.gateway.start(listen.host, listen.port, self.options.tls)
        except Stop:
            await self.admin.stop()
            raise
        if self._sink:
            self._sink.start()

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
        await self.admin.linger(phases.linger, hurry)
        await self.admin.stop()
        await asyncio.to_thread(self._telemetry.shutdown, FAREWELL)

    async def reload(self, *, asked: bool = False) -> None:
        """Load again, and log what came of it; that nothing did, only to whoever asked. Never raises: whatever goes
        wrong, what is served stays."""
        async with self._one_at_a_time:
            before = self.versions, self.problems(), self._refused
            self._refused = True
            try:
                await self.load()
            except NotLoaded as refused:
                for reason in refused.reasons:
                    log.error("not reloaded; what was served before stays", error=reason)
            except Exception:
                log.exception("the reload failed; what was served before stays")
            else:
                self._refused = False
                if (self.versions, self.problems(), self._refused) != before:
                    self._reloaded()
                elif asked:
                    log.info("reloaded: nothing has changed")

    def _reloaded(self) -> None:
        versions = {section: version[:12] for section, version in self.versions.items()}
        log.info("reloaded", routes=len(self.gateway.table().routes), versions=versions)
        self.report()

    def report(self) -> None:
        """Log what was skipped, and everything that is not right."""
        for note in self.notes:
            log.info(note)
        if not self.gateway.table().routes:
            log.warning("nothing is served: these files hold no Backend that can be, so every request is answered 404")
        for problem in self.problems():
            log.warning(problem)

    def problems(self) -> list[str]:
        """What is said of objects that are not all right, each with its place."""
        return [
            f"{each.status.kind} {each.status.namespace}/{each.status.name}: {condition.reason}: {problem}"
            for each in self.objects
            for condition in _false(each.status.conditions)
            for problem in each.problems(condition)
        ]

    async def watch(self) -> None:
        """Reload whenever the files change, until it is cancelled."""
        paths = [path for path in self.options.paths if not self.documents.come_once(path)]
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


@contextmanager
def _no_collection() -> Iterator[None]:
    """So many new objects set off collections of garbage, which stop the loop from any thread (0.2 s each with 5,000
    Backends) and find nothing: reference counts free what a load leaves behind."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _false(conditions: Sequence[Condition]) -> Iterator[Condition]:
    """Those that say something of their own: Ready sums up the others, and what is not accepted is nothing else."""
    wrong = [each for each in conditions if each.status == "False" and each.type != "Ready"]
    yield from [each for each in wrong if each.type == "Accepted"] or wrong


def _objects(compiled: Compiled, loaded: Loaded) -> list[Object]:
    written: dict[Identity, list[Document]] = defaultdict(list)
    for document in loaded.documents:
        written[document.identity].append(document)
    return [
        Object(status, tuple(written[Identity(status.kind, status.namespace, status.name)]))
        for status in compiled.statuses
    ]


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
