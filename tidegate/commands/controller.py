"""`tidegate controller`: a replica of the operator, from its start to its end."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from controller import settings as install
from controller.kinds import WATCHED
from controller.operator import ApiError, Identity, Operator, connect
from dataplane.process import logs
from tidegate import __version__, addresses, running
from tidegate.addresses import Address
from tidegate.exits import Exit, Stop, listening_on

log = structlog.get_logger("controller")


@dataclass(frozen=True, slots=True)
class Options:
    """The command's options as they were written."""

    config: Path
    listen: str
    admin: str
    kubeconfig: Path | None
    log_format: logs.Format | None


def run(options: Options) -> None:
    """Control until a signal comes. Raises Stop."""
    listen, admin = addresses.parse(options.listen, "--listen"), addresses.parse(options.admin, "--admin")
    try:
        settings = install.read(options.config)
    except install.NotRead as error:
        raise Stop(Exit.FAILED, f"--config {error}.") from None
    logs.configure(options.log_format or ("console" if sys.stdout.isatty() else "json"))
    running.raise_open_files()
    with suppress(asyncio.CancelledError):
        running.run(_control(options, settings, listen, admin))


async def _control(options: Options, settings: install.Settings, listen: Address, admin: Address) -> None:
    signals = running.Signals()
    try:
        api = await connect(options.kubeconfig)
    except ApiError as error:
        raise Stop(Exit.CANNOT_START, f"{error}.") from None
    try:
        operator = Operator(api, settings, _identity())
        with listening_on(str(admin), "--admin"):
            admin = Address(admin.host, await operator.start_admin((admin.host, admin.port)))
        with listening_on(str(listen), "--listen"):
            listen = Address(listen.host, await operator.start((listen.host, listen.port)))
        log.info(
            "controlling",
            version=__version__,
            server=api.server,
            install=f"{settings.install.namespace}/{settings.install.name}",
            watches=[kind.name for kind in WATCHED],
            tables=f"wss://{listen}",
            admin=f"http://{admin}",
        )
        work = asyncio.create_task(operator.run())
        stopped = asyncio.create_task(signals.stopped())
        try:
            await asyncio.wait((work, stopped), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await work
        finally:
            log.info("stopping")
            stopped.cancel()
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work
            log.info("stopped")
    finally:
        await api.close()


def _identity() -> Identity:
    """Outside of a cluster there may be two on one machine."""
    name = os.environ.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}"
    return Identity(name, os.environ.get("POD_IP", ""))
