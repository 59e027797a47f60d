"""All that is judged in one session: what the client says, in events and aloud, and what the model says."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from dataplane.dialects import openai
from dataplane.guardrails.judge import Answer, Guard
from dataplane.realtime.effects import Effect
from dataplane.realtime.events import Event
from dataplane.realtime.inspection.ears import Ears, transcribers
from dataplane.realtime.inspection.input import Input
from dataplane.realtime.inspection.output import Output
from dataplane.realtime.inspection.questions import Questions
from dataplane.realtime.inspection.spoken import Spoken
from dataplane.realtime.inspection.telling import Telling
from dataplane.realtime.steps import Verdict
from dataplane.realtime.terms import Terms
from dataplane.realtime.turns import Turns


class Inspection:
    """`own_id` makes ids of ours; `flow` is told whether audio may go on unread. `go_on` sends a client's event that
    waited, `show` shows the client one of the upstream's; `stands` says whether something that the client sent before
    waits for its admission, and `settled` is told when something that the user said was judged: whether there is
    anything to answer."""

    def __init__(
        self,
        terms: Terms,
        effects: deque[Effect],
        turns: Turns,
        own_id: Callable[[], str],
        *,
        flow: Callable[[bool], None],
        go_on: Callable[[Event], None],
        show: Callable[[Event], None],
        stands: Callable[[], bool],
        settled: Callable[[bool], None],
    ) -> None:
        self._terms, self._effects, self._settled = terms, effects, settled
        self._telling = Telling(effects, own_id)
        self._questions = Questions(effects)
        self.output = Output(terms.guards, effects, turns, self._questions, self._telling, flow)
        self.ears: Ears | None = None
        """Who transcribes what the user says, where that must be judged before it is answered."""
        self._input: Input | None = None
        self._spoken: Spoken | None = None
        if guards := [guard for guard in terms.guards if guard.rule.input]:
            self._listen(guards, go_on, show, stands)

    def _listen(
        self,
        guards: Sequence[Guard],
        go_on: Callable[[Event], None],
        show: Callable[[Event], None],
        stands: Callable[[], bool],
    ) -> None:
        """Judge what the client says."""
        if any(guard.enforces and guard.rule.action == "block" for guard in guards):
            old = not self._terms.mends
            before_ga = old and self._terms.provider_kind == "azure"
            self.ears = Ears(transcribers(self._terms), always=old, beta=before_ga)
        self._input = Input(guards, self._questions, self._telling, go_on=go_on, heard=self.heard, stands=stands)
        self._spoken = Spoken(
            guards,
            self._questions,
            self._telling,
            ears=self.ears,
            withholding=self.output,
            settled=self._settled,
            refused=self._input.unanswerable,
            show=show,
        )

    @property
    def hears(self) -> bool:
        """Is what the user says aloud judged?"""
        return self._spoken is not None

    def heard(self) -> bool:
        """Was everything that the user said aloud judged, as far as it must be before it is answered?"""
        return self._spoken is None or self._spoken.clear

    @property
    def pending(self) -> bool:
        """Does anything wait until it was judged?"""
        return self.output.pending or (self._input is not None and self._input.pending)

    @property
    def holds(self) -> int:
        """How many bytes of the client's wait, where what comes behind them must wait, too."""
        return self._input.holds if self._input is not None else 0

    def judged(self, ticket: int, answer: Answer) -> None:
        """What was said of a text that was asked about."""
        self._questions.answer(ticket, answer)

    def release(self) -> None:
        """Have go on what waits for no one any more."""
        if self._input is not None:
            self._input.release()

    @property
    def judging(self) -> bool:
        """Does what the model said wait for those who are asked about it?"""
        return self.output.pending and self._questions.asks("output")

    def close(self, *, last: bool = False) -> None:
        """The session ends: nothing that waits goes on; but if `last`, what the model has said may be shown yet."""
        if self._input is not None and self._spoken is not None:
            self._input.close()
            self._spoken.close()
        if not last:
            self._questions.close()
            self.output.close()

    # -- what the client says ----------------------------------------------------------------------------------

    def read_client(self, event: Event, size: int) -> Event | None:
        """The event as it goes on: another object where it was changed, None where it waits or does not go on."""
        return event if self._input is None else self._input.read(event, size)

    def sent(self, event: Event) -> None:
        """The client's event goes on."""
        if self._spoken is not None and event.get("type") == "input_audio_buffer.commit":
            self._spoken.commit()

    # -- what the upstream says --------------------------------------------------------------------------------

    def swallows(self, kind: str, event: Event) -> bool:
        """Is this the answer to something of the gateway's own?"""
        return kind == "error" and self._telling.owns(openai.name(event, "error", "event_id"))

    def refused(self, error: Event) -> None:
        """The upstream does not take something."""
        if self._spoken is not None and openai.text(error, "error", "code") == openai.EMPTY_COMMIT:
            self._spoken.uncommitted()

    def begun(self, response_id: str) -> None:
        """A turn has begun."""
        if self._spoken is not None:
            self._spoken.begun(response_id)

    def committed(self, item: str) -> None:
        """What the user said is an item of the conversation."""
        if self._spoken is not None:
            self._spoken.committed(item)

    def unheard(self, item: str) -> None:
        """Nobody transcribes it."""
        if self._spoken is not None:
            self._spoken.unheard(item)

    def read_upstream(self, kind: str, event: Event) -> Sequence[Event]:
        """What becomes of the event by what the user said; what the model says in it is yet to be judged."""
        return [event] if self._spoken is None else self._spoken.read(kind, event)

    def shown(self, event: Event) -> Verdict | None:
        """The verdict on an event as the client is to see it; None: it goes on so."""
        return self.output.read(event)

    def opaque(self, payload: bytes, *, binary: bool) -> Verdict | None:
        """The verdict on a message of the upstream's that is no event; None: it goes on."""
        return self.output.opaque(payload, binary=binary, audio=self._terms.binary_audio)
