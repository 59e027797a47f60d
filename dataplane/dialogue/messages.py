"""What clients send on a WebSocket of the Responses API, and the shape of errors there. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

import orjson

from dataplane.affinity import bodies
from dataplane.affinity.bodies import Json
from dataplane.affinity.hints import Keys, Signed
from dataplane.affinity.placing import unknown
from dataplane.errors import Refusal
from dataplane.http import chat

LANES: Final = 32
"""Streams of one connection that may have a name."""
_LANE: Final = re.compile(r"[A-Za-z0-9_.-]{1,256}", re.ASCII)
_OF_CONNECTION: Final = ("websocket_connection_limit_reached",)
_STATUSES: Final = {
    "authentication_error": 401,
    "permission_error": 403,
    "rate_limit_error": 429,
    "server_error": 500,
    "upstream_error": 502,
}
"""By the type of an error of the connection; of all others it is 400."""
_WAITS: Final = ("retry-after", "x-ratelimit-")
"""Header fields of a refusal that its client is told."""
_ENVELOPE: Final = ("type", "stream_id")


@dataclass(frozen=True, slots=True)
class Asked:
    """One message."""

    kind: Literal["create", "steer"]
    body: Json
    """Of `create`: as it would be posted, without what only a WebSocket has. Of `steer`: all of it."""
    lane: str = ""
    """The stream that it is for; empty: the one without a name."""

    def written(self, model: str) -> bytes:
        """A `create` as the provider gets it, under its own name of the model. Raises Refusal invalid_json."""
        lane = {"stream_id": self.lane} if self.lane else {}
        return _written({"type": "response.create", **self.body, "model": model, **lane})


def read(message: bytes, *, binary: bool) -> Asked:
    """Raises Refusal invalid_json, invalid_value; what has fields in another spelling is refused, since some JSON
    readers ignore case."""
    if binary:
        raise Refusal("invalid_json", "Messages are JSON objects in text frames; this one was binary.")
    said = chat.parsed(message)
    for name in said:
        if name not in _ENVELOPE and name.casefold() in _ENVELOPE:
            raise Refusal("invalid_value", f"The field {name!r} is spelled {name.casefold()!r}.", param=name[:100])
    match said.get("type"):
        case "response.create":
            lane = _lane(said)
            _check_background(said)
            return Asked("create", {name: value for name, value in said.items() if name not in _ENVELOPE}, lane)
        case "response.steer":
            if unfit := said.keys() - {"type", "previous_response_id", "input"}:
                raise Refusal("invalid_value", "response.steer takes previous_response_id and input.", param=min(unfit))
            return Asked("steer", said)
    raise Refusal("invalid_value", "Clients send response.create and response.steer here.", param="type")


def lane_of(message: bytes) -> str:
    """The stream that an error about this message is for."""
    try:
        return _lane(chat.parsed(message))
    except Refusal:
        return ""


def steered(asked: Asked, keys: Keys) -> tuple[bytes, list[Signed]]:
    """A `steer` as the provider gets it, and what its hints say. Raises Refusal response_not_found,
    invalid_encrypted_content, invalid_json."""
    try:
        signed = bodies.unwrap(asked.body, keys)
    except bodies.Foreign as error:
        raise unknown(encrypted=error.encrypted, param=error.field) from None
    if not signed:
        raise unknown(encrypted=False, param=bodies.PREVIOUS)
    return _written(asked.body), signed


def lane_said(event: Json) -> str:
    """The stream that a provider's event is of."""
    lane = event.get("stream_id")
    return lane if isinstance(lane, str) else ""


def is_of_connection(event: Json) -> bool:
    """Is it an error of the connection, and of no response?"""
    about = event.get("error")
    code = about.get("code") if isinstance(about, dict) else None
    return event.get("type") == "error" and code in _OF_CONNECTION


def status_said(event: Json) -> int | None:
    """The HTTP status that a provider's error stands for; None where the event is no error."""
    if event.get("type") != "error":
        return None
    if isinstance(status := event.get("status"), int):
        return status
    about = event.get("error")
    code = about.get("code") if isinstance(about, dict) else None
    return 401 if code == "invalid_api_key" else 400


def error(refusal: Refusal, lane: str = "") -> bytes:
    """What a client is told that asked for something that it does not get."""
    about: Json = {"type": refusal.kind.type, "code": refusal.code, "message": refusal.message, "param": refusal.param}
    if waits := {name: value for name, value in refusal.headers.items() if name.lower().startswith(_WAITS)}:
        about["headers"] = waits
    return _error(refusal.status, about, lane)


def ending(kind: str, code: str, message: str) -> bytes:
    """What a client is told before the connection ends."""
    return _error(_STATUSES.get(kind, 400), {"type": kind, "code": code, "message": message, "param": None}, "")


def _error(status: int, about: Json, lane: str) -> bytes:
    said: Json = {"type": "error", "status": status, "error": about}
    return orjson.dumps({**said, "stream_id": lane} if lane else said)


def _written(body: Json) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:
        raise Refusal("invalid_json", "The message is nested too deeply.") from None


def _lane(said: Json) -> str:
    """Raises Refusal invalid_value."""
    lane = said.get("stream_id")
    if lane is None:
        return ""
    if not isinstance(lane, str) or not _LANE.fullmatch(lane):
        message = "stream_id is 1 to 256 letters, digits, '_', '.' and '-'."
        raise Refusal("invalid_value", message, param="stream_id")
    return lane


def _check_background(said: Json) -> None:
    for name, value in said.items():
        if name.casefold() == "background" and value:
            message = "Responses are not made in the background over a WebSocket: post them."
            raise Refusal("invalid_value", message, param="background")
