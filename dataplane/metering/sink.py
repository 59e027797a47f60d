"""Usage records to an HTTP receiver, in batches, over and over until they arrive.

`POST URL` with `{"records": […]}`; docs/usage-records.md is the protocol. One JSON object and not a line for each
record: every framework reads it without further ado, it leaves room for more than records, and batches are small
enough (`Bounds.batch_bytes`) that nobody needs to begin before the end.

What is sent when, and what is given up, is decided by `batches`; here are a connection and a task. Whoever writes a
record never waits: a slow or dead receiver costs memory up to a bound, and then records, which are counted. They are
in the log all the same.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from typing import get_args
from urllib.parse import urlsplit

import aiohttp
import orjson
import structlog
from pydantic import SecretStr

from dataplane.metering.batches import Batch, Batches, Bounds, Reason, is_delivered, is_worth_retrying, retry_after
from dataplane.metering.instruments import Instruments
from dataplane.metering.receivers import fault
from dataplane.metering.records import Record

NAME = "http"
"""The sink's name in metrics."""
TIMEOUT = 10.0
"""Seconds for one try, from dialling to the answer."""
_BREATH = 0.1  # seconds after a fault of ours, which may come at once again
_KEEP_ALIVE = 4.0  # seconds; many servers close after five, and a batch would be lost on the way

log = structlog.get_logger(__name__)


