"""Chat completions under guardrails: replies, and the chunks of a stream."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator

from dataplane.dialects.openai_usage import chat_usage
from dataplane.errors import Refusal
from dataplane.guardrails.texts import Place, chat_chunk, chat_reply, without_copies
from dataplane.http.chat import Json, Outcome
from dataplane.http.speech import Speech
from dataplane.http.spoken import Texts

_PIECE = re.compile(
    r"choices\[\d+\]\.(?:text|delta\.[^.\[\]]+|delta\.(?:content|reasoning_details)\[.+|delta\..+\.(?:arguments|input|transcript))"
)
"""Texts that come in pieces. All others, such as names of tools and titles of sources, come whole, and clients take
them so. Sources: the types of openai-python 3.52; Mistral (parts of `content`), OpenRouter (`reasoning_details`)."""
_SEGMENT = re.compile(r"([^.\[\]]+)((?:\[\d+\])*)")


class Chat:
    """`hide`: the extra chunk that holds nothing but usage, which the client did not ask for."""

    def __init__(self, outcome: Outcome, *, hide: bool) -> None:
        self._outcome, self._hide = outcome, hide
        self._speech = Speech()
        self._head: Json = {}
        """What chunks have in common."""

    def reply(self, value: Json) -> None:
        self._outcome.take(value, chat_usage)

    def places(self, value: Json) -> Iterator[Place]:
        return chat_reply(value)

    async def event(self, texts: Texts, value: Json) -> AsyncIterator[Json]:
        """A chunk; before it, what else is left of texts that it ends."""
        self.note(value)
        if self._hide and value.get("choices") == [] and isinstance(value.get("usage"), dict):
            return
        enforces, here = texts.jury.enforces("output"), dict[str, tuple[Place, str]]()
        await texts.jury.read(lambda: (each for each in chat_chunk(value) if not _is_piece(each)), "output")
        self._head = {name: each for name, each in value.items() if name not in ("choices", "usage", "error")}
        for place in filter(_is_piece, list(chat_chunk(value))):
            here[place.stream] = place, (shown := await texts.add(place))
            if enforces:
                place.put(shown)
        if texts.jury.audio_waits:
            self._speech.hold(texts.jury, value)
        for index in _finished(value):
            for name, rest in await texts.end(f"choices[{index}]"):
                if name in here:
                    place, shown = here[name]
                    place.put(shown + rest)
                else:
                    yield self._chunk(name, rest)
            for chunk in self._heard(texts, index):
                yield chunk
        if enforces:
            without_copies(value)  # of what is withheld
        yield value

    async def rest(self, texts: Texts) -> AsyncIterator[Json]:
        for name, rest in await texts.end():
            yield self._chunk(name, rest)
        for chunk in self._heard(texts):
            yield chunk

    def note(self, value: Json) -> None:
        self._outcome.take(value, chat_usage)

    @property
    def metered(self) -> bool:
        return self._outcome.tokens is not None

    def named(self, _value: Json) -> str:
        return ""

    def refused(self, refusal: Refusal) -> Json:
        error = {"message": refusal.message, "type": refusal.kind.type, "param": None, "code": refusal.code}
        return {"error": error}

    def broken(self, unmetered: str = "") -> None:
        self._outcome.status = "cancelled"
        self._outcome.unmetered = unmetered or self._outcome.unmetered

    def _heard(self, texts: Texts, index: int | None = None) -> list[Json]:
        """Audio of a choice that is over, or of all. Raises Blocked."""
        return [self._chunk(f"choices[{each}].delta.audio.data", data) for each, data in self._speech.end(texts, index)]

    def _chunk(self, name: str, text: str) -> Json:
        """One that holds nothing but this text, where its stream's name says."""
        value: object = text
        for field, indexes in reversed(_SEGMENT.findall(name)):
            for index in reversed(re.findall(r"\d+", indexes)):
                value = [{"index": int(index), **value} if isinstance(value, dict) else value]
            value = {field: value}
            if field == "delta":  # what a choice has beside its index
                value["finish_reason"] = None
        return {**self._head, **value} if isinstance(value, dict) else self._head


def _is_piece(place: Place) -> bool:
    return _PIECE.fullmatch(place.stream) is not None


def _finished(chunk: Json) -> Iterator[int]:
    """The indexes of choices that a chunk ends."""
    choices = chunk.get("choices")
    for position, choice in enumerate(choices if isinstance(choices, list) else []):
        if isinstance(choice, dict) and choice.get("finish_reason"):
            index = choice.get("index")
            yield index if isinstance(index, int) else position
