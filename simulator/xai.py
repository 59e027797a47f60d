"""xAI's voice API, where it is not OpenAI's: a `Conversation` in other words, billed by time. Pure.

What it shares with OpenAI is left to that; what the client says is put into OpenAI's words, and what is answered into
xAI's. Sources: docs.x.ai on voice, and measurements of the live service.
"""

import base64
import math
from collections.abc import Iterator, Mapping

import orjson

from simulator.conversation import Conversation
from simulator.events import event
from simulator.handshake import bearer, protocols
from simulator.ledger import Ledger
from simulator.shapes import Json, mapping, text
from simulator.timeline import Audio, Said

MODELS = ("grok-voice-latest", "grok-voice-think-fast-1.0", "grok-voice-think-fast-2.0")
_KEY_PROTOCOL = "xai-client-secret."
_PING_S = 10.0
_BYTES_PER_MS = {"audio/pcmu": 8.0, "audio/pcma": 8.0}
_NEVER = frozenset({"conversation.item.done", "rate_limits.updated"})
_TRANSCRIPTION = "conversation.item.input_audio_transcription."
_NAMES = {
    "conversation.item.added": "conversation.item.created",
    "response.output_text.delta": "response.text.delta",
    "response.output_audio.delta": "response.audio.delta",
}
_DETECTION: Json = {"type": "server_vad", "threshold": 0.85, "silence_duration_ms": 0, "prefix_padding_ms": 333}


def refused(headers: Mapping[str, str], keys: frozenset[str]) -> Json | None:
    """What is wrong with the key of a handshake, in xAI's words; None: nothing. It is answered 400, or 401 where there
    is none."""
    offered = protocols(headers.get("Sec-WebSocket-Protocol", ""))
    shown = (each.removeprefix(_KEY_PROTOCOL) for each in offered if each.startswith(_KEY_PROTOCOL))
    key = bearer(headers) or next(shown, None)
    if key is None:
        return {"code": "unauthenticated:no-credentials", "error": "No credentials were provided."}
    if key not in keys:
        return {"code": "invalid-argument", "error": "Incorrect API key provided."}
    return None


def served(model: str) -> str:
    """The model that is served to whoever asks for one: an unknown one is the default, and nothing says so."""
    return model if model in MODELS else MODELS[0]


