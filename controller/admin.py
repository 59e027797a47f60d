"""The controller's admin port: whether it lives, whether it hands out tables, and its numbers.

`/healthz` fails where the mirror has gone stale for reasons of this process's own: then a restart helps. An API server
that is away is no such reason.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0 as CONTENT_TYPE

from controller.metrics import Metrics


class Admin:
    """Serves the port. `sick` and `unready` say what is wrong, or nothing."""

    def __init__(self, metrics: Metrics, sick: Callable[[], str], unready: Callable[[], str]) -> None:
        self._metrics = metrics
        self._sick = sick
        self._unready = unready
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises OSError."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._show),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=75, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _said("ok", self._sick())

    async def _readyz(self, _request: web.Request) -> web.Response:
        return _said("ready", self._unready())

    async def _show(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})


def _said(well: str, wrong: str) -> web.Response:
    return web.Response(status=503, text=f"not {well}: {wrong}\n") if wrong else web.Response(text=f"{well}\n")
