"""Chat completions as OpenAI defines them: what is read and changed in the request, what is read in the answer.

Pure. Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import re

import orjson

from dataplane.dialects.openai_usage import chat_usage
from dataplane.errors import Refusal
from dataplane.http import sse
from dataplane.http.outcome import Said

Json = dict[str, object]
# Cheap test before an event is parsed: most hold a piece of text and `"usage":null`.
_WORTH_READING = re.compile(rb'"usage"\s*:\s*\{|"error"\s*:')


def parsed(body: bytes) -> Json:
    """The request body. Raises Refusal invalid_json."""
    try:
        value: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refusal("invalid_json", f"The body is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise Refusal("invalid_json", "The body must be a JSON object.")
    return value


def model_of(body: Json) -> str:
    """The model that the request names; empty if none. Raises Refusal invalid_value."""
    model = body.get("model", "")
    if not isinstance(model, str):
        raise Refusal("invalid_value", "`model` must be a string.", param="model")
    return model


_FURTHER = frozenset(
    ["models", "fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "model_list", "preset"]
) | frozenset(["user_config", "router_settings_override", "compound_custom", "providerOptions"])
"""Fields in which some providers are told other models, to fall back on or to work with, so that another one than
`model` may answer. Sources: OpenRouter (models, preset), LiteLLM's proxy (fallbacks and what follows it, model_list,
user_config, router_settings_override), Groq (compound_custom), Vercel's AI gateway (models, providerOptions)."""
_SAYS_MODELS = {field.casefold() for field in _FURTHER} | {"model"}


def check_one_model(body: Json) -> None:
    """For a caller who may not use every model: no field but `model` may say which one answers, in no spelling, since
    some JSON readers (Go's) ignore case. Raises Refusal model_not_allowed."""
    for field, value in body.items():
        if field != "model" and value is not None and field.casefold() in _SAYS_MODELS:
            raise Refusal(
                "model_not_allowed",
                f"The field {field!r} can name other models, and a Policy limits which ones this caller may use. "
                "Leave it out, and name one model in 'model'.",
                param=field,
            )


def asks_usage(body: Json) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def rewritten(body: Json, model: str) -> bytes:
    """The body as the provider gets it: its own name of the model, and usage asked for where it streams.

    Serialised from what was read, so that the provider cannot see another value than the one that was authorised
    (of duplicate keys, for instance)."""
    new: Json = {**body, "model": model}
    options = body.get("stream_options")
    if body.get("stream") is True and (options is None or isinstance(options, dict)):
        new["stream_options"] = {**(options or {}), "include_usage": True}
    return orjson.dumps(new)


class Outcome(Said):
    """What a completion said about itself."""

    __slots__ = ()

    def read(self, payload: bytes | bytearray) -> Json:
        """Take what a reply or a chunk says; returns it, empty if it is no JSON object."""
        try:
            value: object = orjson.loads(payload)
        except orjson.JSONDecodeError:
            return {}
        if not isinstance(value, dict):
            return {}
        self.take(value, chat_usage)
        return value


class JsonTap:
    """Looks on while a JSON reply is relayed; reads it at its end."""

    def __init__(self, outcome: Outcome, limit: int) -> None:
        self._outcome, self._limit = outcome, limit
        self._held = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        if not self._outcome.unmetered:
            self._held += chunk
            if len(self._held) > self._limit:
                self._outcome.unmetered = "reply_too_long"
                self._held.clear()
        return chunk

    def end(self) -> bytes:
        if not self._outcome.unmetered and not self._outcome.read(self._held):
            self._outcome.unmetered = "reply_not_json"
        return b""


class StreamTap:
    """Looks on while a stream is relayed. With `hide`, the extra chunk that holds nothing but usage is taken out
    of the stream, since the client did not ask for it (and may index `choices[0]`). Everything else stays as it
    came, `"usage":null` in other chunks included."""

    def __init__(self, outcome: Outcome, limit: int, *, hide: bool) -> None:
        self._outcome, self._hide = outcome, hide
        self._scanner = sse.Scanner(limit)

    def feed(self, chunk: bytes) -> bytes:
        if self._scanner.whole(chunk):
            return chunk if self._passes(chunk) else self._sifted(chunk)
        return self._kept(self._scanner.feed(chunk))

    def end(self) -> bytes:
        return self._kept(self._scanner.end())

    def _kept(self, events: list[bytes]) -> bytes:
        together = b"".join(events)
        if self._passes(together):
            return together
        return b"".join([event for event in events if not (self._extra(event) and self._hide)])

    def _sifted(self, events: bytes) -> bytes:
        """The same for plainly whole events, of which only those are looked at that are worth it."""
        kept, start = [], 0
        while (worth := self._worth_reading(events, start)) < len(events):
            kept.append(events[start:worth])
            start = events.index(b"\n\n", worth) + 2
            if not (self._extra(event := events[worth:start]) and self._hide):
                kept.append(event)
        kept.append(events[start:])
        return b"".join(kept)

    def _worth_reading(self, events: bytes, start: int) -> int:
        """Where the next event begins that does not pass; behind all of them if there is none."""
        if not self._outcome.model:
            return start
        found = _WORTH_READING.search(events, start)
        if found is None:
            return len(events)
        end = events.rfind(b"\n\n", start, found.start())
        return start if end < 0 else end + 2

    def _passes(self, events: bytes) -> bool:
        return bool(self._outcome.model) and _WORTH_READING.search(events) is None

    def _extra(self, event: bytes) -> bool:
        """Read an event; whether it is the extra one."""
        if self._passes(event):
            return False
        value = self._outcome.read(sse.data(event))
        return value.get("choices") == [] and isinstance(value.get("usage"), dict)
