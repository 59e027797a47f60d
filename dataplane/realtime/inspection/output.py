"""What the model says, under guardrails: what of it is shown, and what becomes of a response that may not be.

Each response is judged by itself, event by event and in order. Text is shown as far as nothing that is still to come
can change the verdict; where a webhook or a moderation is asked, once the whole of it was judged, and what comes of
that response meanwhile waits. Audio goes on unread, unless its response is refused or held: text is what is judged of
it, and by `audio` of a guardrail what is found there cancels the response, or nothing is heard before the verdict.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Generator, Sequence

from dataplane.dialects import openai
from dataplane.guardrails import texts
from dataplane.guardrails.folding import joined
from dataplane.guardrails.judge import Guard, Hit, Judge, Verdict, why
from dataplane.guardrails.window import Window
from dataplane.realtime import endings, events
from dataplane.realtime.account import SEEN
from dataplane.realtime.effects import Direction, Effect, Finish, Found, Show, Tell, Withheld
from dataplane.realtime.events import Event
from dataplane.realtime.inspection.questions import Questions
from dataplane.realtime.inspection.withheld import Late, Question, Response, Stream, Work
from dataplane.realtime.steps import Verdict as Step
from dataplane.realtime.turns import Turns

UNREADABLE = "unreadable"
"""The rule of a hit that says that a text could not be read."""
TOO_LARGE = "too_large"
MAX_TEXT = 1024 * 1024
"""Characters of one text that are judged."""
MAX_HELD = 32 * 1024 * 1024
"""Bytes that are withheld of one response."""
SENTENCE, OFTEN = 24, 200
"""Characters of a growing transcript, after which somebody else is asked about it: at the end of a sentence, and
anyway."""
BESIDE = 64
"""Questions under way for whose answers nothing waits; more are not asked."""
_REMEMBERED = 64
"""Responses that are over."""
_TOLD = 512
"""Texts of one that are remembered."""
_GRAIN = 64 * 1024
"""Bytes of change from which the room is told."""
_TEXTLESS = (
    *("session.", "transcription_session.", "conversation.created", "rate_limits.", "input_audio_buffer.", "ping"),
    *("output_audio_buffer.", "conversation.item.deleted", "conversation.item.truncated"),
)
"""How the types of events begin that hold nothing that the model says."""
_ENDS = (".", "!", "?", "\u2026", "\u3002", "\uff01", "\uff1f", "\n")


class _Unread:
    """All types of events but those that are audio: what must be read where what is said is judged."""

    def __contains__(self, kind: object) -> bool:
        return kind not in openai.AUDIO_DELTAS


READ = _Unread()


class _Stop(Exception):
    """A response may not go on. `turn`: it is refused alone, whatever becomes of a session otherwise."""

    def __init__(self, hit: Hit, *, turn: bool = False) -> None:
        super().__init__(hit.rule)
        self.hit, self.turn = hit, turn


class Output:
    """Puts among `effects` what is shown late, what is found, and who is asked. `own_id` makes ids of ours; `flow` is
    told whether audio may go on unread."""

    def __init__(
        self,
        guards: Sequence[Guard],
        effects: deque[Effect],
        turns: Turns,
        questions: Questions,
        own_id: Callable[[], str],
        flow: Callable[[bool], None],
    ) -> None:
        self._effects, self._turns, self._questions, self._own_id, self._flow = effects, turns, questions, own_id, flow
        judge = Judge(guards, "output")
        enforcing = [guard.rule for guard in guards if guard.rule.output and guard.enforces]
        self._local = Judge(judge.local, "output")
        self._asked = [rule for rule in judge.remote if rule in enforcing]
        self._beside = [rule for rule in judge.remote if rule not in enforcing]
        self._early = [rule for rule in self._asked if rule.audio == "cancel"]
        """Who is asked about speech while it is spoken."""
        self._holding = any(rule.audio == "hold" for rule in enforcing)
        self._strict = min(enforcing, key=lambda rule: rule.refuse_turn, default=None)
        """Whose rule it is that what cannot be read does not go on."""
        self._listening = min(
            [rule for rule in enforcing if rule.audio != "pass"], key=lambda rule: rule.refuse_turn, default=None
        )
        """The same of speech."""
        self._responses: dict[str, Response] = {}
        self._newest: Response | None = None
        self._of_item: dict[str, str] = {}
        self._own: set[str] = set()
        """Ids of what was sent to the upstream, whose errors are nobody else's."""
        self._emitted: list[Late] | None = None
        """What the event that is being read leads to, while it may be its verdict."""
        self._aside = 0
        """Questions under way for whose answers nothing waits."""
        self._over = False
        self._size = self._told = 0
        if self._holding:
            flow(False)

    @property
    def enforces(self) -> bool:
        """Does what is found change what is shown? Then what nobody can read is not."""
        return self._strict is not None

    @property
    def pending(self) -> bool:
        """Does anything wait to be shown?"""
        return any(each.waits for each in self._responses.values())

    # -- for whoever judges what was asked ---------------------------------------------------------------------

    def hold(self, response_id: str) -> None:
        """Show nothing of this response, its audio neither, before `release` or `refuse`."""
        response = self._named(response_id)
        response.holds.add("input")
        self._open_or_shut()

    def release(self, response_id: str) -> None:
        """Show what was held of it, and what comes."""
        if (response := self._responses.get(response_id)) is not None:
            self._release(response, "input")

    def refuse(self, response_id: str) -> None:
        """Cancel it; nothing more of it is shown, and it is deleted from the conversation. What the client is told of
        that is the caller's."""
        self._refuse(self._named(response_id))

    def close(self) -> None:
        """The session ends: nothing that waits is shown."""
        self._over = True
        for response in self._responses.values():
            response.drop()
        self._emitted = None
        self._account()

    # -- the upstream's messages -------------------------------------------------------------------------------

    def hears(self, head: bytes) -> bool:
        """A piece of audio comes that begins so: must it be read?"""
        if self._over:
            return False
        name = openai.response_id(head)
        response = self._responses.get(name) if name else self._newest
        if response is not None:
            response.spoken = True
        if self._holding or not name:
            return self._holding or any(each.shut for each in self._responses.values())
        return response is not None and response.shut

    def reads_binary(self, *, audio: bool) -> bool:
        """Must a binary message be read that is no event? `audio`: it may be audio."""
        if self._over:
            return False
        if not audio:
            return self.enforces
        if self._newest is not None:
            self._newest.spoken = True
        return self._holding or (self._newest is not None and self._newest.shut)

    def opaque(self, payload: bytes, *, binary: bool, audio: bool) -> Step | None:
        """The verdict on what is no event; None: it goes on."""
        if self._over:
            return ()
        if binary and audio:
            return None if self._newest is None else self._sound(self._newest, Late(payload, audio=True, binary=True))
        if not self.enforces:
            return None
        self._end(self._unreadable())
        return ()

    def read(self, event: Event, size: int) -> Step | None:
        """The verdict on an event, as the client is to see it; None: it goes on so."""
        if self._over:
            return ()
        kind = openai.text(event, "type")
        if kind == "error":
            about = openai.name(event, "error", "event_id")
            return () if about in self._own else None
        if kind.startswith(_TEXTLESS) or texts.said_by(event) == "input":
            return None  # what the user said is for whoever judges that
        response = self._about(kind, event)
        if kind == "response.done":
            response.end = event
        if response.refused:
            if response.end is not None:
                self._conclude(response)
            return ()
        if kind in openai.AUDIO_DELTAS:
            response.spoken = True
            if self._holding and (part := _part(event)) not in response.heard:
                response.sounding.add(part)
                response.holds.add("speech")
            return self._sound(response, Late(events.dump(event), audio=True))
        if not self.enforces and not response.shut:
            self._watch(response, event)
            return None
        response.todo.append((event, size))
        try:
            self._grow(response, size)
        except _Stop as stop:
            self._stop(response, stop)
            return ()
        return self._verdict(response)

    def _verdict(self, response: Response) -> Step:
        """Judge what has come; what may be shown of it at once is the verdict, if that is one message."""
        self._emitted = []
        if response.work is None:
            self._go_on(response)
        emitted, self._emitted = self._emitted, None
        if not emitted:
            return ()
        if len(emitted) == 1 and not emitted[0].binary:
            return (emitted[0].payload,)
        self._effects.extend([Show(each.payload, each.binary) for each in emitted])
        return ()

    def _sound(self, response: Response, late: Late) -> Step | None:
        """The verdict on a piece of audio."""
        if response.refused or response.mute:
            return ()
        if late.binary and self._holding and not (response.over or response.heard):
            response.holds.add("speech")
        if not response.holds:
            return None
        response.out.append(late)
        try:
            self._grow(response, len(late.payload))
        except _Stop as stop:
            self._stop(response, stop)
        return ()

    # -- which response ----------------------------------------------------------------------------------------

    def _about(self, kind: str, event: Event) -> Response:
        """Whose event it is. One of an item that belongs to no response that is known stands for itself."""
        item = openai.name(event, "item_id") or openai.name(event, "item", "id")
        name = openai.name(event, "response_id") or openai.name(event, "response", "id") or self._of_item.get(item, "")
        if not name and kind.startswith("response.") and self._newest is not None:
            name = self._newest.id
        response = self._named(name) if name else self._lonely(item)
        if item:
            response.items[item] = None
            self._of_item[item] = response.id
            if len(self._of_item) > SEEN:
                del self._of_item[next(iter(self._of_item))]
        output = openai.part(event, "response", "output")
        for each in output if isinstance(output, list) else ():
            if own := openai.name(each, "id"):
                response.items[own] = None
        return response

    def _named(self, name: str) -> Response:
        if (response := self._responses.get(name)) is not None:
            return response
        response = self._newest = self._responses[name] = Response(name)
        self._forget()
        return response

    def _lonely(self, item: str) -> Response:
        name = f"item {item}"
        if (response := self._responses.get(name)) is None:
            response = self._responses[name] = Response(name, over=True)
            self._forget()
        return response

    def _forget(self) -> None:
        """Those that were over long ago. Who never ends what it begins cannot be followed."""
        if len(self._responses) <= _REMEMBERED:
            return
        over = [name for name, each in self._responses.items() if each.over and not each.waits]
        for name in over[:-_REMEMBERED]:
            del self._responses[name]
        if len(self._responses) > SEEN and self.enforces:
            self._end(self._unreadable())

    # -- judging -----------------------------------------------------------------------------------------------

    def _go_on(self, response: Response, verdict: Verdict | None = None) -> None:
        """Judge the events that wait, until somebody must be asked."""
        try:
            while not self._over and not response.refused:
                if response.work is None:
                    if not response.todo:
                        break
                    event, size = response.todo.popleft()
                    self._grow(response, -size)
                    response.work, verdict = self._judged(response, event), None
                try:
                    question = next(response.work) if verdict is None else response.work.send(verdict)
                except StopIteration:
                    response.work = None
                else:
                    self._ask(response, response.work, question)
                    break
        except texts.Unclear:
            self._stop(response, self._unreadable())
        except _Stop as stop:
            self._stop(response, stop)
        self._account()

    def _ask(self, response: Response, work: Work, question: Question) -> None:
        def then(verdict: Verdict) -> None:
            if response.work is work:
                self._go_on(response, verdict)

        self._questions.ask(self._asked, question.text, "output", question.place, then)

    def _judged(self, response: Response, event: Event) -> Work:
        """Judge one event, and show what may be shown of it."""
        kind = openai.text(event, "type")
        if not self.enforces:
            self._watch(response, event)
            self._emit(response, Late(events.dump(event)))
            return
        yield from self._closed(response, kind, event)
        delta = event.get("delta")
        if delta is not None and not isinstance(delta, str):
            raise self._unreadable()
        changed = False
        for place in texts.server_event(event):
            if place.stream:
                shown = self._piece(response, event, place)
            else:
                shown = yield from self._whole(response, place.text, place.name)
            if shown != place.text:
                place.put(shown)
                changed = True
        if changed:
            texts.without_copies(event)
        if kind == "response.done":
            self._check_heard(response, event)
        if not (delta and not event["delta"]):
            self._emit(response, Late(events.dump(event)))
        if kind == "response.done":
            self._ended(response)
        elif "audio_transcript" in kind and kind.endswith(".done"):
            self._heard(response, _part(event))

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
                    late = {**stream.last, "event_id": self._own_id(), "delta": rest}
                    texts.without_copies(late)
                    self._emit(response, Late(events.dump(late)))

    def _rest(self, response: Response, stream: Stream) -> Generator[Question, Verdict, str]:
        """What was not shown yet of a text that is whole."""
        raw = joined("".join(stream.raw))
        self._grow(response, -len(raw))
        if stream.json:
            whole = [raw]
            for place in texts.within(raw, stream.place, lambda text: whole.__setitem__(0, text), "output"):
                shown = yield from self._whole(response, place.text, place.name)
                if shown != place.text:
                    place.put(shown)
            return whole[0]
        out = stream.window.end()
        rest = self._took(response, out.verdict, stream.place, out.shown, spoken=stream.spoken)
        stream.clear.append(rest)
        clear = "".join(stream.clear)
        if self._asked and clear.strip():
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
                response.spoken = True
                if self._holding and (part := _part(event)) not in response.heard:
                    response.sounding.add(part)
                    response.holds.add("speech")
                    self._open_or_shut()
        stream.last = dict(event)
        stream.raw.append(place.text)
        self._grow(response, len(place.text))
        if stream.json:
            return ""
        out = stream.window.add(place.text)
        shown = self._took(response, out.verdict, place.name, out.shown, spoken=stream.spoken)
        stream.clear.append(shown)
        if not self._asked:
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
            raise self._unreadable(TOO_LARGE)
        spoken = place.endswith("transcript")
        verdict = self._local.whole(text)
        shown = self._took(
            response, verdict, place, text if verdict.text is None else verdict.text, spoken=spoken, whole=True
        )
        if self._asked and shown:
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
        self._ask_beside(shown, place)

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
        """What is shown under a verdict. Raises _Stop. `told`: what was found is known already."""
        if verdict.hits and not told:
            self._effects.append(Found(verdict.hits, "output", place))
        enforced = [hit for hit in verdict.hits if not hit.shadow]
        blocked = [verdict.blocked] if verdict.blocked is not None else []
        blocked += [hit for hit in enforced if hit.action == "block"]
        if spoken:
            for hit in blocked:
                if hit.guardrail.audio != "pass":
                    raise _Stop(hit)
            masks = [hit for hit in enforced if hit.action == "mask"]
            for hit in masks:
                if hit.guardrail.audio == "cancel":  # what is heard cannot be masked
                    raise _Stop(hit, turn=True)
            response.mute = response.mute or any(hit.guardrail.audio == "hold" for hit in masks)
            return "" if blocked and whole else shown
        if blocked:
            raise _Stop(blocked[0])
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
            if self._over or response.refused:
                return
            try:
                self._took(response, verdict, stream.place, "", spoken=True, told=True)
            except _Stop as stop:
                self._stop(response, stop)

        self._questions.ask(self._early, "".join(stream.clear), "output", stream.place, then)

    def _ask_beside(self, text: str, place: str) -> None:
        """Ask those whose answers change nothing."""
        if not self._beside or self._aside >= BESIDE or not text.strip():
            return

        def then(_verdict: Verdict) -> None:
            self._aside -= 1

        self._aside += 1
        self._questions.ask(self._beside, text, "output", place, then)

    def _watch(self, response: Response, event: Event) -> None:
        """Note what is found, where nothing is changed."""
        try:
            for place in texts.server_event(event):
                if not place.stream and place.text.strip() and place.text not in response.told:
                    verdict = self._local.whole(place.text)
                    self._took(response, verdict, place.name, "", spoken=False)
                    self._remember(response, place.text, place.text, place.name, spoken=False)
        except texts.Unclear:
            pass
        if openai.text(event, "type") == "response.done":
            self._ended(response)

    # -- speech ------------------------------------------------------------------------------------------------

    def _heard(self, response: Response, part: str) -> None:
        """The transcript of a part was judged whole."""
        response.heard.add(part)
        response.sounding.discard(part)
        if not response.sounding:
            self._release(response, "speech")

    def _check_heard(self, response: Response, event: Event) -> None:
        """Was what was spoken written down? Raises _Stop."""
        if response.spoken and not response.transcribed and self._listening is not None:
            if openai.text(event, "response", "status") == "completed":
                raise _Stop(Hit(self._listening, UNREADABLE, "block", shadow=False))
            response.mute = True

    # -- showing -----------------------------------------------------------------------------------------------

    def _emit(self, response: Response, late: Late) -> None:
        """Show a message, once nobody holds the response."""
        if response.holds or response.out:
            response.out.append(late)
            self._grow(response, len(late.payload))
        elif self._emitted is not None:
            self._emitted.append(late)
        else:
            self._effects.append(Show(late.payload, late.binary))

    def _release(self, response: Response, who: str) -> None:
        response.holds.discard(who)
        if not response.holds:
            if response.over:
                response.end = None
            while response.out:
                late = response.out.popleft()
                self._grow(response, -len(late.payload))
                if late.audio and response.mute:
                    continue
                if self._emitted is not None:
                    self._emitted.append(late)
                else:
                    self._effects.append(Show(late.payload, late.binary))
        self._open_or_shut()
        self._account()

    def _ended(self, response: Response) -> None:
        """Its end is shown, or waits to be."""
        response.over = True
        response.told.clear()
        response.streams.clear()
        response.sounding.clear()
        self._release(response, "speech")

    def _open_or_shut(self) -> None:
        if not self._holding:
            self._flow(not any(each.shut for each in self._responses.values()))

    # -- stopping ----------------------------------------------------------------------------------------------

    def _unreadable(self, rule: str = UNREADABLE) -> _Stop:
        assert self._strict is not None, "nothing is stopped where nobody enforces"
        return _Stop(Hit(self._strict, rule, "block", shadow=False))

    def _stop(self, response: Response, stop: _Stop) -> None:
        """Refuse the response, or end the session."""
        if not (stop.turn or stop.hit.guardrail.refuse_turn):
            self._end(stop)
            return
        self._note(stop)
        self._flush()
        error = openai.error(self._own_id(), "guardrail_blocked", why(stop.hit), kind="guardrail_error")
        self._tell("client", error)
        self._refuse(response)

    def _end(self, stop: _Stop) -> None:
        self._note(stop)
        self._flush()
        self.close()
        self._effects.append(Finish(endings.GUARDRAIL, why(stop.hit)))

    def _note(self, stop: _Stop) -> None:
        if stop.hit.rule in (UNREADABLE, TOO_LARGE):
            self._effects.append(Found((stop.hit,), "output", "*"))

    def _flush(self) -> None:
        """Show what was emitted before what comes now."""
        emitted, self._emitted = self._emitted, None
        self._effects.extend([Show(each.payload, each.binary) for each in emitted or ()])

    def _refuse(self, response: Response) -> None:
        if response.refused or self._over:
            return
        self._flush()
        self._size -= response.size
        response.drop()
        response.refused = True
        if own := self._turns.cancel(response.id):
            self._own.add(own)
        if response.end is not None or response.over:
            self._conclude(response)
        self._open_or_shut()
        self._account()

    def _conclude(self, response: Response) -> None:
        """The end of a response that was refused: as if nothing had been said, and so it is deleted."""
        if response.end is not None:
            self._effects.append(Show(events.dump(_without_output(response.end))))
        response.over, response.end = True, None
        for item in response.items:
            own = self._own_id()
            self._own.add(own)
            self._tell("upstream", {"type": "conversation.item.delete", "event_id": own, "item_id": item})
        response.items.clear()
        if response.id == "item ":  # whatever names nothing is not refused for ever
            del self._responses[response.id]
        self._open_or_shut()

    def _tell(self, to: Direction, event: Event) -> None:
        self._effects.append(Tell(to, event))

    # -- how much ----------------------------------------------------------------------------------------------

    def _grow(self, response: Response, by: int) -> None:
        """So many bytes more are withheld of it. Raises _Stop where that is too much."""
        response.size += by
        self._size += by
        if response.size > MAX_HELD:
            raise self._unreadable(TOO_LARGE)
        if abs(self._size - self._told) >= _GRAIN:
            self._tell_room()

    def _account(self) -> None:
        if self._told and not any(each.size for each in self._responses.values()):
            self._size = 0
            self._tell_room()

    def _tell_room(self) -> None:
        self._effects.append(Withheld(self._size - self._told))
        self._told = self._size


def _part(event: Event) -> str:
    return f"{openai.name(event, 'item_id')}/{event.get('content_index', '')}"


_OUTPUT: Collection[str] = ("output", "output_text")


def _without_output(event: Event) -> Event:
    """The `response.done` of a response that was refused."""
    response = event.get("response")
    fields = response.items() if isinstance(response, dict) else ()
    kept = {name: value for name, value in fields if name not in _OUTPUT}
    details = {"type": "incomplete", "reason": "content_filter"}
    return {**event, "response": {**kept, "status": "incomplete", "status_details": details, "output": []}}
