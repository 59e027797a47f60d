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
from collections.abc import Callable
from typing import cast

import kopf
import structlog
from kubernetes.aio.client import Configuration

from controller.kinds import WATCHED, Kind
from controller.mirror import Document, Key, key_of, version_of

log = structlog.get_logger("controller")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
STOPS_S = 5.0
"""How long the end of the thread is waited for."""


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
        self._stop_once = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)
        self.restarts = 0

    def start(self) -> None:
        quiet()
        self._thread.start()

    def restart(self) -> None:
        """End this run of kopf, which seems to hear nothing any more; the next one begins."""
        self._stop_once.set()

    async def stop(self) -> None:
        self._stopping.set()
        self._stop_once.set()
        await asyncio.to_thread(self._thread.join, STOPS_S)

    def _run(self) -> None:
        pause = FIRST_PAUSE_S
        while not self._stopping.is_set():
            self._stop_once.clear()
            try:
                asyncio.run(self._operator())
                why = "it ended"
            except Exception as error:  # whatever it is, tables are served on
                why = f"{type(error).__name__}: {error}"
            if self._stopping.is_set():
                return
            self.restarts += 1
            log.warning("watching begins anew", why=why, after_s=pause)
            self._stopping.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _operator(self) -> None:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._login)
        for kind in WATCHED:
            kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=f"mirror-{kind.plural}")(
                self._seen_by(kind)
            )
        await kopf.operator(registry=registry, settings=_settings(), clusterwide=True, stop_flag=self._stop_once)

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
    """kopf tells of every step that it takes; what matters of it is told by us."""
    logging.getLogger("kopf").setLevel(logging.ERROR)


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
    settings.process.ultimate_exiting_timeout = STOPS_S
    return settings
