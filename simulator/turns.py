"""One response of the realtime API, as the script of its events in the GA order. Pure.

A turn can be ended from outside at any step (cancelled by the client or by barge-in): the script then closes
what it has opened, and bills what was said so far.
"""

import base64
import functools
import itertools
import math
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from simulator import answers, events, mishaps, session, usage
from simulator.answers import Call
from simulator.events import event, item_added, item_done
from simulator.items import Item, Items
from simulator.scenarios import Options
from simulator.shapes import Json, mapping, text
from simulator.timeline import FOREVER, Noise, Pause, Receipt, Script
from simulator.usage import Tokens

_FAILED: Json = {"type": "server_error", "code": "server_error", "message": "The simulated model failed."}
_SAMPLES_PER_S = 24_000
_TONE_HZ = 240
_ENDLESS = sys.maxsize
_BURST, _BREATH_S = 16, 0.0005  # a flood pauses so shortly that nobody else is shut out

Book = Callable[[str, str, Json | None, Json | None], None]


@dataclass(frozen=True)
class Plan:
    """What is known of a response when it begins. `items` is None out of band; `format` is that of the audio
    to be spoken, None for a written answer; `limit` is the largest number of output tokens."""

    response: Json
    answer: str | Call
    into: Tokens
    cached: Tokens
    options: Options
    items: Items | None
    format: Json | None
    limit: float = math.inf


@dataclass(frozen=True)
class _Beat:
    """One piece of an answer: its events, and what has been said when they are sent."""

    events: list[Json]
    said: str
    tokens: Tokens


class Turn:
    """A response under way. `book(id, status, usage as sent, usage as billed)` is called once: as its end is sent, or
    when it is clear that this will never be. A turn of which nothing was said is never booked."""

    def __init__(self, plan: Plan, new_id: Callable[[str], str], book: Book) -> None:
        self._plan, self._new_id, self._book = plan, new_id, book
        self._ending: Json | None = None
        self._output: list[Json] = []
        self._said, self._tokens = "", Tokens()
        self._begun = self._booked = False
        self.finished = False

    @property
    def id(self) -> str:
        """The response's id."""
        return text(self._plan.response["id"])

    @property
    def in_conversation(self) -> bool:
        """Whether it belongs to the default conversation, in which one at a time is active."""
        return self._plan.items is not None

    @property
    def deaf(self) -> bool:
        """Whether it cannot be cancelled by the client."""
        return bool(self._plan.options.keys() & {"no-cancel", "done-after-close"})

    @property
    def outlives_close(self) -> bool:
        """Whether it ends when the client says CLOSE, and not before."""
        return "done-after-close" in self._plan.options

    @property
    def spent(self) -> int:
        """Tokens so far, in and out."""
        return self._plan.into.total + self._tokens.total

    def end(self, status: str, **details: object) -> None:
        """Stop here with a status; the first word holds."""
        self._ending = self._ending or {"status": status, "status_details": {"type": status, **details}}

    def lose(self, status: str) -> None:
        """The connection is gone: nothing more can be sent, so nothing more can be reported."""
        self.finished = True
        if self._begun and not self._booked:
            self._booked = True
            self._book(self.id, status, None, self._billed())

    def script(self) -> Script:
        """Every event from `response.created` to `response.done`."""
        options = self._plan.options
        self._begun = True
        yield event("response.created", response=self._plan.response)
        yield from mishaps.at("at-created", options)
        while "stall" in options and not self._ending:
            yield Pause(FOREVER)
        if "fail" in options:
            self.end("failed", error=_FAILED)
        if not self._ending:
            answer = self._plan.answer
            yield from self._call(answer) if isinstance(answer, Call) else self._message(answer)
        yield from mishaps.at("at-done", options)
        done = self._done()
        yield Receipt(done, self._receipt(done))
        if "done-twice" in options:
            yield {**done}
        yield from mishaps.at("after-done", options)

    def _done(self) -> Json:
        self.finished = True
        ending = self._ending or {"status": "completed", "status_details": None}
        response: Json = {**self._plan.response, **ending, "output": self._output, "usage": None}
        if (billed := self._billed()) is not None:
            usage.attach(response, billed, self._plan.options)
        return event("response.done", response=response)

    def _receipt(self, done: Json) -> Callable[[], None]:
        response = mapping(done["response"])
        status, sent, billed = text(response["status"]), response.get("usage"), self._billed()

        def book() -> None:
            self._booked = True
            self._book(self.id, status, mapping(sent) if sent is not None else None, billed)

        return book

    def _billed(self) -> Json | None:
        """What it costs so far. A failure is free."""
        if self._ending and self._ending["status"] == "failed":
            return None
        return usage.realtime(self._plan.into, self._plan.cached, self._tokens)

    def _call(self, call: Call) -> Script:
        call_id = self._new_id("call")
        item = self._new_item({"type": "function_call", "name": call.name, "call_id": call_id})
        where = {"response_id": self.id, "item_id": item.id, "output_index": 0, "call_id": call_id}
        yield from self._open(item, {"arguments": ""})
        yield from self._stream(_argument_beats(call, where))
        done = {"name": call.name, "arguments": self._said}
        yield event("response.function_call_arguments.done", **where, **done)
        yield from self._close(item, {"arguments": self._said})

    def _message(self, answer: str) -> Script:
        item = self._new_item({"type": "message", "role": "assistant"})
        where = {"response_id": self.id, "item_id": item.id, "output_index": 0, "content_index": 0}
        part, field = ("text", "text") if self._plan.format is None else ("audio", "transcript")
        yield from self._open(item, {"content": []})
        yield event("response.content_part.added", **where, part={"type": part, field: ""})
        if self._plan.format is None:
            yield from self._stream(_text_beats(answer, where))
            yield event("response.output_text.done", **where, text=self._said)
        else:
            yield from self._stream(_audio_beats(answer, where, self._plan.format, self._plan.options))
            yield event("response.output_audio.done", **where)
            yield event("response.output_audio_transcript.done", **where, transcript=self._said)
        yield event("response.content_part.done", **where, part={"type": part, field: self._said})
        yield from self._close(item, {"content": [{"type": f"output_{part}", field: self._said}]})

    def _stream(self, beats: Iterable[_Beat]) -> Script:
        """Say piece by piece, until something ends the turn."""
        for number, beat in enumerate(beats):
            yield self._pace(number)
            if self._tokens.total >= self._plan.limit:
                self.end("incomplete", reason="max_output_tokens")
            if self._ending:
                return
            self._said, self._tokens = beat.said, beat.tokens
            yield from beat.events
            yield from self._between(number)

    def _pace(self, number: int) -> Pause:
        options = self._plan.options
        if "flood" in options and number % _BURST == 0:
            return Pause(_BREATH_S, from_now=True)
        return Pause(options.pace())

    def _between(self, number: int) -> Script:
        """What a scenario does behind a piece of an answer."""
        options = self._plan.options
        if "unknown-events" in options:
            yield from events.unknown(self.id, number)
        if number > 0:
            return
        if "not-json" in options:
            yield Noise("the simulated provider's thoughts are elsewhere")
        if "incomplete" in options:
            self.end("incomplete", reason="max_output_tokens")
        if "interrupted" in options:
            self.end("cancelled", reason="turn_detected")
        yield from mishaps.at("begun", options)
        while "done-after-close" in options and not self._ending:
            yield Pause(FOREVER)
        if "wait" in options:
            yield Pause(FOREVER)

    def _new_item(self, identity: Json) -> Item:
        return Item({"id": self._new_id("item"), "object": "realtime.item", **identity}, Tokens(), known=True)

    def _open(self, item: Item, empty: Json) -> Script:
        item.body = {**item.body, "status": "in_progress", **empty}
        yield self._output_item("added", item)
        if self._plan.items is not None:
            self._previous = self._plan.items.add(item)
            yield item_added(item.body, self._previous)

    def _close(self, item: Item, content: Json) -> Script:
        item.body = {**item.body, "status": "incomplete" if self._ending else "completed", **content}
        item.tokens = self._tokens
        self._output.append(item.body)
        if self._plan.items is not None:
            yield item_done(item.body, self._previous)
        yield self._output_item("done", item)

    def _output_item(self, what: str, item: Item) -> Json:
        return event(f"response.output_item.{what}", response_id=self.id, output_index=0, item=item.body)


