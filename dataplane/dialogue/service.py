"""All WebSockets of the Responses API in this process: their beginning, the list of them, their end. They count as
sessions."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import structlog

from dataplane.dialogue.dialogue import Dialogue
from dataplane.errors import Refusal, shutting_down
from dataplane.exchange import Exchange
from dataplane.http import client as http
from dataplane.http import headers, paths
from dataplane.http.handover import take_over
from dataplane.http.message import Request
from dataplane.http.proxies import FORWARDED_FOR
from dataplane.process.drain import MESSAGE
from dataplane.realtime import endings
from dataplane.realtime.endings import Ending
from dataplane.realtime.handshake import Upgrade
from dataplane.realtime.relay import LINGER
from dataplane.revocation import Access
from dataplane.routing import responses_below
from dataplane.services import Services
from dataplane.slices import SLICE, Slices

log = structlog.get_logger("tidegate.session")


class Dialogues:
    """Serves them, and knows those that are open or being opened."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._open: dict[str, Dialogue] = {}
        """By the request's id."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._by_backend: Counter[str] = Counter()
        self._refusing = False
        self._closing: tuple[Ending, str] | None = None
        """What ends those too that are still being opened."""

    async def serve(self, request: Request, exchange: Exchange, admit: Callable[[], None]) -> http.Answer:
        """Answer a request for a WebSocket: with 101, or with the Refusal that is raised. `admit` raises one where
        there is no room.

        Raises Refusal, ClientGone."""
        upgrade = Upgrade.of(request.head)
        if responses_below(exchange.backend, paths.normalised(exchange.path)):
            raise Refusal("method_not_allowed", "WebSockets are served at /v1/responses, and not below it.")
        exchange.check_origin()
        await self._services.pace.turn()
        admit()
        if self._refusing:
            raise shutting_down()
        forwarded = exchange.headers.all(FORWARDED_FOR)
        client = self._services.proxies.client(request.connection.peer, forwarded)
        dialogue = Dialogue(self._services, exchange, client)
        self._open[exchange.id] = dialogue
        self._by_backend[exchange.backend.name] += 1
        try:
            return await self._begun(request, exchange, upgrade, dialogue)
        except BaseException:
            self._left(exchange)
            raise

    async def _begun(self, request: Request, exchange: Exchange, upgrade: Upgrade, dialogue: Dialogue) -> http.Answer:
        services, access = self._services, exchange.revocable()
        if exchange.budget is not None:
            with http.while_connected(request):
                await exchange.budget.admit_session()
        head = upgrade.head(_fields(exchange))
        if access is not None:
            await services.revocations.prepare(exchange.snapshot)
            services.revocations.check(access, exchange.snapshot)
        answer = take_over(request, head, dialogue.client.leg)
        route, backend = exchange.route.name, exchange.backend.name
        by_key = exchange.telemetry().caller_key
        services.meter.session_opened(route, backend, exchange.caller, by_key=by_key)
        if access is not None:
            services.revocations.watch(access, dialogue.revoke)
        if self._closing is not None:
            dialogue.end_between_turns(*self._closing)
        task = asyncio.create_task(self._run(exchange, dialogue, access))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return answer

    async def _run(self, exchange: Exchange, dialogue: Dialogue, access: Access | None) -> None:
        try:
            self._services.meter.session_closed(await dialogue.run())
        except Exception:
            log.exception("a WebSocket of the Responses API failed at its end", session=exchange.id)
        finally:
            if access is not None:
                self._services.revocations.forget(access, dialogue.revoke)
            self._left(exchange)

    def _left(self, exchange: Exchange) -> None:
        if exchange.budget is not None:
            exchange.budget.leave()
        del self._open[exchange.id]
        backend = exchange.backend.name
        self._by_backend[backend] -= 1
        if not self._by_backend[backend]:
            del self._by_backend[backend]

    def live(self, backend: str = "") -> int:
        """How many are open, or being opened: of one Backend, or of all."""
        return self._by_backend[backend] if backend else len(self._open)

    def sessions(self) -> Slices[list[dict[str, object]]]:
        """Those that are live, with what they have used so far."""
        shown = []
        for number, dialogue in enumerate(list(self._open.values())):
            if number % SLICE == SLICE - 1:
                yield
            shown.append(dialogue.shown())
        return shown

    def end(self, name: str) -> bool:
        """End one; False where there is none of this id."""
        dialogue = self._open.get(name)
        if dialogue is not None:
            dialogue.end(endings.OPERATOR, "An operator ended the session.")
        return dialogue is not None

    def refuse_new(self) -> None:
        """From now on requests for one are answered 503."""
        self._refusing = True

    def end_between_turns(self, ending: Ending, message: str) -> None:
        """End each as soon as no response is under way."""
        self._closing = ending, message
        for dialogue in list(self._open.values()):
            dialogue.end_between_turns(ending, message)

    async def stop(self) -> None:
        """End all of them now: each gets its event and Close, and is accounted for."""
        self.refuse_new()
        for dialogue in list(self._open.values()):
            dialogue.end(endings.DRAINING, MESSAGE)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=3 * LINGER)

    async def cut(self) -> None:
        """End what is left without waiting for any peer."""
        for dialogue in list(self._open.values()):
            dialogue.end(endings.DRAINING, MESSAGE)
            dialogue.cut()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LINGER)


def _fields(exchange: Exchange) -> headers.Fields:
    """Of the 101, which no provider has a part in."""
    fields: headers.Fields = [(http.REQUEST_ID, exchange.id)]
    if exchange.budget is not None:
        fields = headers.limited(fields, exchange.budget.headers())
    resolve = exchange.resolver()
    for change in exchange.transformations():
        fields = headers.transformed(fields, change.response, resolve)
    return fields