class HttpSink:
    """A writer of records. `start` it inside the loop; `close` it after the last record.

    `url`: http or https, without credentials. `token` is sent as a bearer token. `tls` verifies the receiver, by
    default against the system's authorities. Raises ValueError where an argument cannot be used, without quoting it.
    """

    def __init__(
        self,
        url: str,
        instruments: Instruments,
        *,
        token: SecretStr | None = None,
        tls: ssl.SSLContext | None = None,
        bounds: Bounds | None = None,
        timeout: float = TIMEOUT,
        rand: Callable[[], float] = random.random,
    ) -> None:
        self._url, self._where = url, _where(url)
        self._headers = {"Content-Type": "application/json", "User-Agent": "tidegate", **_authorization(token)}
        self._instruments = instruments
        self._tls = tls
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._batches = Batches(rand, bounds)
        self._wake = asyncio.Event()
        self._http: aiohttp.ClientSession | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._trouble = ""
        self._full = False

    def start(self) -> None:
        """Begin to send."""
        connector = aiohttp.TCPConnector(limit=1, ssl=self._tls or True, keepalive_timeout=_KEEP_ALIVE)
        self._http = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), timeout=self._timeout, headers=self._headers
        )
        self._task = asyncio.create_task(self._run(self._http), name="usage-sink")
        self._count("delivered", "", 0)
        for reason in get_args(Reason):  # there from the beginning, so that `rate` sees the first
            self._count("dropped", reason, 0)

    def write(self, record: Record) -> None:
        """Queue a record; where there is no room, drop and count it."""
        if self._closed:
            self._count("dropped", "closed", 1)
            return
        due = self._batches.due()
        if self._batches.add(str(record["id"]), orjson.dumps(record), time.monotonic()):
            self._show_queue()
            if self._batches.due() != due:
                self._wake.set()
        else:
            self._overflow()

    async def close(self, seconds: float) -> None:
        """Send what waits, for so many seconds at most; what is left then is counted as dropped, and logged."""
        self._closed = True
        self._batches.hurry(time.monotonic())
        self._wake.set()
        if self._task:
            await asyncio.wait([self._task], timeout=seconds)
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._http:
            await self._http.close()
        if left := self._batches.close():
            self._count("dropped", "closed", left)
            log.error("usage records were not delivered before the end; the log has them", records=left, **self._names)

    # -- the task ----------------------------------------------------------------------------------------------

    async def _run(self, http: aiohttp.ClientSession) -> None:
        while self._batches.records or not self._closed:
            try:
                batch = self._batches.take(time.monotonic())
                if batch:
                    await self._send(http, batch)
                else:
                    await self._until_due()
            except Exception:  # of this batch alone: a sink that dies would lose all that follow
                self._count("dropped", "failed", lost := self._batches.done())
                log.exception("the usage sink failed; the log has the records", records=lost, **self._names)
                await asyncio.sleep(_BREATH)

    async def _until_due(self) -> None:
        self._wake.clear()
        due = self._batches.due()
        with suppress(TimeoutError):
            async with asyncio.timeout(None if due is None else max(0.0, due - time.monotonic())):
                await self._wake.wait()

    async def _send(self, http: aiohttp.ClientSession, batch: Batch) -> None:
        headers = {"Idempotency-Key": f'"{batch.key}"'}
        try:
            async with http.post(self._url, data=batch.body, headers=headers, allow_redirects=False) as answer:
                status, wanted = answer.status, answer.headers.get("Retry-After", "")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            kind = "timeout" if isinstance(error, TimeoutError) else "connection"
            self._failed(kind, _explained(error))
            return
        if is_delivered(status):
            self._delivered()
        elif is_worth_retrying(status):
            self._failed(str(status), f"HTTP status {status}", retry_after(wanted, time.time()))
        else:
            self._refused(status)

    def _delivered(self) -> None:
        self._count("delivered", "", self._batches.done())
        if self._trouble:
            log.info("usage records are delivered again", **self._names)
        self._trouble = ""
        self._full = self._full and self._batches.records > 0

    def _failed(self, kind: str, why: str, wait: float = 0.0) -> None:
        given_up = self._batches.failed(time.monotonic(), wait)
        if given_up:
            self._count("dropped", "expired", given_up)
            log.error("usage records were sent in vain for too long; the log has them", records=given_up, **self._names)
        else:
            with self._instruments.lock:
                self._instruments.usage_retries.add((NAME, kind))
        if self._is_news(kind):
            log.warning("usage records cannot be delivered; they are sent again", error=why, **self._names)

    def _refused(self, status: int) -> None:
        self._count("dropped", "refused", self._batches.done())
        if self._is_news(str(status)):
            message = "the receiver refuses usage records; they are not sent again, the log has them"
            log.error(message, status=status, **self._names)

    # -- small things ------------------------------------------------------------------------------------------

    def _overflow(self) -> None:
        self._count("dropped", "queue_full", 1)
        if not self._full:
            log.error("usage records are dropped: too many wait; the log has them", **self._names)
        self._full = True

    def _is_news(self, trouble: str) -> bool:
        """So that a trouble is told once, until there is another one, or none."""
        told, self._trouble = self._trouble == trouble, trouble
        return not told

    def _count(self, result: str, reason: Reason | str, records: int) -> None:
        with self._instruments.lock:
            self._instruments.usage_records.add((NAME, result, reason), records)
        self._show_queue()

    def _show_queue(self) -> None:
        with self._instruments.lock:
            self._instruments.usage_queue.set((NAME,), self._batches.records)

    @property
    def _names(self) -> dict[str, object]:
        """What every log line says: where to, and how many records wait."""
        return {"sink": self._where, "waiting": self._batches.records}


def _where(url: str) -> str:
    """The address as a log may show it: a query may hold a key. Raises ValueError."""
    if wrong := fault(url):
        raise ValueError(f"The address of the usage sink {wrong}.")
    parts, port = urlsplit(url), urlsplit(url).port
    if parts.username is not None or parts.password is not None:
        raise ValueError("The address of the usage sink holds credentials. Give a token instead.")
    return f"{parts.scheme}://{parts.hostname}{f':{port}' if port else ''}{parts.path}"


def _authorization(token: SecretStr | None) -> dict[str, str]:
    """The header. Raises ValueError. Blanks around the token are a file's line break."""
    value = token.get_secret_value().strip() if token else ""
    if not (value.isascii() and value.isprintable()):
        raise ValueError("The token of the usage sink holds characters that no header may hold.")
    return {"Authorization": f"Bearer {value}"} if value else {}


def _explained(error: Exception) -> str:
    """Why there was no answer, without a word of the peer's: it might send the token back."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(error.certificate_error)
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
