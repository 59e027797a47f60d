"""`tidegate serve`: a gateway on this machine, from its start to its end."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

import structlog

from dataplane.metering.instruments import Generations
from dataplane.process import garbage, logs
from dataplane.process.drain import AT_ONCE, Drain
from dataplane.server import Proxies
from tidegate import __version__, addresses, banner, durations, environment, running, standalone
from tidegate.addresses import Address
from tidegate.exits import Exit, Stop
from tidegate.loading import NotLoaded
from tidegate.standalone import Standalone

log = structlog.get_logger("tidegate")


@dataclass(frozen=True, slots=True)
class Options:
    """The command's options as they were written."""

    files: Sequence[Path]
    listen: str
    admin: str
    tls_cert: Path | None
    tls_key: Path | None
    reuse_port: bool
    upstreams_allow: Sequence[str]
    trust_proxy: Sequence[str]
    proxy_protocol: bool
    max_sessions: int
    drain_lame_duck: str
    drain_patience: str
    drain_closing: str
    drain_linger: str
    usage_sink: str
    state: str = field(repr=False)
    log_format: logs.Format | None
    semconv: Generations


def run(options: Options) -> None:
    """Serve until a signal comes. Raises Stop."""
    chosen = _understood(options)
    log_format = options.log_format or ("console" if sys.stdout.isatty() else "json")
    logs.configure(log_format)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells of every change
    running.raise_open_files()
    # A third signal cancels the end that the first began and the second hurried: it cuts off what is left.
    with suppress(asyncio.CancelledError):
        running.run(_serve(chosen, log_format))


def _understood(options: Options) -> standalone.Options:
    if (options.tls_cert is None) != (options.tls_key is None):
        raise Stop(Exit.USAGE, "--tls-cert and --tls-key go together: name both, or neither.")
    listen = addresses.parse(options.listen, "--listen")
    if options.reuse_port and not listen.port:
        raise Stop(Exit.USAGE, "--reuse-port shares a port, and --listen leaves it open which: name one.")
    if options.proxy_protocol and not options.trust_proxy:
        raise Stop(Exit.USAGE, "--proxy-protocol is for load balancers: name their networks with --trust-proxy.")
    return standalone.Options(
        paths=options.files,
        listen=listen,
        admin=addresses.parse(options.admin, "--admin"),
        reuse_port=options.reuse_port,
        upstreams_allow=[_network(text, "--upstreams-allow") for text in options.upstreams_allow],
        proxies=Proxies(
            [_network(text, "--trust-proxy") for text in options.trust_proxy], protocol=options.proxy_protocol
        ),
        semconv=options.semconv,
        max_sessions=options.max_sessions,
        drain=_drain(options, listen),
        usage_sink=options.usage_sink,
        usage_sink_token=environment.secret("TIDEGATE_USAGE_SINK_TOKEN"),
        state=addresses.parse_store(options.state),
        state_password=environment.secret("TIDEGATE_STATE_PASSWORD"),
        admin_token=environment.admin_token(),
        tls=standalone.server_tls(options.tls_cert, options.tls_key) if options.tls_cert and options.tls_key else None,
    )


def _drain(options: Options, listen: Address) -> Drain:
    """On loopback nothing balances loads, and nobody's monitoring misses the last scrape."""
    usual = AT_ONCE if listen.is_loopback else Drain()
    phases = Drain(
        lame_duck=durations.parse(options.drain_lame_duck or f"{usual.lame_duck:.0f}s", "--drain-lame-duck"),
        patience=durations.parse(options.drain_patience, "--drain-patience"),
        closing=durations.parse(options.drain_closing, "--drain-closing"),
        linger=durations.parse(options.drain_linger or f"{usual.linger:.0f}s", "--drain-linger"),
    )
    return replace(phases, closing=min(phases.closing, phases.patience))


def _network(text: str, option: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise Stop(Exit.USAGE, f"{option} {text!r}: {error}; write a network such as 10.0.0.0/8.") from None


async def _serve(options: standalone.Options, log_format: logs.Format) -> None:
    signals = running.Signals()
    served = Standalone(options)
    if not await _started(served, signals):
        log.info("stopped before it served: its files were not read yet")
        return
    await _announce(served, log_format)
    background = [asyncio.create_task(served.watch()), asyncio.create_task(_reload_on_hangup(served, signals))]
    try:
        await signals.stopped()
    finally:
        log.info("stopping", sessions=len(served.gateway.sessions()), grace_period=options.drain.grace_period)
        try:
            await served.stop(signals.hurry)  # files are read meanwhile: a key that is revoked is of no use any more
        finally:
            for task in background:
                task.cancel()
            log.info("stopped")


async def _started(served: Standalone, signals: running.Signals) -> bool:
    """False: told to stop before it had, as where nobody fills a pipe that it reads. Raises Stop."""
    starting, stopped = asyncio.create_task(_start(served)), asyncio.create_task(signals.stopped())
    await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not starting.done():
        starting.cancel()
    try:
        await starting
    except asyncio.CancelledError:
        return False
    except NotLoaded as refused:
        raise Stop(Exit.FAILED, "these files cannot be served:\n  " + "\n  ".join(refused.reasons)) from None
    return True


async def _start(served: Standalone) -> None:
    await served.load()
    garbage.set_aside()
    await served.start()


async def _reload_on_hangup(served: Standalone, signals: running.Signals) -> None:
    while True:
        await signals.hung_up()
        await served.reload(asked=True)


async def _announce(served: Standalone, log_format: logs.Format) -> None:
    """Say what is served, in the form that the log has."""
    scheme = "https" if served.options.tls else "http"
    table = served.gateway.table()
    settings = banner.settings(served.options, os.environ)
    if log_format == "json":
        log.info(
            "serving",
            version=__version__,
            url=f"{scheme}://{served.address}",
            admin=f"http://{served.admin_address}",
            routes=[route.name for route in table.routes],
            **settings,
        )
    else:
        logs.say(f"Tidegate {__version__} serves {scheme}://{served.address} (admin http://{served.admin_address})")
        for line in banner.lines(table, served.address, tls=served.options.tls is not None):
            logs.say(line)
        for name, setting in settings.items():
            logs.say(f"{banner.NAMES[name]}: {setting}")
    if environment.has_blank(environment.ADMIN_TOKEN):
        log.warning("TIDEGATE_ADMIN_TOKEN is empty: /table, /sessions and /limits answer this machine alone")
    await served.report()
