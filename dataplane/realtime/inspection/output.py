"""What the model says, under guardrails: what of it is shown, and what becomes of a response that may not be.

Each response is judged by itself, event by event and in order. Text is shown as far as nothing that is still to come
can change the verdict; where a webhook or a moderation is asked, once the whole of it was judged, and what comes of
that response meanwhile waits. Audio goes on unread, unless its response is refused or held: text is what is judged of
it, and by `audio` of a guardrail what is found there cancels the response, or nothing is heard before the verdict.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence

from dataplane.dialects import openai
from dataplane.guardrails import texts
from dataplane.guardrails.judge import TOO_LARGE, Guard, Verdict
from dataplane.realtime import events
from dataplane.realtime.account import SEEN
from dataplane.realtime.effects import Effect, Show
from dataplane.realtime.events import Event
from dataplane.realtime.inspection.judging import Judging, Stop, part_of
from dataplane.realtime.inspection.questions import Questions
from dataplane.realtime.inspection.telling import UNREADABLE, Telling
from dataplane.realtime.inspection.withheld import Late, Outlet, Question, Response, TooMuch, Work
from dataplane.realtime.steps import Verdict as Step
from dataplane.realtime.turns import Turns

_REMEMBERED = 64
"""Responses that are over."""
_TEXTLESS = (
    *("session.", "transcription_session.", "conversation.created", "rate_limits.", "input_audio_buffer.", "ping"),
    *("output_audio_buffer.", "conversation.item.deleted"),
)
"""How the types of events begin that hold nothing that the model says."""


class _Unread:
    """All types of events but those that are audio: what must be read where what is said is judged."""

    def __contains__(self, kind: object) -> bool:
        return kind not in openai.AUDIO_DELTAS


READ = _Unread()


class Output:
    """Puts among `effects` what is shown late. `flow` is told whether audio may go on unread."""

    def __init__(
        self,
        guards: Sequence[Guard],
        effects: deque[Effect],
        turns: Turns,
        questions: Questions,
        telling: Telling,
        flow: Callable[[bool], None],
    ) -> None:
        self._effects, self._turns, self._questions, self._telling = effects, turns, questions, telling
        holds = any(guard.rule.output and guard.enforces and guard.rule.audio == "hold" for guard in guards)
        self._outlet = Outlet(effects, flow, holds=holds)
        self._judging = Judging(guards, telling, questions, self._outlet, self._stop)
        self._responses = self._outlet.responses
        self._newest: Response | None = None
        self._of_item: dict[str, str] = {}
        self._closed = False
        self._spurned = False
        """Is the answer refused that the server owes to what the user said?"""

    @property
    def pending(self) -> bool:
        """Does anything wait to be shown?"""
        return any(each.waits for each in self._responses.values())

    # -- for whoever judges what was asked ---------------------------------------------------------------------

    def hold(self, response_id: str) -> None:
        """Show nothing of this response, its audio neither, before `release` or `refuse`."""
        response = self._named(response_id)
        response.holds.add("input")
        self._outlet.open_or_shut()

    def release(self, response_id: str) -> None:
        """Show what was held of it, and what comes."""
        if (response := self._responses.get(response_id)) is not None:
            self._outlet.release(response, "input")

    def refuse(self, response_id: str) -> None:
        """Cancel it; nothing more of it is shown, and it is deleted from the conversation. What the client is told of
        that is the caller's."""
        self._refuse(self._named(response_id))

    def spurn(self) -> None:
        """Refuse what the server is about to begin by itself."""
        self._spurned = self._turns.due and not self._turns.waits

    def close(self) -> None:
        """The session ends: nothing that waits is shown."""
        self._closed = True
        for response in self._responses.values():
            self._outlet.drop(response)
        self._outlet.account()

    # -- the upstream's messages -------------------------------------------------------------------------------

    def hears(self, head: bytes) -> bool:
        """A piece of audio comes that begins so: must it be read?"""
        if self._closed:
            return False
        name = openai.response_id(head)
        response = self._responses.get(name) if name else self._newest
        if response is not None:
            response.spoken = True
        if self._outlet.holds or not name:
            return self._outlet.holds or any(each.shut for each in self._responses.values())
        return response is not None and response.shut

    def reads_binary(self, *, audio: bool) -> bool:
        """Must a binary message be read that is no event? `audio`: it may be audio."""
        if self._closed:
            return False
        if not audio:
            return self._judging.enforces
        if self._newest is not None:
            self._newest.spoken = True
        return self._outlet.holds or (self._newest is not None and self._newest.shut)

    def opaque(self, payload: bytes, *, binary: bool, audio: bool) -> Step | None:
        """The verdict on what is no event; None: it goes on."""
        if self._closed:
            return ()
        if binary and audio:
            return None if self._newest is None else self._sound(self._newest, Late(payload, audio=True, binary=True))
        return self._unread()

    def _unread(self) -> Step | None:
        """The verdict on what nobody can judge, and belongs to nothing."""
        if not self._judging.enforces:
            return None
        self._end(self._judging.unreadable())
        return ()

    def read(self, event: Event) -> Step | None:
        """The verdict on an event, as the client is to see it; None: it goes on so."""
        if self._closed:
            return ()
        kind = openai.text(event, "type")
        if not kind:
            return self._unread()
        if kind.startswith(_TEXTLESS) or texts.said_by(event) == "input":
            return None  # what the user said is for whoever judges that
        response = self._about(kind, event)
        if kind == "response.created" and self._spurned and not self._turns.due:  # this is it
            self._spurned = False
            self._refuse(response)
        if kind == "response.done":
            response.end = event
        if response.refused:
            if response.end is not None:
                self._conclude(response)
            return ()
        if kind in openai.AUDIO_DELTAS:
            self._outlet.sounds(response, part_of(event))
            return self._sound(response, Late(events.dump(event), audio=True))
        if not self._judging.enforces and not response.shut:
            self._judging.watch(response, event)
            return None
        self._outlet.begin()
        self._queue(response, event)
        if response.work is None:
            self._go_on(response)
        return self._outlet.verdict()

    def _queue(self, response: Response, event: Event) -> None:
        """Have it judged in its turn."""
        size = 0 if response.work is None else len(events.dump(event))
        response.todo.append((event, size))
        try:
            self._outlet.grow(response, size)
        except TooMuch:
            self._too_much(response)

    def _sound(self, response: Response, late: Late) -> Step | None:
        """The verdict on a piece of audio."""
        if response.refused or response.mute:
            return ()
        if late.binary and self._outlet.holds and not (response.over or response.heard):
            response.holds.add("speech")
        if not response.holds:
            return None
        try:
            self._outlet.keep(response, late)
        except TooMuch:
            self._too_much(response)
        return ()

    # -- which response ----------------------------------------------------------------------------------------

    def _about(self, kind: str, event: Event) -> Response:
        """Whose event it is. One of an item that belongs to no response that is known stands for itself, and so does an
        error."""
        if kind == "error":
            return self._lonely(openai.name(event, "event_id"))
        item = openai.name(event, "item_id") or openai.name(event, "item", "id")
        name = openai.name(event, "response_id") or openai.name(event, "response", "id") or self._of_item.get(item, "")
        if not name and kind.startswith("response.") and self._newest is not None:
            name = self._newest.id
        response = self._named(name) if name else self._lonely(item)
        if item:
            response.items[item] = None
        if item and name:
            self._of_item[item] = name
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
        if len(self._responses) > SEEN:
            if self._judging.enforces:
                self._end(self._judging.unreadable(TOO_LARGE))
            else:
                del self._responses[next(iter(self._responses))]

    # -- judging -----------------------------------------------------------------------------------------------

    def _go_on(self, response: Response, verdict: Verdict | None = None) -> None:
        """Judge the events that wait, until somebody must be asked."""
        try:
            while not self._closed and not response.refused:
                if response.work is None:
                    if not response.todo:
                        break
                    event, size = response.todo.popleft()
                    self._outlet.grow(response, -size)
                    response.work, verdict = self._judging.judged(response, event), None
                try:
                    question = next(response.work) if verdict is None else response.work.send(verdict)
                except StopIteration:
                    response.work = None
                else:
                    self._ask(response, response.work, question)
                    break
        except TooMuch:
            self._too_much(response)
        except Stop as stop:
            self._stop(response, stop)
        self._outlet.account()

    def _ask(self, response: Response, work: Work, question: Question) -> None:
        self._questions.ask(
            self._judging.asked,
            question.text,
            "output",
            question.place,
            lambda verdict: self._go_on(response, verdict),
            wanted=lambda: response.work is work,
        )

    # -- stopping ----------------------------------------------------------------------------------------------

    def _too_much(self, response: Response) -> None:
        if self._judging.enforces:
            self._stop(response, self._judging.unreadable(TOO_LARGE))
        else:
            self._refuse(response)

    def _stop(self, response: Response, stop: Stop) -> None:
        """Refuse the response, or end the session."""
        if not (stop.turn or stop.hit.guardrail.refuse_turn):
            self._end(stop)
            return
        self._note(stop)
        self._outlet.flush()
        self._telling.refuse(stop.hit)
        self._refuse(response)

    def _end(self, stop: Stop) -> None:
        self._note(stop)
        self._outlet.flush()
        self.close()
        self._telling.end(stop.hit)

    def _note(self, stop: Stop) -> None:
        if stop.hit.rule in (UNREADABLE, TOO_LARGE):
            self._telling.found((stop.hit,), "output", "*")

    def _refuse(self, response: Response) -> None:
        if response.refused or self._closed:
            return
        self._outlet.flush()
        self._outlet.drop(response)
        response.refused = True
        if own := self._turns.cancel(response.id):
            self._telling.remember(own)
        if response.end is not None or response.over:
            self._conclude(response)
        self._outlet.open_or_shut()
        self._outlet.account()

    def _conclude(self, response: Response) -> None:
        """The end of a response that was refused: as if nothing had been said, and so it is deleted."""
        if response.end is not None:
            self._effects.append(Show(events.dump(_without_output(response.end))))
        response.over, response.end = True, None
        for item in response.items:
            self._telling.delete(item)
        response.items.clear()
        if response.id == "item ":  # whatever names nothing is not refused for ever
            del self._responses[response.id]
        self._outlet.open_or_shut()


_OUTPUT: Collection[str] = ("output", "output_text")


def _without_output(event: Event) -> Event:
    """The `response.done` of a response that was refused."""
    response = event.get("response")
    fields = response.items() if isinstance(response, dict) else ()
    kept = {name: value for name, value in fields if name not in _OUTPUT}
    details = {"type": "incomplete", "reason": "content_filter"}
    return {**event, "response": {**kept, "status": "incomplete", "status_details": details, "output": []}}
