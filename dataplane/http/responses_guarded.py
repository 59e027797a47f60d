"""The Responses API under guardrails: answers that come whole, and events, be it of a stream or of a WebSocket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from dataplane.affinity import bodies
from dataplane.affinity.bodies import Json
from dataplane.affinity.hints import Signer
from dataplane.errors import Refusal
from dataplane.guardrails.texts import AUDIO, Place, responses_event, responses_reply, stream_of, without_copies
from dataplane.http.responses import Outcome
from dataplane.http.spoken import Texts

OVER = frozenset(["response.completed", "response.incomplete", "response.failed", "response.cancelled", "error"])
"""Types of events that end a response."""
_COPIES = ("logprobs", "obfuscation")
"""Fields of a piece that say something of its text."""


class Responses:
    """`signer`: puts hints on what is shown; None: nothing is shown."""

    def __init__(self, outcome: Outcome, signer: Signer | None) -> None:
        self._outcome, self._signer = outcome, signer
        self._pieces: dict[str, Json] = {}
        """The last one of each text."""

    def reply(self, value: Json) -> None:
        self._outcome.read(value)
        if self._signer is not None:
            bodies.wrap_answer(value, self._signer)

    def places(self, value: Json) -> Iterator[Place]:
        """Of a response, of a compaction, or of a list of items."""
        return responses_reply(value)

    async def event(self, texts: Texts, value: Json) -> AsyncIterator[Json]:
        """An event, unless it is a piece of which nothing may be shown yet; before it, what else is left of texts that
        it ends."""
        self.note(value)
        if self._signer is not None:
            bodies.wrap_event(value, self._signer)
        async for shown in self.judged(texts, value):
            yield shown

    async def judged(self, texts: Texts, value: Json) -> AsyncIterator[Json]:
        """The same, for who has read and signed it."""
        enforces = texts.jury.enforces("output")
        if value.get("type") in AUDIO and texts.jury.audio_waits:  # no provider speaks here yet
            texts.jury.check_unheard("output")
        piece = next((place for place in responses_event(value) if place.stream), None)
        if piece is None:
            for rest in await self._ended(texts, value):
                yield rest
        changed = await texts.jury.read(lambda: (each for each in responses_event(value) if not each.stream), "output")
        if piece is not None:
            self._pieces[piece.stream] = value
            shown = await texts.add(piece)
            if enforces:
                if piece.text and not shown:
                    return
                piece.put(shown)
        if changed or (enforces and piece is not None):
            without_copies(value)
        yield value

    async def rest(self, texts: Texts) -> AsyncIterator[Json]:
        for name, rest in await texts.end():
            yield self._piece(name, rest)
        if not self._outcome.ended:
            self.broken("reply_not_json")
            self._outcome.status = "failed"

    def note(self, value: Json) -> None:
        self._outcome.read_event(value)

    @property
    def metered(self) -> bool:
        return self._outcome.tokens is not None

    def named(self, value: Json) -> str:
        return str(value.get("type"))

    def refused(self, refusal: Refusal) -> Json:
        """As the API says errors in a stream, and as those say them who look for an `error` in it."""
        error = {"type": refusal.kind.type, "code": refusal.code, "message": refusal.message, "param": None}
        return {**error, "type": "error", "error": error}

    def broken(self, unmetered: str = "") -> None:
        self._outcome.status = "cancelled"
        self._outcome.unmetered = unmetered or self._outcome.unmetered

    async def _ended(self, texts: Texts, value: Json) -> list[Json]:
        kind = str(value.get("type"))
        if kind in OVER:
            rests = await texts.end()
        elif kind.endswith((".done", ".completed")):
            rests = await texts.end(stream_of(value), whole=True)
        else:
            return []
        return [self._piece(name, rest) for name, rest in rests]

    def _piece(self, name: str, text: str) -> Json:
        """One more, with what is left of its text, numbered as the last that came."""
        last = self._pieces[name]
        return {**{field: each for field, each in last.items() if field not in _COPIES}, "delta": text}
