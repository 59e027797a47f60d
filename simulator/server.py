"""The simulated provider as a server: start it, point a gateway or a client at `url`, read its ledger."""

import ssl as tls
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Self

from aiohttp import web

from simulator import azure_api, http_api, judges_api, passthrough, realtime, responses_api
from simulator.errors import RefusedError
from simulator.kinds import Kind
from simulator.ledger import Ledger
from simulator.scenarios import Scenarios
from simulator.state import RECEIVED, STATE, Received, State

_STOP_S = 0.05  # how long open requests may take when the server stops

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Simulator:
    """A double of a provider's API, OpenAI's by default. `keys` are the API keys that it knows; `scenarios` come from a
    file."""

    def __init__(
        self,
        *,
        kind: Kind = "openai",
        keys: frozenset[str] = frozenset({"sk-simulator"}),
        scenarios: Scenarios | None = None,
    ) -> None:
        self._state = State(keys, kind, scenarios or Scenarios())
        self._runner: web.AppRunner | None = None
        self.port = 0
        self.url = ""

    async def start(self, host: str = "127.0.0.1", port: int = 0, ssl: tls.SSLContext | None = None) -> None:
        """Listen; port 0 takes a free one. Raises OSError if the address is taken."""
        app = web.Application(middlewares=[_answer], client_max_size=0)  # 0: bodies of any size
        app[STATE] = self._state
        app.add_routes([*passthrough.routes(), *http_api.ledger_routes(), *judges_api.webhook_routes()])
        azure = self._state.kind == "azure"
        plain = [*http_api.routes(), *judges_api.moderation_routes(), *responses_api.routes(), *realtime.routes()]
        app.add_routes(azure_api.routes() if azure else plain)
        # A handler ends when its client has gone: that is what stalled and silent ones wait for.
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_STOP_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port, ssl_context=ssl).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        self.port = int(runner.addresses[0][1])
        shown = f"[{host}]" if ":" in host else host
        self.url = f"{'https' if ssl else 'http'}://{shown}:{self.port}"

    async def stop(self) -> None:
        """Close everything, open sessions included."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def ledger(self) -> Ledger:
        """What was billed."""
        return self._state.ledger

    @property
    def requests(self) -> deque[Received]:
        """The newest 10,000 requests as they came, WebSocket handshakes included."""
        return self._state.requests

    @property
    def messages(self) -> deque[tuple[str, str]]:
        """The newest 1,000 messages of realtime clients: session id and text (its first 64 KiB)."""
        return self._state.messages

    @property
    def connections(self) -> int:
        """TCP connections open now, idle keep-alive ones included."""
        server = self._runner.server if self._runner else None
        return len(server.connections) if server else 0

    @property
    def sessions(self) -> int:
        """WebSockets open now."""
        return self._state.sessions


@web.middleware
async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Remember the request; turn what is refused into the vendor's error."""
    request[RECEIVED] = request.app[STATE].received(request)
    try:
        return await handler(request)
    except RefusedError as refused:
        if request.app[STATE].kind == "azure":
            refused = azure_api.in_its_words(refused)
        return http_api.refusal(refused)
    except web.HTTPNotFound:
        url = f"{request.method} {request.path}"
        return http_api.refusal(RefusedError(f"Invalid URL ({url})", "unknown_url", status=404))
