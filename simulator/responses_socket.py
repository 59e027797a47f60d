"""The Responses API over a WebSocket: lanes of responses, one after the other on each: I/O.

Source: openai-python 3.52, types/responses (client and server events), and OpenAI's guide to the WebSocket mode.
"""

import asyncio
import time
from collections import deque
from contextlib import suppress

import orjson
from aiohttp import ClientConnectionError, WSMsgType, web

from simulator import stored_responses as responses
from simulator.errors import RefusedError, of_status
from simulator.http_api import FOREVER_S, check_key
from simulator.scenarios import Options, ScenarioError
from simulator.shapes import Json, mapping, sequence, text
from simulator.state import STATE
from simulator.stored_responses import Latest, Made, lane_of, organisation

_MAX_MESSAGE = 24 * 1024 * 1024
_LANES, _ACTIVE = 32, 16
_LIFE_S = 3600.0
_LIMIT = "Responses websocket connection limit reached (60 minutes). Create a new websocket connection to continue."


async def respond(request: web.Request) -> web.StreamResponse:
    """Answer 101, and what is asked then. Raises RefusedError before."""
    check_key(request)
    state = request.app[STATE]
    try:
        options = state.scenarios.choose("") | Options.parse(request.query.get("scenario", ""))
    except ScenarioError as error:
        raise RefusedError(str(error), "invalid_value", "scenario") from None
    if "no-upgrade" in options:
        raise of_status(int(options["no-upgrade"]))
    socket = web.WebSocketResponse(autoclose=False, compress=False, max_msg_size=_MAX_MESSAGE, timeout=1.0)
    await socket.prepare(request)
    state.sessions += 1
    try:
        await _Connection(request, socket, options).run()
    finally:
        state.sessions -= 1
    return socket


