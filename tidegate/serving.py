"""What commands that carry traffic share: options, from how they were written to what they mean, start and end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

import structlog

from dataplane.metering.instruments import Generations
from dataplane.process import logs
from dataplane.process.drain import Drain
from dataplane.server import Proxies
from dataplane.upstreams.egress import PASSWORD, EgressProxy, egress_proxy
from tidegate import addresses, assembly, durations, environment, running
from tidegate.assembly import Assembly, Settings
from tidegate.exits import Exit, Stop

log = structlog.get_logger("tidegate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The options of all of them, as they were written."""

    listen: str
    admin: str
    tls_cert: Path | None
    tls_key: Path | None
    upstream_proxy: str = field(repr=False)
    upstream_no_proxy: Sequence[str]
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


def understood(written: Written, usual: Drain) -> Settings:
    """`usual`: the phases of the end that hold where nothing was written. Raises Stop."""
    cert, key = written.tls_cert, written.tls_key
    if (cert is None) != (key is None):
        raise Stop(Exit.USAGE, "--tls-cert and --tls-key go together: name both, or neither.")
    if written.proxy_protocol and not written.trust_proxy:
        raise Stop(Exit.USAGE, "--proxy-protocol is for load balancers: name their networks with --trust-proxy.")
    return Settings(
        egress=_egress(written),
        proxies=Proxies(networks(written.trust_proxy, "--trust-proxy"), protocol=written.proxy_protocol),
        semconv=written.semconv,
        max_sessions=written.max_sessions,
        drain=_drain(written, usual),
        usage_sink=written.usage_sink,
        usage_sink_token=environment.secret("TIDEGATE_USAGE_SINK_TOKEN"),
        state=addresses.parse_store(written.state),
        state_password=environment.secret("TIDEGATE_STATE_PASSWORD"),
        admin_token=environment.admin_token(),
        tls=assembly.server_tls(cert, key) if cert and key else None,
    )


def _egress(written: Written) -> EgressProxy | None:
    password = environment.secret(PASSWORD)
    direct = [entry for text in written.upstream_no_proxy for entry in text.split(",") if entry.strip()]
    if not written.upstream_proxy.strip():
        if password or direct:
            without = PASSWORD if password else "--upstream-no-proxy"
            raise Stop(Exit.USAGE, f"{without} is there, and no proxy: name it with --upstream-proxy.")
        return None
    try:
        proxy = egress_proxy(written.upstream_proxy.strip(), password.get_secret_value() if password else "")
    except ValueError as error:
        raise Stop(Exit.USAGE, f"--upstream-proxy: {error}.") from None
    try:
        return proxy.sparing(direct)
    except ValueError as error:
        raise Stop(Exit.USAGE, f"--upstream-no-proxy: {error}.") from None


def networks(written: Sequence[str], option: str) -> list[IPv4Network | IPv6Network]:
    """Raises Stop."""
    return [_network(text, option) for text in written]


def run(serve: Callable[[logs.Format], Coroutine[object, object, None]], log_format: logs.Format | None) -> None:
    """Serve until a signal comes. `serve` is told in which form to say things. Raises Stop."""
    chosen = log_format or ("console" if sys.stdout.isatty() else "json")
    logs.configure(chosen)
    running.raise_open_files()
    # A third signal cancels the end that the first began and the second hurried: it cuts off what is left.
    with suppress(asyncio.CancelledError):
        running.run(serve(chosen))


async def started(starting: Coroutine[object, object, None], signals: running.Signals) -> bool:
    """False: told to stop before it had. Raises what `starting` raises."""
    start, stopped = asyncio.create_task(starting), asyncio.create_task(signals.stopped())
    await asyncio.wait((start, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not start.done():
        start.cancel()
    try:
        await start
    except asyncio.CancelledError:
        return False
    return True


async def until_stopped(
    assembled: Assembly, stop: Callable[[asyncio.Event], Awaitable[None]], signals: running.Signals
) -> None:
    """Serve until a signal comes, and then until nobody is served any more."""
    try:
        await signals.stopped()
    finally:
        sessions, grace_period = len(assembled.gateway.sessions()), assembled.settings.drain.grace_period
        log.info("stopping", sessions=sessions, grace_period=grace_period)
        await stop(signals.hurry)


def warn_of_environment() -> None:
    """Of what is set there and means nothing."""
    if environment.has_blank(environment.ADMIN_TOKEN):
        log.warning("TIDEGATE_ADMIN_TOKEN is empty: /table, /sessions and /limits answer this machine alone")


def _drain(written: Written, usual: Drain) -> Drain:
    phases = Drain(
        lame_duck=durations.parse(written.drain_lame_duck or f"{usual.lame_duck:.0f}s", "--drain-lame-duck"),
        patience=durations.parse(written.drain_patience, "--drain-patience"),
        closing=durations.parse(written.drain_closing, "--drain-closing"),
        linger=durations.parse(written.drain_linger or f"{usual.linger:.0f}s", "--drain-linger"),
    )
    return replace(phases, closing=min(phases.closing, phases.patience))


def _network(text: str, option: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise Stop(Exit.USAGE, f"{option} {text!r}: {error}; write a network such as 10.0.0.0/8.") from None
