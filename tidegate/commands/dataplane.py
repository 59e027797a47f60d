"""`tidegate dataplane`: a gateway in a cluster, from its start to its end."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from dataplane.process import logs
from dataplane.process.drain import Drain
from dataplane.sources.dialling import Credentials, Name
from tidegate import __version__, addresses, banner, running, serving, subscribed
from tidegate.subscribed import Subscribed

log = structlog.get_logger("tidegate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(serving.Written):
    """The command's options as they were written."""

    controller: Sequence[str]
    controller_ca: Path
    token_file: Path
    boot: Path | None
    pod: str


def run(options: Options) -> None:
    """Serve until a signal comes. Raises Stop."""
    serving.run(partial(_serve, _understood(options)), options.log_format)


def _understood(options: Options) -> subscribed.Options:
    peers = [addresses.parse_controller(text) for text in options.controller]
    return subscribed.Options(
        controllers=[Name(peer.host, peer.port) for peer in dict.fromkeys(peers)],
        credentials=Credentials(options.controller_ca, options.token_file),
        listen=addresses.parse(options.listen, "--listen"),
        admin=addresses.parse(options.admin, "--admin"),
        pod=options.pod or socket.gethostname(),
        boot=options.boot,
        settings=serving.understood(options, Drain()),
    )


async def _serve(options: subscribed.Options, log_format: logs.Format) -> None:
    signals = running.Signals()
    served = Subscribed(options)
    await served.open_admin()
    log.info(
        "waiting for a table", admin=f"http://{served.admin_address}", controllers=[*map(str, options.controllers)]
    )
    if not await serving.started(served.start(), signals):
        log.info("stopped before it served", reason=served.waits_for())
        signals.hurry.set()  # nobody is served
        await served.stop(signals.hurry)
        return
    _announce(served, log_format)
    try:
        await serving.until_stopped(served.assembly, served.stop, signals)
    finally:
        log.info("stopped")


def _announce(served: Subscribed, log_format: logs.Format) -> None:
    """Say where it serves, in the form that the log has."""
    url = f"{'https' if served.options.settings.tls else 'http'}://{served.address}"
    admin = f"http://{served.admin_address}"
    settings = banner.settings(served.options.settings, os.environ)
    if log_format == "json":
        log.info("serving", version=__version__, url=url, admin=admin, **settings)
    else:
        logs.say(f"Tidegate {__version__} serves {url} (admin {admin})")
        for name, setting in settings.items():
            logs.say(f"{banner.NAMES[name]}: {setting}")
    serving.warn_of_environment()
