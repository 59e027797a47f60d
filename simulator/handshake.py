"""Who may open a realtime session, judged as the vendor does: after the 101, by an error event and a close."""

from collections.abc import Mapping
from typing import NamedTuple

from simulator.errors import RefusedError

_KEY_PROTOCOL = "openai-insecure-api-key."


class Refusal(NamedTuple):
    """The error event, and the close after it."""

    error: RefusedError
    code: int
    reason: str


def protocols(header: str) -> list[str]:
    """The subprotocols that a client offered."""
    return [name.strip() for name in header.split(",") if name.strip()]


def judge(headers: Mapping[str, str], query: Mapping[str, str], keys: frozenset[str]) -> Refusal | None:
    """What is wrong with a handshake, if anything; header names in any case must be found by the mapping."""
    key = _key(headers)
    if key is None:
        return _refusal(3000, None, "Missing bearer or basic authentication in header")
    if key not in keys:
        return _refusal(3000, "invalid_api_key", "Incorrect API key provided.")
    if "OpenAI-Beta" in headers:
        message = "The Realtime Beta API is no longer supported. Please use the GA API without `OpenAI-Beta`."
        return _refusal(4000, "beta_api_shape_disabled", message)
    if query.get("intent") == "transcription":
        return None
    model = query.get("model", "")
    if not model:
        return _refusal(4000, "missing_model", "You must provide a model parameter.")
    if model.startswith("missing-"):
        return _refusal(4000, "invalid_model", f"Model '{model}' is not supported in realtime mode.")
    return None


def bearer(headers: Mapping[str, str]) -> str | None:
    """The key in `Authorization`, if there is one."""
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None


def _key(headers: Mapping[str, str]) -> str | None:
    if (key := bearer(headers)) is not None:
        return key
    offered = protocols(headers.get("Sec-WebSocket-Protocol", ""))
    return next((name.removeprefix(_KEY_PROTOCOL) for name in offered if name.startswith(_KEY_PROTOCOL)), None)


def _refusal(close: int, code: str | None, message: str) -> Refusal:
    reason = f"invalid_request_error.{code}" if code else "invalid_request_error"
    return Refusal(RefusedError(message, code), close, reason)
