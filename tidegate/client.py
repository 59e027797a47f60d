"""A realtime session from the client's side, over the `websockets` library: what `talk` and `demo` hold.

Events are OpenAI's (GA); the few answers of beta-shaped servers that mean the same are read, too.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidHeaderValue, InvalidStatus, InvalidURI

from tidegate.exits import Exit, Stop

Event = Mapping[str, object]

DELTAS = {
    "response.output_text.delta",
    "response.output_audio_transcript.delta",
    "response.text.delta",
    "response.audio_transcript.delta",
}
"""Events whose `delta` is text of the answer, in GA and in beta."""
AUDIO_DELTAS = {"response.output_audio.delta", "response.audio.delta"}

SILENCE_S = 120.0
"""How long a turn may go without any event."""
OPEN_S = 20.0
MAX_EVENT = 32 * 1024 * 1024
PCM_RATE = 24_000
_APPEND = 24_000
"""Bytes of audio in one event: half a second of 24 kHz 16-bit PCM."""


class Closed(Exception):
    """The other side ended the session; the message is for people."""


class Client:
    """One open session."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def send(self, event: Event) -> None:
        """Raises Closed."""
        try:
            await self._socket.send(orjson.dumps(event).decode())
        except ConnectionClosed as closed:
            raise Closed(_why(closed)) from None

    async def receive(self) -> dict[str, object]:
        """The next event. Raises Closed."""
        try:
            message = await self._socket.recv()
            event: object = orjson.loads(message)
        except ConnectionClosed as closed:
            raise Closed(_why(closed)) from None
        except orjson.JSONDecodeError:
            raise Closed("the server sent a message that is not JSON") from None
        if not isinstance(event, dict):
            raise Closed("the server sent a message that is not an event")
        return event

    async def say(self, text: str) -> None:
        """A message of the user's; nothing answers it until `respond`."""
        content = [{"type": "input_text", "text": text}]
        await self.send(_item({"type": "message", "role": "user", "content": content}))

    async def speak(self, pcm: bytes) -> None:
        """What the user says: 16-bit mono PCM at 24 kHz."""
        for start in range(0, len(pcm), _APPEND):
            audio = base64.b64encode(pcm[start : start + _APPEND]).decode()
            await self.send({"type": "input_audio_buffer.append", "audio": audio})
        await self.send({"type": "input_audio_buffer.commit"})

    async def answer_call(self, call_id: str, output: str) -> None:
        """What a function returned."""
        await self.send(_item({"type": "function_call_output", "call_id": call_id, "output": output}))

    async def respond(self, **response: object) -> None:
        """Ask for an answer; `response` overrides what the session says."""
        await self.send({"type": "response.create", **({"response": response} if response else {})})


def _item(item: Event) -> Event:
    return {"type": "conversation.item.create", "item": item}


class _Connect(connect):
    """Follows no redirect: what is shown to one server is for no other."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


@asynccontextmanager
async def session(url: str, key: str = "", headers: Sequence[tuple[str, str]] = ()) -> AsyncIterator[Client]:
    """Open a session; it is closed politely at the end. `headers` (names in lower case) are sent besides; an
    `authorization` among them in the place of the key's. Raises Stop if it is refused or nobody answers."""
    local = (urlsplit(url).hostname or "") in ("localhost", "127.0.0.1", "::1")
    try:
        socket = await _Connect(
            url,
            additional_headers=_shown(key, headers),
            compression=None,
            max_size=MAX_EVENT,
            open_timeout=OPEN_S,
            close_timeout=2,
            proxy=None if local else True,
        )
    except InvalidStatus as refused:
        raise Stop(Exit.FAILED, _refusal(refused, shown=bool(key or headers))) from None
    except InvalidURI:
        raise Stop(Exit.USAGE, f"{_bare(url)!r} is no address of a session: write ws://HOST:PORT/v1/realtime") from None
    except (OSError, TimeoutError, InvalidHandshake) as error:
        where = urlsplit(url).netloc.rpartition("@")[2]
        why = (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")
        raise Stop(Exit.CANNOT_START, f"cannot reach {where}: {why}. {_advice(error)}") from None
    try:
        yield Client(socket)
    finally:
        await socket.close()


def _shown(key: str, headers: Sequence[tuple[str, str]]) -> Headers:
    """What the handshake says besides. Raises Stop (usage)."""
    own = [("authorization", f"Bearer {key}")] if key and "authorization" not in dict(headers) else []
    try:
        return Headers([*own, *headers])
    except InvalidHeaderValue as error:
        raise Stop(Exit.USAGE, f"the value of {error.name} is none: it must be one line.") from None


def _bare(url: str) -> str:
    """Without what may be a key."""
    return url.partition("?")[0]


def address(text: str, model: str = "") -> str:
    """The address of a session, made whole: `localhost:8080` becomes `ws://localhost:8080/v1/realtime`, and so does a
    base URL as other clients have it, `http://localhost:8080/v1`.

    Raises Stop (usage)."""
    try:
        parts = urlsplit(text if "://" in text else f"ws://{text}")
        scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
        usable = scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise Stop(
            Exit.USAGE, f"{_bare(text)!r} is no address of a session: write ws://HOST:PORT/v1/realtime?model=MODEL"
        )
    path, query = _of_sessions(parts.path), parts.query
    if model:
        kept = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name != "model"]
        query = urlencode([*kept, ("model", model)])
    return urlunsplit((scheme, parts.netloc, path, query, ""))