def _argument_beats(call: Call, where: Json) -> Iterator[_Beat]:
    said = ""
    for piece in answers.chunks(call.arguments):
        said += piece
        delta = event("response.function_call_arguments.delta", **where, delta=piece)
        yield _Beat([delta], said, usage.of_text(call.name + said))


def _text_beats(answer: str, where: Json) -> Iterator[_Beat]:
    said = ""
    for piece in answers.pieces(answer):
        said += piece
        yield _Beat([_delta("output_text", where, piece)], said, usage.of_text(said))


def _audio_beats(answer: str, where: Json, audio_format: Json, options: Options) -> Iterator[_Beat]:
    """Transcript and audio side by side, whichever has more pieces."""
    words = answers.pieces(answer)
    sounds = _ENDLESS if "flood" in options else int(options.number("deltas")) or len(words)
    size = int(options.number("delta-bytes"))
    ms_each = size / session.bytes_per_ms(audio_format)
    sound = event("response.output_audio.delta", **where, delta=_tone(size))
    said = ""
    for number, (word, _) in enumerate(itertools.zip_longest(words, range(sounds), fillvalue="")):
        said += str(word)
        events = [_delta("output_audio_transcript", where, str(word))] if word else []
        if number < sounds:
            events.append({**sound})
        spoken = usage.of_audio_spoken(ms_each * min(number + 1, sounds))
        yield _Beat(events, said, usage.of_text(said) + spoken)


def _delta(kind: str, where: Json, piece: str) -> Json:
    """A piece of text, padded as the vendor pads it, to hide its length."""
    return event(f"response.{kind}.delta", **where, delta=piece, obfuscation="x" * (16 - len(piece) % 16))


@functools.lru_cache(maxsize=8)
def _tone(size: int) -> str:
    """So many bytes of a soft tone (16-bit PCM, 24 kHz), in base64; equal deltas make one steady tone."""
    angle = 2 * math.pi * _TONE_HZ / _SAMPLES_PER_S
    samples = (int(3_000 * math.sin(angle * place)) for place in range(-(-size // 2)))
    return base64.b64encode(b"".join(struct.pack("<h", sample) for sample in samples)[:size]).decode()
