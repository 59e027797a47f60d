"""What the user says aloud, under guardrails: judged by its transcript, and not answered before, where it is enforced.

The audio itself goes on as it comes. What may not be said is deleted from the conversation; nothing has answered it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dataplane.dialects import openai
from dataplane.guardrails.judge import Guard, Hit
from dataplane.realtime.events import Event
from dataplane.realtime.inspection.ears import Ears
from dataplane.realtime.inspection.hearing import Hearing
from dataplane.realtime.inspection.questions import Questions
from dataplane.realtime.inspection.telling import Telling, unheard
from dataplane.realtime.inspection.transcripts import HEARD, Transcripts
from dataplane.realtime.inspection.withholding import Withholding


class Spoken:
    """`settled` is told when something was judged: whether there is anything to answer. `refused` is told why
    something is not. `show` shows the client an event that was withheld."""

    def __init__(
        self,
        guards: Sequence[Guard],
        questions: Questions,
        telling: Telling,
        *,
        ears: Ears | None,
        withholding: Withholding,
        settled: Callable[[bool], None],
        refused: Callable[[Hit | None], None],
        show: Callable[[Event], None],
    ) -> None:
        self._blocking = [guard for guard in guards if guard.enforces and guard.rule.action == "block"]
        self._telling = telling
        self._ears = ears
        self._settled = settled
        self._refused = refused
        self._show = show
        self._transcripts = Transcripts(guards, questions, telling, judged=self._judged, show=self._shows)
        self._hearing = (
            Hearing(questions, withholding, settled=self._settle, unheard=self.unheard) if ears is not None else None
        )

    @property
    def clear(self) -> bool:
        """Was everything judged that must be, before it is answered?"""
        return self._hearing is None or self._hearing.clear

    def close(self) -> None:
        """The session ends."""
        if self._hearing is not None:
            self._hearing.close()

    # -- what is said ------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """The client makes an item of what it has sent."""
        if self._hearing is not None:
            self._hearing.commit()

    def uncommitted(self) -> None:
        """Nothing comes of that."""
        if self._hearing is not None:
            self._hearing.uncommitted()

    def committed(self, item: str) -> None:
        """What the user said is an item of the conversation."""
        self._refused(None)
        if self._hearing is not None:
            self._hearing.committed(item)

    def begun(self, response_id: str) -> None:
        """A turn has begun."""
        if self._hearing is not None:
            self._hearing.begun(response_id)

    def read(self, kind: str, event: Event) -> Sequence[Event]:
        """What the client sees, now, of an event of the upstream's."""
        if self._telling.over:
            return []
        if kind.startswith("conversation.item."):
            return self._read_item(kind, event)
        return [self._ears.shown(event)] if self._ears is not None else [event]

    def _read_item(self, kind: str, event: Event) -> Sequence[Event]:
        item = openai.name(event, "item_id")
        if self._hearing is not None and kind == f"{HEARD}completed":
            self._hearing.transcribed(item)
        shown = self._transcripts.read(kind, event)
        if kind == f"{HEARD}failed":
            self.unheard(item)
        return [] if self._hides and kind.startswith(HEARD) else [self._without(each) for each in shown]

    # -- what becomes of it ------------------------------------------------------------------------------------

    def unheard(self, item: str) -> None:
        """It is not transcribed."""
        if self._hearing is None or not self._hearing.waits(item):
            return
        self._telling.unheard([guard.rule for guard in self._blocking])
        hit = unheard(self._blocking)
        if hit is not None:
            self._telling.found((hit,), "input", "audio")
        self._judged(item, hit)

    def _judged(self, item: str, hit: Hit | None) -> None:
        if hit is not None:
            if not self._telling.block(hit):
                return
            self._telling.delete(item)
            self._refused(hit)
        if self._hearing is not None:
            (self._hearing.passed if hit is None else self._hearing.refused)(item)

    def _settle(self) -> None:
        self._settled(self._hearing is not None and self._hearing.answerable)

    # -- what the client did not ask for -----------------------------------------------------------------------

    @property
    def _hides(self) -> bool:
        """Does the client know nothing of transcripts?"""
        return self._ears is not None and not self._ears.wished

    def _shows(self, event: Event) -> None:
        if not self._hides:
            self._show(event)

    def _without(self, event: Event) -> Event:
        """An event that shows an item, without what the client has not asked for."""
        item = event.get("item")
        contents = openai.part(item, "content")
        if not self._hides or not isinstance(item, dict) or not isinstance(contents, list):
            return event
        if item.get("role") != "user":
            return event
        shown = [{**each, "transcript": None} if openai.text(each, "transcript") else each for each in contents]
        return {**event, "item": {**item, "content": shown}}