class _Connection:
    def __init__(self, request: web.Request, socket: web.WebSocketResponse, options: Options) -> None:
        self._request, self._socket, self._options = request, socket, options
        self._state = request.app[STATE]
        key = request.headers.get("Authorization", "").partition(" ")[2].strip()
        self._whose = organisation(key)
        self._shelf = Latest(self._state.shelf)
        self._lanes: dict[str, asyncio.Task[None]] = {}
        """The last response that was asked for on each."""
        self._steers: dict[str, deque[Json]] = {}
        """What is to be added, by the response that is under way."""

    async def run(self) -> None:
        life = self._options.number("expire") / 1000 if "expire" in self._options else _LIFE_S
        with suppress(ClientConnectionError):
            try:
                async with asyncio.timeout(life):
                    await self._listen()
            except TimeoutError:
                await self._say({"type": "error", "status": 400, "error": _connection_limit()}, "")
                await self._socket.close(code=1000)
            finally:
                for task in self._lanes.values():
                    task.cancel()
                await asyncio.gather(*self._lanes.values(), return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            message = await self._socket.receive()
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                await self._socket.close(code=1000)
                return
            lane = ""
            try:
                said = _object(message.data)
                self._state.heard("responses", orjson.dumps(said).decode())
                lane = lane_of(said)
                self._take(said, lane)
            except RefusedError as refused:
                await self._refuse(refused, lane)

    def _take(self, said: Json, lane: str) -> None:
        match said.get("type"):
            case "response.create":
                before = self._lanes.get(lane)
                if before is None and len(self._lanes) > _LANES:
                    raise RefusedError("Too many streams.", "websocket_stream_limit_reached", "stream_id")
                if sum(not task.done() for task in self._lanes.values()) >= _ACTIVE:
                    raise RefusedError("Too many active responses.", "websocket_stream_limit_reached", "stream_id")
                body = {name: value for name, value in said.items() if name not in ("type", "stream_id")}
                self._lanes[lane] = asyncio.create_task(self._respond(body, lane, before))
            case "response.steer":
                previous = text(said.get("previous_response_id"))
                name = f"steer_{next(self._state.numbers):06d}"
                self._lanes[name] = asyncio.create_task(self._steer(name, previous, said.get("input")))
            case _:
                raise RefusedError(f"Unknown event type: {said.get('type')}", "invalid_value", "type")

    async def _steer(self, name: str, previous: str, given: object) -> None:
        steer: Json = {"id": name, "previous_response_id": previous}
        event: Json = {"sequence_number": 0, "steer": steer}
        if previous in self._steers:
            self._steers[previous].append({"input": given})
            await self._say({"type": "response.steer.accepted", **event}, "")
        else:
            message = "The response is no longer active."
            why = {"type": "invalid_request_error", "code": "response_not_active", "message": message}
            await self._say({"type": "response.steer.failed", "steer": {**steer, "input": given}, "error": why}, "")

    async def _respond(self, body: Json, lane: str, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        with suppress(ClientConnectionError):
            try:
                added: Json | None = {}
                while added is not None:
                    body = body | added
                    made, options = await self._made(body)
                    added = await self._send(made, options, lane)
                    if added is not None:
                        added = {**added, "previous_response_id": made.id}
            except RefusedError as refused:
                await self._refuse(refused, lane)

    async def _made(self, body: Json) -> tuple[Made, Options]:
        if body.get("background"):
            raise RefusedError("Background mode is not supported over WebSocket.", None, "background")
        try:
            asked = Options.parse(text(mapping(body.get("metadata")).get("scenario")))
        except ScenarioError as error:
            raise RefusedError(str(error), "invalid_value", "metadata.scenario") from None
        options = self._state.scenarios.choose(text(body.get("model")), text(body.get("input"))) | self._options | asked
        if "stall" in options:
            await asyncio.sleep(FOREVER_S)
        if "status" in options:
            raise of_status(int(options["status"]))
        number = next(self._state.numbers)
        return responses.make(body, number, int(time.time()), options, self._whose, self._shelf), options

    async def _send(self, made: Made, options: Options, lane: str) -> Json | None:
        """All of a response, billed as it is sent, or as it is lost; what was added by steering."""
        events, sent = made.events(options)
        steers = self._steers[made.id] = deque()
        status, usage = "abandoned", None
        try:
            breaks = any(each in options for each in ("drop", "hang-up", "close"))
            for event in events[: len(events) // 2] if breaks else events[:-1]:
                await asyncio.sleep(options.pace())
                await self._say(event, lane)
            if breaks:
                status = "dropped"
                self._bill(made, status, None)
                await self._break(options)
                return None
            await asyncio.sleep(options.pace())
            status, usage = made.status, sent
        finally:
            del self._steers[made.id]
            if status != "dropped":
                self._bill(made, status, usage)
        await self._say(events[-1], lane)
        inputs = [item for each in steers for item in _items(each.get("input"))]
        return {"input": inputs} if inputs else None

    async def _break(self, options: Options) -> None:
        if "close" in options:
            await self._socket.close(code=int(options.number("close")), message=b"simulated")
        elif (transport := self._request.transport) is not None:
            transport.close()

    def _bill(self, made: Made, status: str, sent: Json | None) -> None:
        bill = {"session": None, "model": made.model, "status": status, "usage": sent, "billed": made.usage}
        self._state.ledger.record("responses", made.id, **bill)  # type: ignore[arg-type]

    async def _refuse(self, refused: RefusedError, lane: str) -> None:
        await self._say({"type": "error", "status": refused.status, "error": refused.error}, lane)

    async def _say(self, event: Json, lane: str) -> None:
        await self._socket.send_str(orjson.dumps({**event, "stream_id": lane} if lane else event).decode())


def _connection_limit() -> Json:
    return RefusedError(_LIMIT, "websocket_connection_limit_reached").error


def _object(data: str | bytes) -> Json:
    """Raises RefusedError."""
    try:
        value: object = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise RefusedError("The message is not JSON.", "invalid_json") from None
    if not isinstance(value, dict):
        raise RefusedError("The message is not a JSON object.", "invalid_json")
    return value


def _items(given: object) -> list[object]:
    return [{"role": "user", "content": given}] if isinstance(given, str) else sequence(given)