def _of_sessions(path: str) -> str:
    """The path, with what is missing where it is that of a base URL. One that goes on below `v1` is meant as it is."""
    segments = path.rstrip("/").split("/")
    if segments[-1] == "v1":
        return f"{path.rstrip('/')}/realtime"
    if "v1" in segments or "realtime" in path:
        return path
    return f"{path.rstrip('/')}/v1/realtime"


def field(value: object, *path: str | int) -> object:
    """What is at `path` in JSON; None where there is nothing."""
    for part in path:
        if isinstance(part, int):
            value = value[part] if isinstance(value, list) and len(value) > part else None
        else:
            value = cast("dict[str, object]", value).get(part) if isinstance(value, dict) else None
    return value


def text_at(value: object, *path: str | int) -> str:
    """The text at `path`; empty where there is none."""
    found = field(value, *path)
    return found if isinstance(found, str) else ""


def calls(done: Event) -> list[tuple[str, str, str]]:
    """Functions that a finished response wants called: (call id, name, arguments as JSON)."""
    output = field(done, "response", "output")
    items = [item for item in output if field(item, "type") == "function_call"] if isinstance(output, list) else []
    return [(text_at(item, "call_id"), text_at(item, "name"), text_at(item, "arguments")) for item in items]


def _advice(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLCertVerificationError):
        return "If it does not speak TLS, write ws:// instead of wss://."
    return "Is a gateway running there?"


def _refusal(refused: InvalidStatus, *, shown: bool) -> str:
    """`401 Unauthorized: No API key was sent. …`. `shown`: was any?"""
    response = refused.response
    body = bytes(response.body or b"")
    try:
        message = text_at(orjson.loads(body), "error", "message")
    except orjson.JSONDecodeError:
        message = ""
    message = message or body[:500].decode("utf-8", "replace").strip() or "no reason was given"
    hint = _hint(message, shown=shown) if response.status_code == HTTPStatus.UNAUTHORIZED else ""
    return f"refused with {response.status_code} {response.reason_phrase}: {message}".rstrip() + hint


def _hint(message: str, *, shown: bool) -> str:
    """How to do what a gateway asks for."""
    if "in the header " in message:
        return " The option --header does."
    if "in the query parameter " in message:
        return " Write it into the address."
    return "" if shown else " Set TIDEGATE_KEY to a key."


BLOCKED = "Guardrail blocked this request"
"""How the reason of a Close begins that a guardrail sent."""
MEANINGS = {
    1000: "normally",
    1001: "since the server is going away, or the session's time is over",
    1002: "since a frame broke the WebSocket protocol",
    1006: "without a Close frame: the connection was lost",
    1007: "since a message was not UTF-8",
    1008: "by a policy of the server",
    1009: "since a message was too big",
    1011: "since the server failed",
    3000: "since the key was not accepted",
    4000: "since the request was not accepted",
}


def _why(closed: ConnectionClosed) -> str:
    code = closed.rcvd.code if closed.rcvd else 1006
    reason = closed.rcvd.reason.rstrip(".") if closed.rcvd else ""
    if reason and (code == 1001 or reason.startswith(BLOCKED)):
        # a shutdown, an operator, an expiry, a guardrail: the reason knows which, the code does not
        return f"the session was ended: {reason} (close code {code})"
    meaning = MEANINGS.get(code, "")
    return f"the session was ended {meaning + ' ' if meaning else ''}(close code {code}{reason and ': ' + reason})"
