"""`tidegate serve`: a gateway on this machine, from its start to its end."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import structlog

from dataplane.affinity.hints import Keys
from dataplane.process import garbage, logs
from dataplane.process.drain import AT_ONCE, Drain
from tidegate import __version__, addresses, banner, running, serving, standalone
from tidegate.exits import Exit, Stop
from tidegate.loading import NotLoaded
from tidegate.standalone import Standalone

log = structlog.get_logger("tidegate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(serving.Written):
    """The command's options as they were written."""

    files: Sequence[Path]
    reuse_port: bool
    affinity_key_file: Path | None
    upstreams_allow: Sequence[str]


def run(options: Options) -> None:
    """Serve until a signal comes. Raises Stop."""
    chosen = _understood(options)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells of every change
    serving.run(partial(_serve, chosen), options.log_format)


def _understood(options: Options) -> standalone.Options:
    listen = addresses.parse(options.listen, "--listen")
    if options.reuse_port and not listen.port:
        raise Stop(Exit.USAGE, "--reuse-port shares a port, and --listen leaves it open which: name one.")
    return standalone.Options(
        paths=options.files,
        listen=listen,
        admin=addresses.parse(options.admin, "--admin"),
        reuse_port=options.reuse_port,
        upstreams_allow=serving.networks(options.upstreams_allow, "--upstreams-allow"),
        # On loopback nothing balances loads, and nobody's monitoring misses the last scrape.
        settings=replace(
            serving.understood(options, AT_ONCE if listen.is_loopback else Drain()),
            hints=_hint_keys(options.affinity_key_file),
        ),
    )


def _hint_keys(file: Path | None) -> Keys | None:
    """Raises Stop."""
    if file is None:
        return None
    try:
        return Keys.written(file.read_text("ascii"))
    except OSError as error:
        raise Stop(Exit.CANNOT_START, f"--affinity-key-file: {file}: {error.strerror}.") from None
    except UnicodeDecodeError:
        why = "it is no ASCII text"
    except ValueError as error:
        why = str(error)
    raise Stop(Exit.CANNOT_START, f"--affinity-key-file: {file}: {why}; `openssl rand -hex 32` makes a key.")


async def _serve(options: standalone.Options, log_format: logs.Format) -> None:
    signals = running.Signals()
    served = Standalone(options)
    if not await _started(served, signals):
        log.info("stopped before it served: its files were not read yet")
        return
    await _announce(served, log_format)
    background = [asyncio.create_task(served.watch()), asyncio.create_task(_reload_on_hangup(served, signals))]
    try:  # files are read while it stops: a key that is revoked is of no use any more
        await serving.until_stopped(served.assembly, served.stop, signals)
    finally:
        for task in background:
            task.cancel()
        log.info("stopped")


async def _started(served: Standalone, signals: running.Signals) -> bool:
    """False: told to stop before it had, as where nobody fills a pipe that it reads. Raises Stop."""
    try:
        return await serving.started(_start(served), signals)
    except NotLoaded as refused:
        raise Stop(Exit.FAILED, "these files cannot be served:\n  " + "\n  ".join(refused.reasons)) from None


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
    tls = served.options.settings.tls is not None
    scheme = "https" if tls else "http"
    table = served.gateway.table()
    settings = banner.settings(served.options.settings, os.environ)
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
        for line in banner.lines(table, served.address, tls=tls):
            logs.say(line)
        for name, setting in settings.items():
            logs.say(f"{banner.NAMES[name]}: {setting}")
    serving.warn_of_environment()
    if served.options.settings.hints is None and not served.options.listen.is_loopback:
        log.info("ids of responses are signed with a key of this process alone; see --affinity-key-file")
    await served.report()
