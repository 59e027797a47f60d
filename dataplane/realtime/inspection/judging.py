"""How one event of a response is judged: what is shown of each text in it, and when the response may not go on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial

from dataplane.dialects import openai
from dataplane.guardrails import texts
from dataplane.guardrails.folding import joined
from dataplane.guardrails.judge import TOO_LARGE, Guard, Hit, Judge, Verdict
from dataplane.guardrails.window import Window
from dataplane.realtime import events
from dataplane.realtime.events import Event
from dataplane.realtime.inspection.questions import Questions
from dataplane.realtime.inspection.telling import UNREADABLE, Telling, strictest
from dataplane.realtime.inspection.withheld import Outlet, Question, Response, Stream, Work

MAX_TEXT = 1024 * 1024
"""Characters of one text that are judged."""
SENTENCE, OFTEN = 24, 200
"""Characters of a growing transcript, after which somebody else is asked about it: at the end of a sentence, and
anyway."""
_TOLD = 512
"""Texts of a response that are remembered."""
_ENDS = (".", "!", "?", "\u2026", "\u3002", "\uff01", "\uff1f", "\n")


class Stop(Exception):
    """A response may not go on. `turn`: it is refused alone, whatever becomes of a session otherwise."""

    def __init__(self, hit: Hit, *, turn: bool = False) -> None:
        super().__init__(hit.rule)
        self.hit, self.turn = hit, turn


class Judging:
    """By the guardrails on output. `stop` is called where a response that goes on already may not."""

    def __init__(
        self,
        guards: Sequence[Guard],
        telling: Telling,
        questions: Questions,
        outlet: Outlet,
        stop: Callable[[Response, Stop], None],
    ) -> None:
        self._telling, self._questions, self._outlet, self._stop = telling, questions, outlet, stop
        judge = Judge(guards, "output")
        enforcing = [guard.rule for guard in guards if guard.rule.output and guard.enforces]
        self._local = Judge(judge.local, "output")
        self.asked = [rule for rule in judge.remote if rule in enforcing]
        """Who must have answered before a text is shown."""
        self._beside = [rule for rule in judge.remote if rule not in enforcing]
        self._early = [rule for rule in self.asked if rule.audio == "cancel"]
        """Who is asked about speech while it is spoken."""
        self._strict = strictest(enforcing)
        """Whose rule it is that what cannot be read does not go on."""
        self._listening = [rule for rule in enforcing if rule.audio != "pass"]
        """Who judges what is heard."""

    @property
    def enforces(self) -> bool:
        """Does what is found change what is shown? Then what nobody can read is not."""
        return self._strict is not None

    def unreadable(self, rule: str = UNREADABLE) -> Stop:
        """Nobody can judge this, be it for its size."""
        assert self._strict is not None, "nothing is stopped where nobody enforces"
        return Stop(Hit(self._strict, rule, "block", shadow=False))

    def judged(self, response: Response, event: Event) -> Work:
        """Judge one event, and show what may be shown of it. Raises Stop, TooMuch."""
        kind = openai.text(event, "type")
        if not self.enforces:
            self.watch(response, event)
            self._outlet.emit(response, events.dump(event))
            return
        try:
            yield from self._closed(response, kind, event)
            yield from self._masked(response, event)
        except texts.Unclear:
            raise self.unreadable() from None
        if kind == "response.done":
            self._check_heard(response, event)
        if event.get("delta") != "":
            self._outlet.emit(response, events.dump(event))
        if kind == "response.done":
            self._outlet.ended(response)
        elif "audio_transcript" in kind and kind.endswith(".done"):
            self._outlet.heard(response, part_of(event))

    def _masked(self, response: Response, event: Event) -> Work:
        """Put into an event what is shown of its texts. Raises Unclear, too."""
        if not isinstance(event.get("delta", ""), str):
            raise texts.Unclear("a piece of text is none")
        changed = False
        for place in _places(event):
            if place.stream:
                shown = self._piece(response, event, place)
            else:
                shown = yield from self._whole(response, place.text, place.name)
            if shown != place.text:
                place.put(shown)
                changed = True
        if changed:
            texts.without_copies(event)

    def _closed(self, response: Response, kind: str, event: Event) -> Work:
        """Show the rest of what is whole with this event."""
        if kind == "response.done":
            keys = list(response.streams)
        else:
            keys = [texts.stream_of(event)] if kind.endswith((".done", ".completed")) else []
        for key in keys:
            stream = response.streams.pop(key, None)
            if stream is not None:
                rest = yield from self._rest(response, stream)
                if rest:
                    late = {**stream.last, "event_id": self._telling.own_id(), "delta": rest}
                    texts.without_copies(late)
                    self._outlet.emit(response, events.dump(late))

    def _rest(self, response: Response, stream: Stream) -> Generator[Question, Verdict, str]:
        """What was not shown yet of a text that is whole."""
        raw = joined("".join(stream.raw))
        self._outlet.grow(response, -sum(map(len, stream.raw)))
        if stream.json:
            whole = [raw]
            for place in texts.within(raw, stream.place, lambda text: whole.__setitem__(0, text), "output"):
                shown = yield from self._whole(response, place.text, place.name)
                if shown != place.text:
                    place.put(shown)
            return whole[0]
        if stream.window.blocked:  # by who lets speech pass; others may not
            self._took(response, self._local.whole(raw), stream.place, "", spoken=True)
        out = stream.window.end()
        rest = self._took(response, out.verdict, stream.place, out.shown, spoken=stream.spoken)
        stream.clear.append(rest)
        clear = "".join(stream.clear)
        if self.asked and clear.strip():
            verdict = yield Question(clear, stream.place)
            shown = verdict.text if verdict.text is not None else clear
            rest = clear = self._took(
                response, verdict, stream.place, shown, spoken=stream.spoken, whole=True, told=True
            )
        self._remember(response, raw, clear, stream.place, spoken=stream.spoken)
        return rest

    def _piece(self, response: Response, event: Event, place: texts.Place) -> str:
        """What of a piece of text may be shown at once, with what was withheld before it."""
        stream = response.streams.get(place.stream)
        if stream is None:
            spoken = "audio_transcript" in openai.text(event, "type")
            window = Window(self._local)
            stream = response.streams[place.stream] = Stream(window, place.name, spoken, place.json, event)
            if spoken:
                self._outlet.sounds(response, part_of(event))
        stream.last = dict(event)
        stream.raw.append(place.text)
        self._outlet.grow(response, len(place.text))
        if stream.json:
            return ""
        out = stream.window.add(place.text)
        shown = self._took(response, out.verdict, place.name, out.shown, spoken=stream.spoken)
        stream.clear.append(shown)
        if not self.asked:
            return shown
        self._ask_early(response, stream, place.text)
        return ""

    def _whole(self, response: Response, text: str, place: str) -> Generator[Question, Verdict, str]:
        """What is shown of a text that comes whole."""
        if not text.strip():
            return text
        if (known := response.told.get(text)) is not None:
            return known
        if len(text) > MAX_TEXT:
            raise self.unreadable(TOO_LARGE)
        spoken = place.endswith("transcript")
        verdict = self._local.whole(text)
        shown = self._took(
            response, verdict, place, text if verdict.text is None else verdict.text, spoken=spoken, whole=True
        )
        if self.asked and shown:
            verdict = yield Question(shown, place)
            shown = shown if verdict.text is None else verdict.text
            shown = self._took(response, verdict, place, shown, spoken=spoken, whole=True, told=True)
        self._remember(response, text, shown, place, spoken=spoken)
        return shown

    def _remember(self, response: Response, text: str, shown: str, place: str, *, spoken: bool) -> None:
        if len(response.told) >= _TOLD:
            response.told.clear()
        response.told[text] = shown
        response.transcribed = response.transcribed or (spoken and bool(text.strip()))
        if shown.strip():
            self._questions.ask_aside(self._beside, shown, "output", place)

    def _took(
        self,
        response: Response,
        verdict: Verdict,
        place: str,
        shown: str,
        *,
        spoken: bool,
        whole: bool = False,
        told: bool = False,
    ) -> str:
        """What is shown under a verdict. Raises Stop. `told`: what was found is known already."""
        if not told:
            self._telling.found(verdict.hits, "output", place)
        enforced = [hit for hit in verdict.hits if not hit.shadow]
        blocked = [verdict.blocked] if verdict.blocked is not None else []
        blocked += [hit for hit in enforced if hit.action == "block"]
        if spoken:
            for hit in blocked:
                if hit.guardrail.audio != "pass":
                    raise Stop(hit)
            masks = [hit for hit in enforced if hit.action == "mask"]
            for hit in masks:
                if hit.guardrail.audio == "cancel":  # what is heard cannot be masked
                    raise Stop(hit, turn=True)
            response.mute = response.mute or any(hit.guardrail.audio == "hold" for hit in masks)
            return "" if blocked and whole else shown
        if blocked:
            raise Stop(blocked[0])
        return shown

    def _ask_early(self, response: Response, stream: Stream, piece: str) -> None:
        """Ask about speech while it is spoken, so that it is cut off early."""
        stream.fresh += len(piece)
        due = stream.fresh >= OFTEN or (stream.fresh >= SENTENCE and piece.rstrip(" ").endswith(_ENDS))
        if not (stream.spoken and self._early and due) or stream.asking:
            return
        stream.asking, stream.fresh = True, 0

        def then(verdict: Verdict) -> None:
            stream.asking = False
            try:
                self._took(response, verdict, stream.place, "", spoken=True, told=True)
            except Stop as stop:
                self._stop(response, stop)

        said = "".join(stream.clear)
        self._questions.ask(self._early, said, "output", stream.place, then, wanted=lambda: not response.refused)

    def watch(self, response: Response, event: Event) -> None:
        """Note what is found, where nothing is changed."""
        try:
            for place in _places(event):
                if not place.stream and place.text.strip() and place.text not in response.told:
                    verdict = self._local.whole(place.text)
                    self._took(response, verdict, place.name, "", spoken=False)
                    self._remember(response, place.text, place.text, place.name, spoken=False)
        except texts.Unclear:
            pass
        if openai.text(event, "type") == "response.done":
            self._outlet.ended(response)

    def _check_heard(self, response: Response, event: Event) -> None:
        """Was what was spoken written down? Raises Stop."""
        if not response.spoken or response.transcribed:
            return
        strict = strictest([rule for rule in self._listening if not rule.open])
        if openai.text(event, "response", "status") == "completed":
            self._telling.unheard(self._listening)
            if strict is not None:
                raise Stop(Hit(strict, UNREADABLE, "block", shadow=False))
        response.mute = response.mute or strict is not None


def _places(event: Event) -> Iterator[texts.Place]:
    """Where text is in an event. Errors may quote what was said, so their messages are text, too: one that is blocked
    is not shown, and the session ends or goes on without it, as `onBlock` has it. Raises Unclear."""
    yield from texts.server_event(event)
    for error in (event.get("error"), openai.part(event, "response", "status_details", "error")):
        if isinstance(error, dict) and (message := openai.text(error, "message")):
            yield texts.Place("error.message", message, partial(error.__setitem__, "message"), "output")


def part_of(event: Event) -> str:
    """Which part of an item an event is about."""
    return f"{openai.name(event, 'item_id')}/{event.get('content_index', '')}"
