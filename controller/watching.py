"""kopf, which watches what is read in the whole cluster: in a thread and a loop of its own, at the level of raw events.

It is used for what it does well: connections that break and stall, late and vanishing CRDs, tokens that are renewed.
It keeps no state for us and writes nothing. Events go into a `Mailbox`, which holds the newest of each object and so
never grows beyond the cluster; whoever owns the mirror empties it. When kopf ends, as it does at the first error of a
watch that it does not know, it is started again.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import kopf
import structlog
from kubernetes.aio.client import Configuration

from controller.kinds import WATCHED, Kind
from controller.mirror import Document, Key, key_of, version_of

log = structlog.get_logger("controller")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
LASTS_S = 60.0
"""A run that lasted longer than this was a good one: the next begins soon."""
STOPS_S = 8.0
"""How long the end of a run is waited for: kopf gives its tasks five seconds."""
WHY = 300
"""Characters of a reason."""


class Mailbox:
    """What one thread tells another: the newest event of each object, and which kinds were listed anew."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._lock = threading.Lock()
        self._events: dict[Key, tuple[Kind, Document, bool]] = {}
        self._listed: set[Kind] = set()

    def put(self, kind: Kind, body: Document, *, deleted: bool, listed: bool) -> None:
        """From any thread. It rings once for all that is put in before it is emptied."""
        key = key_of(kind, body)
        with self._lock:
            was_empty = not self._events
            known = self._events.get(key)
            if known is None or version_of(known[1]) <= version_of(body):
                self._events[key] = (kind, body, deleted)
            if listed:
                self._listed.add(kind)
        if was_empty:
            self._ring()

    def empty(self) -> tuple[list[tuple[Kind, Document, bool]], set[Kind]]:
        """All that was put in: kind, object, whether it was deleted; and the kinds of which deletions may be missed."""
        with self._lock:
            events, self._events = list(self._events.values()), {}
            listed, self._listed = self._listed, set()
        return events, listed


class Watching:
    """The thread."""

    def __init__(self, configuration: Configuration, mailbox: Mailbox) -> None:
        self._configuration = configuration
        self._mailbox = mailbox
        self._stopping = threading.Event()
        self._end_run: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)
        self.restarts = 0

    def start(self) -> None:
        quiet()
        self._thread.start()

    def restart(self) -> None:
        """End this run of kopf, which seems to hear nothing any more; the next one begins."""
        with suppress(RuntimeError):  # it has ended by itself, and its loop is closed
            self._end_run()

    async def stop(self) -> None:
        self._stopping.set()
        self.restart()
        await asyncio.to_thread(self._thread.join, 2 * STOPS_S)

    @property
    def ended(self) -> bool:
        """Whether the thread has, and nobody asked it to."""
        started = self._thread.ident is not None
        return started and not self._thread.is_alive() and not self._stopping.is_set()

    def _run(self) -> None:
        pause = FIRST_PAUSE_S
        while not self._stopping.is_set():
            began = time.monotonic()
            why = self._run_of_kopf()
            if self._stopping.is_set():
                return
            self.restarts += 1
            pause = FIRST_PAUSE_S if time.monotonic() > began + LASTS_S else min(2 * pause, LONGEST_PAUSE_S)
            log.warning("watching begins anew", why=why[:WHY], after_s=pause)
            self._stopping.wait(pause)

    def _run_of_kopf(self) -> str:
        """Why it ended."""
        try:
            loop = asyncio.new_event_loop()
            try:
                loop.run_until_complete(self._once())
            finally:
                _abandon(loop)
        except BaseException as error:  # whatever it is, and be it a task that was cancelled: tables are served on
            return f"{type(error).__name__}: {error}"
        return "it ended"

    async def _once(self) -> None:
        """One run of kopf, until the first of its tasks ends, and the others for a moment. Raises what ended it.

        Its own `operator` waits for them without end, and they do not always end."""
        registry, stop, loop = kopf.OperatorRegistry(), asyncio.Event(), asyncio.get_running_loop()
        self._end_run = lambda: loop.call_soon_threadsafe(stop.set)
        if self._stopping.is_set():
            return
        kopf.on.login(registry=registry)(self._login)
        for kind in WATCHED:
            kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=f"mirror-{kind.plural}")(
                self._seen_by(kind)
            )
        before = asyncio.all_tasks()
        tasks = await kopf.spawn_tasks(registry=registry, settings=_settings(), clusterwide=True, stop_flag=stop)
        running = asyncio.create_task(kopf.run_tasks(tasks, ignored=before))
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait([running], timeout=STOPS_S)
        await (running if running.done() else asyncio.gather(*ended))

    def _seen_by(self, kind: Kind) -> Callable[..., object]:
        async def seen(event: dict[str, object], **_: object) -> None:
            # A type of None: kopf has listed, and says nothing of what was deleted since it last knew.
            type_ = event["type"]
            body = cast("Document", event["object"])
            self._mailbox.put(kind, body, deleted=type_ == "DELETED", listed=type_ is None)

        return seen

    async def _login(self, **_: object) -> kopf.ConnectionInfo:
        """How kopf reaches the API server that we reach, wherever that is said; a token in a file is read anew."""
        known = self._configuration
        authorization = await known.get_api_key_with_prefix("BearerToken") or ""
        return kopf.ConnectionInfo(
            server=known.host,
            ca_path=known.ssl_ca_cert,
            insecure=not known.verify_ssl,
            token=authorization.strip().rpartition(" ")[2] or None,
            certificate_path=known.cert_file,
            private_key_path=known.key_file,
        )


def quiet() -> None:
    """kopf tells of every step that it takes, and of each failure many times; what matters of it is told by us."""
    logging.getLogger("kopf").setLevel(logging.CRITICAL)


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = False
    settings.watching.server_timeout = 300
    settings.watching.chunk_size = 500
    settings.networking.connect_timeout = 5
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = (1, 2, 3, 5, 8)
    settings.process.ultimate_exiting_timeout = 5
    return settings


def _abandon(loop: asyncio.AbstractEventLoop) -> None:
    """Close a loop, whatever its tasks are waiting for."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=1.0))
    loop.close()