class XaiConversation:
    """`inner`: the session as OpenAI would hold it."""

    def __init__(self, inner: Conversation, model: str, ledger: Ledger) -> None:
        self.id = inner.id
        self._inner, self._model, self._ledger = inner, model, ledger
        self._session: Json = {"id": self.id, "object": "realtime.session", "model": model, "voice": "Ara"}
        self._session |= {"instructions": "", "turn_detection": _DETECTION, "tools": [], "audio": {}}
        self._answers = 0
        self._ping = math.inf
        self._billed = _Billed()

    def open(self, now: float, expires_at: int) -> None:
        """The client is there."""
        self._ping, self._billed.since = now, now
        self._inner.open(now, expires_at)

    def receive(self, message: str | bytes, now: float) -> None:
        """A message of the client's: text, or binary audio."""
        if isinstance(message, bytes):
            message = orjson.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(message).decode()})
        try:
            received: object = orjson.loads(message)
        except orjson.JSONDecodeError:
            received = None
        if isinstance(received, dict):
            received = self._heard(received, now)
            message = orjson.dumps(received)
        self._inner.receive(message.decode() if isinstance(message, bytes) else message, now)

    def due(self, now: float) -> Iterator[Said]:
        """What is to be sent by now, in order."""
        for said in self._inner.due(now):
            if not isinstance(said, dict):
                yield said
            else:
                yield from self._said(said)
        if now >= self._ping:
            self._ping = now + _PING_S
            yield {"type": "ping", "timestamp": int(now * 1000)}

    def next_due(self) -> float | None:
        """When there is something to be sent."""
        due = self._inner.next_due()
        return self._ping if due is None else min(due, self._ping)

    def close(self) -> None:
        """The client has said CLOSE."""
        self._inner.close()

    def end(self, now: float) -> None:
        """The connection is no more: the time that it took is booked."""
        self._inner.end(now)
        self._ping = math.inf
        self._ledger.record_time(self.id, self._model, self._billed.until(now))

    # client → server

    def _heard(self, received: Json, now: float) -> Json:
        match received.get("type"):
            case "session.update":
                return {**received, "session": self._update(mapping(received.get("session")), now)}
            case "input_audio_buffer.append":
                self._billed.hear(len(text(received.get("audio"))) * 3 // 4, self._rate("input"))
            case "response.create" if "response" in received:
                return {**received, "response": _moved(mapping(received["response"]))}
            case "conversation.item.create":
                self._billed.add(mapping(received.get("item")), self._rate("input"))
            case "conversation.item.retrieve":  # which there is not
                return {**received, "type": "unknown"}
        return received

    def _update(self, change: Json, now: float) -> Json:
        """Its own session takes the change; the same in OpenAI's words."""
        self._session = {**self._session, **change}
        detection, given = mapping(self._session["turn_detection"]), mapping(change.get("audio"))
        self._billed.switch(now, manual=detection.get("type") is None)
        heard, spoken = mapping(given.get("input")), mapping(given.get("output"))
        known = {"format": heard["format"]} if "format" in heard else {}
        known |= {"transcription": heard["transcription"]} if "transcription" in heard else {}
        if "turn_detection" in change:
            known["turn_detection"] = {"type": "server_vad"} if detection.get("type") else None
        audio = {"input": known, "output": {"format": spoken["format"]} if "format" in spoken else {}}
        rest: Json = {name: change[name] for name in ("instructions", "tools") if name in change}
        return {"type": "realtime", "audio": audio, **rest}

    def _rate(self, side: str) -> float:
        found = mapping(mapping(mapping(self._session["audio"]).get(side)).get("format"))
        return _BYTES_PER_MS.get(text(found.get("type")), 48.0)

    # server → client

    def _said(self, said: Json) -> Iterator[Said]:
        kind = text(said["type"])
        if kind in _NEVER or (kind.startswith(_TRANSCRIPTION) and not kind.endswith("completed")):
            return
        match kind:
            case "session.created":
                yield {**said, "session": self._session}
                conversation = {"id": f"conv_{self.id}", "object": "realtime.conversation"}
                yield event("conversation.created", conversation=conversation)
                return
            case "session.updated":
                said = {**said, "session": self._session}
            case "response.output_audio.delta":
                audio = base64.b64decode(text(said.get("delta")))
                self._billed.say(len(audio), self._rate("output"))
                if mapping(mapping(self._session["audio"]).get("output")).get("transport") == "binary":
                    yield Audio(audio)
                    return
            case "response.done":
                said = self._done(said)
            case _ if kind.startswith(_TRANSCRIPTION):
                said = {name: value for name, value in said.items() if name != "usage"}
        yield {**said, "type": _NAMES.get(kind, kind)}

    def _done(self, said: Json) -> Json:
        """Usage has no details; it is in the response, and at every second answer beside it."""
        self._answers += 1
        response = dict(mapping(said["response"]))
        usage = mapping(response.pop("usage", None))
        plain = {name: value for name, value in usage.items() if not name.endswith("_details")}
        if not plain:
            return {**said, "response": response}
        return (
            {**said, "response": response, "usage": plain}
            if self._answers % 2 == 0
            else {**said, "response": {**response, "usage": plain}}
        )


class _Billed:
    """What a session costs: seconds by the clock while the server detects turns, else those of its audio; and items."""

    def __init__(self) -> None:
        self.since = 0.0
        self._manual = False
        self._clock_s = self._audio_s = 0.0
        self._items = 0

    def switch(self, now: float, *, manual: bool) -> None:
        if not self._manual:
            self._clock_s += now - self.since
        self.since, self._manual = now, manual

    def hear(self, size: float, rate: float) -> None:
        if self._manual:
            self._audio_s += size / rate / 1000

    say = hear

    def add(self, item: Json, rate: float) -> None:
        parts = item.get("content")
        audio = [text(mapping(each).get("audio")) for each in parts] if isinstance(parts, list) else []
        if any(audio):
            self.hear(sum(map(len, audio)) * 3 // 4, rate)
        elif item.get("type") != "function_call_output":
            self._items += 1

    def until(self, now: float) -> Json:
        self.switch(now, manual=self._manual)
        return {
            "session_seconds": round(self._clock_s, 3),
            "audio_seconds": round(self._audio_s, 3),
            "items": self._items,
        }


def _moved(response: Json) -> Json:
    """`modalities`, as OpenAI calls it."""
    return {("output_modalities" if name == "modalities" else name): value for name, value in response.items()}
