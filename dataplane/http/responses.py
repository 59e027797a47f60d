"""The Responses API as OpenAI defines it: what is asked, what is read and changed in requests and answers.

Pure. Source: https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from dataplane.affinity import bodies
from dataplane.affinity.bodies import Json
from dataplane.affinity.hints import Signer
from dataplane.dialects.openai_usage import responses_usage
from dataplane.errors import Refusal
from dataplane.http import sse
from dataplane.http.outcome import Said
from dataplane.metering.usage import Status

_MADE: Final = {"compact": True, "input_tokens": False}
"""Subpaths that take a body like that of a response; whether a model works on it, and is paid."""
_OF_ONE: Final = {"": ("GET", "DELETE"), "cancel": ("POST",), "input_items": ("GET",)}
"""What may be asked of a stored response, by what follows its id."""
_ENDS: Final[dict[str, Status]] = {
    "completed": "completed",
    "incomplete": "incomplete",
    "failed": "failed",
    "cancelled": "cancelled",
}
# Cheap test before an event is parsed: most hold a piece of text.
_WORTH_READING = re.compile(
    rb'"response"\s*:\s*\{|"(?:encrypted_content|previous_response_id|response_id)"\s*:|"type"\s*:\s*"error"'
)


@dataclass(frozen=True, slots=True)
class Call:
    """What a request wants."""

    id: str = ""
    """Of a stored response, as the client knows it; empty: something is made of the body."""
    below: str = ""
    """What follows in the path: `cancel`, `input_items`, `compact`, `input_tokens`."""
    turn: bool = False
    """Does a model work for it?"""


def call(method: str, segments: Sequence[str]) -> Call:
    """What is wanted by the segments of the path that follow `/v1/responses`.

    Raises Refusal method_not_allowed, undeclared_path."""
    match segments:
        case []:
            _check(method, ("POST",), "A response is made by POST; responses are not listed.")
            return Call(turn=True)
        case [name] if name in _MADE:
            _check(method, ("POST",), f"/{name} takes POST.")
            return Call(below=name, turn=_MADE[name])
        case [name]:
            _check(method, _OF_ONE[""], "A stored response takes GET and DELETE.")
            return Call(name)
        case [name, below] if below in _OF_ONE:
            _check(method, _OF_ONE[below], f"/{below} takes {_OF_ONE[below][0]}.")
            return Call(name, below)
    known = "/{id}, /{id}/cancel, /{id}/input_items, /compact and /input_tokens"
    raise Refusal("undeclared_path", f"Below responses there is no /{'/'.join(segments)[:200]}: there are {known}.")


def is_stored(segments: Sequence[str]) -> bool:
    """Is something asked of a stored response?"""
    return bool(segments) and segments[0] not in _MADE


def check_conversation(body: Json) -> None:
    """For a Backend that shows its own credential: stored conversations say nothing of whose they are. Raises Refusal
    conversation_not_allowed."""
    for name, value in body.items():
        if name.casefold() == "conversation" and value is not None:
            raise Refusal(
                "conversation_not_allowed",
                "Stored conversations are not kept apart by caller here. Leave `conversation` out, and go on from a "
                "response with `previous_response_id`.",
                param="conversation",
            )


def rewritten(body: Json, model: str) -> bytes:
    """The body as the provider gets it, with its own name of the model; serialised from what was read, so that it
    cannot see another value than the one that was authorised."""
    return orjson.dumps({**body, "model": model})


def models_of_tools(body: Json) -> list[str]:
    """Models that tools of the request name, such as that of image_generation."""
    tools = body.get("tools")
    named = [tool.get("model") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    return [name for name in named if isinstance(name, str)]


@dataclass(slots=True)
class Outcome(Said):
    """What a response said about itself."""

    background: bool = False
    """Does it go on when nobody listens?"""
    ended: bool = False
    """Is it over, and did it say so?"""

    def read(self, response: Json) -> None:
        """Take what an answer says; a compaction has no status."""
        self._read(response, str(response.get("status", "completed")))

    def read_event(self, event: Json) -> None:
        """Take what an event says of its response; one that says `error` ends it."""
        kind = event.get("type")
        if isinstance(response := event.get("response"), dict):
            self._read(response, str(kind).removeprefix("response."))
        elif kind == "error":
            self.status, self.ended = "failed", True

    def _read(self, response: Json, status: str) -> None:
        self.take(response, responses_usage)
        self.background = self.background or response.get("background") is True
        if status in _ENDS:
            self.status, self.ended = _ENDS[status], True


class JsonTap:
    """Holds a JSON answer until it is whole, and puts hints on it. One of over `limit` bytes leaves as it came."""

    def __init__(self, outcome: Outcome, signer: Signer, limit: int) -> None:
        self._outcome, self._signer, self._limit = outcome, signer, limit
        self._held = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        if self._outcome.unmetered:
            return chunk
        self._held += chunk
        if len(self._held) <= self._limit:
            return b""
        self._outcome.unmetered = "reply_too_long"
        held, self._held = bytes(self._held), bytearray()
        return held

    def end(self) -> bytes:
        held = bytes(self._held)
        if self._outcome.unmetered:
            return held
        answer = _object(held)
        if answer is None:
            self._outcome.unmetered = "reply_not_json"
            return held
        self._outcome.read(answer)
        return _written(answer, held) if bodies.wrap_answer(answer, self._signer) else held


class StreamTap:
    """Reads the events of a stream that say something of the response, and puts hints on them; all others, and those
    over `limit` bytes, leave as they came."""

    def __init__(self, outcome: Outcome, signer: Signer, limit: int) -> None:
        self._outcome, self._signer = outcome, signer
        self._scanner = sse.Scanner(limit)

    def feed(self, chunk: bytes) -> bytes:
        if self._scanner.whole(chunk) and _WORTH_READING.search(chunk) is None:
            return chunk
        return b"".join(map(self._signed, self._scanner.feed(chunk)))

    def end(self) -> bytes:
        rest = b"".join(map(self._signed, self._scanner.end()))
        if not self._outcome.ended:
            self._outcome.status, self._outcome.unmetered = "failed", "reply_not_json"
        return rest

    def _signed(self, event: bytes) -> bytes:
        said = _object(sse.data(event)) if _WORTH_READING.search(event) else None
        if said is None:
            return event
        self._outcome.read_event(said)
        data = signed_event(said, self._signer)
        return sse.with_data(event, data) if data else event


def event_of(message: bytes) -> Json | None:
    """An event that says something of a response, or holds what is to be signed; None for all others."""
    return _object(message) if _WORTH_READING.search(message) else None


def signed_event(event: Json, signer: Signer) -> bytes:
    """With hints, as JSON; empty where it goes on as it came."""
    return _written(event, b"") if bodies.wrap_event(event, signer) else b""


def _check(method: str, allowed: Sequence[str], message: str) -> None:
    if method not in allowed:
        raise Refusal("method_not_allowed", message, headers={"Allow": ", ".join(allowed)})


def _object(data: bytes) -> Json | None:
    try:
        value: object = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _written(value: Json, otherwise: bytes) -> bytes:
    """As JSON; `otherwise` where it is nested too deeply to be written."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return otherwise
