"""The realtime API: WebSocket I/O around a `Conversation`, and nothing else.

One task a connection: send what is due, then wait for the client or for the next thing due. A client that does
not read is not read from either.
"""

import asyncio
import time

import orjson
from aiohttp import ClientConnectionError, WSMessage, WSMsgType, web

from simulator import beta, events, handshake, xai
from simulator.conversation import Conversation
from simulator.errors import RefusedError, of_status
from simulator.scenarios import Options, ScenarioError
from simulator.state import STATE, State
from simulator.timeline import Audio, Close, Freeze, Garble, HangUp, Noise, Ping, Reset, Said
from simulator.wire import Wire

_MAX_MESSAGE = 24 * 1024 * 1024  # one append may hold 15 MiB of audio
_CLOSE_S = 2.0  # how long to wait for the client's CLOSE
_WRITE_S = 60.0  # how long a client may leave unread what is due at one time
_SESSION_S = 3600

Spoken = Conversation | beta.BetaConversation | xai.XaiConversation


def routes() -> list[web.RouteDef]:
    """What is served here."""
    return [web.get("/v1/realtime", _realtime)]


async def _realtime(request: web.Request) -> web.StreamResponse:
    state = request.app[STATE]
    if state.kind == "xai":
        return await _xai(request)
    if "call_id" in request.query:
        raise RefusedError("No session found for the provided call_id", "call_id_not_found", "", status=404)
    refusal = handshake.judge(request.headers, request.query, state.keys)
    return await connect(request, request.query.get("model", ""), refusal=refusal)


async def _xai(request: web.Request) -> web.StreamResponse:
    """As xAI does: what is wrong with the key is an HTTP status, and an unknown model is nothing wrong."""
    if (wrong := xai.refused(request.headers, request.app[STATE].keys)) is not None:
        return web.json_response(wrong, status=401 if "no-credentials" in str(wrong["code"]) else 400)
    return await connect(request, xai.served(request.query.get("model", "")))


async def connect(
    request: web.Request, model: str, *, refusal: handshake.Refusal | None = None, old: bool = False
) -> web.StreamResponse:
    """Answer 101, and hold the session or say what is wrong. `old`: events are those of the beta."""
    state = request.app[STATE]
    transcribes = request.query.get("intent") == "transcription"
    try:
        asked = Options.parse(request.query.get("scenario", ""))
    except ScenarioError as error:
        raise RefusedError(str(error), "invalid_value", "scenario") from None
    options = state.scenarios.choose(model) | asked
    if "no-upgrade" in options:
        raise of_status(int(options["no-upgrade"]))
    socket = _socket(request, options)
    await socket.prepare(request)
    state.sessions += 1
    try:
        if refusal is not None:
            await _refuse(socket, refusal)
        else:
            number, named = next(state.numbers), None if transcribes else model
            conversation = _spoken(state, Conversation(number, named, state.ledger, state.scenarios, asked), model, old)
            await _Session(request, socket, conversation, options).run()
    except (ClientConnectionError, TimeoutError):
        pass  # the client has gone, or does not read: nobody is left to tell
    finally:
        state.sessions -= 1
    return socket


def _spoken(state: State, plain: Conversation, model: str, old: bool) -> Spoken:
    """A conversation in the words of whose API it is."""
    if state.kind == "xai":
        return xai.XaiConversation(plain, model, state.ledger)
    return beta.BetaConversation(plain) if old else plain


def _socket(request: web.Request, options: Options) -> web.WebSocketResponse:
    offered = handshake.protocols(request.headers.get("Sec-WebSocket-Protocol", ""))
    return web.WebSocketResponse(
        timeout=_CLOSE_S,
        autoclose=False,
        autoping="no-pong" not in options,
        protocols=("realtime",) if "realtime" in offered else tuple(_client_secret(offered)),
        compress=False,
        max_msg_size=_MAX_MESSAGE,
    )


def _client_secret(offered: list[str]) -> list[str]:
    """What xAI selects, since there is nothing else: the key."""
    return [name for name in offered if name.startswith("xai-client-secret.")][:1]


async def _refuse(socket: web.WebSocketResponse, refusal: handshake.Refusal) -> None:
    event = {**events.error(refusal.error), "event_id": "event_refused"}
    await socket.send_str(orjson.dumps(event).decode())
    await socket.close(code=refusal.code, message=refusal.reason.encode())


class _Session:
    """One connection."""

    def __init__(
        self, request: web.Request, socket: web.WebSocketResponse, conversation: Spoken, options: Options
    ) -> None:
        self._request, self._socket = request, socket
        self._wire = Wire(request, options)
        self._conversation, self._options = conversation, options

    async def run(self) -> None:
        """Until either side has had enough."""
        self._conversation.open(time.monotonic(), int(time.time()) + _SESSION_S)
        try:
            while not self._socket.closed:
                await self._say_what_is_due()
                message = await self._next()
                if message is not None and not await self._take(message):
                    return
        finally:
            self._conversation.end(time.monotonic())

    async def _say_what_is_due(self) -> None:
        async with asyncio.timeout(_WRITE_S) as limit:
            for action in self._conversation.due(time.monotonic()):
                if isinstance(action, Freeze):
                    limit.reschedule(None)  # it has a time of its own
                await self._perform(action)
                if self._wire.gone:  # nothing is booked as sent that is not
                    return

    async def _perform(self, action: Said) -> None:
        match action:
            case Close(code, reason):
                await self._socket.close(code=code, message=reason.encode())
            case Audio(data):
                await self._wire.send_audio(data)
            case Ping():
                await self._wire.ping()
            case Noise(text):
                await self._wire.send(text.encode())
            case Garble():
                await self._wire.garble()
            case Freeze(seconds):
                await self._wire.freeze(seconds)
            case HangUp():
                self._wire.hang_up()
            case Reset():
                await self._wire.reset()
            case _:
                await self._wire.send(orjson.dumps(action))

    async def _next(self) -> WSMessage | None:
        """The client's next message; None when something else is due first."""
        due = self._conversation.next_due()
        if due is None:
            return await self._socket.receive()
        try:
            async with asyncio.timeout(max(0.0, due - time.monotonic())):
                return await self._socket.receive()
        except TimeoutError:
            return None

    async def _take(self, message: WSMessage) -> bool:
        """Whether the connection goes on."""
        if message.type is WSMsgType.TEXT or message.type is WSMsgType.BINARY:
            if message.type is WSMsgType.TEXT:
                self._request.app[STATE].heard(self._conversation.id, message.data)
            self._conversation.receive(message.data, time.monotonic())
            return True
        if message.type in (WSMsgType.PING, WSMsgType.PONG):  # with no-pong they come this far
            return True
        if message.type is WSMsgType.CLOSE:
            self._conversation.close()
            await self._say_what_is_due()
            if "no-close-reply" in self._options:
                await asyncio.sleep(_SESSION_S)  # cancelled when the client's connection is gone
        await self._socket.close(code=1000)
        return False
