"""Both directions of one session, and its end: bytes of either leg in, actions out. No I/O, no clock.

How a session ends, in order: the side that still listens is told (an error event where the dialect has one, then
Close); what the client left running is cancelled upstream and its usage awaited, for SETTLE seconds; then the
upstream gets its Close, and LINGER seconds to answer it, since many never do. An upstream that is in the middle of a
client's frame cannot be told anything: its usage is awaited all the same, then it is dropped. Where the upstream ends
the session, the client is told once what that said last was judged, or after LAST seconds. Whoever carries out the
actions keeps one timer, which the newest `Wait` sets anew, and calls `expired` when it fires.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dataplane.dialects import openai
from dataplane.guardrails.judge import Answer
from dataplane.realtime import endings, events, frames
from dataplane.realtime.actions import Action, DropClient, DropUpstream, Ended, ToClient, ToUpstream, Wait
from dataplane.realtime.effects import Finish, Forward, Show, Tell, Withheld
from dataplane.realtime.endings import Ending
from dataplane.realtime.frames import Close
from dataplane.realtime.gate import Gate
from dataplane.realtime.outbox import ClientOutbox, UpstreamOutbox
from dataplane.realtime.session import Session
from dataplane.realtime.steps import Breach, Control

SETTLE = 2.0
"""Seconds that outstanding usage is waited for once the session ends."""
LINGER = 2.0
"""Seconds that a peer has to answer Close."""
LAST = 5.0
"""Seconds that whoever is asked has to judge what the upstream said last."""


class Relay:
    """`mask` makes the 4-byte keys for frames of ours to the upstream. `reads=False` relays without reading any
    message: frames, control frames and limits only. `hold`: see `Gate`."""

    def __init__(
        self,
        session: Session,
        *,
        mask: Callable[[], bytes],
        max_message: int,
        max_fragments: int,
        reads: bool = True,
        hold: Callable[[int], None] | None = None,
    ) -> None:
        self.session = session
        self._hold = hold
        self.ending: Ending | None = None
        self.decided: Sequence[Action] = ()
        """The actions of the newest call; where that raises, those that it came to before."""
        self.close = Close()
        """What the session's end is reported with."""
        self._client_gate = Gate(
            session.read_client if reads else None,
            masked=True,
            max_message=max_message,
            max_fragments=max_fragments,
            audio=session.audio,
            sent=session.sent,
            hold=hold,
        )
        self._upstream_gate = Gate(
            session.read_upstream if reads else None,
            masked=False,
            max_message=max_message,
            max_fragments=max_fragments,
            flows=session.listening.flows,
            wants=session.listening.wants,
            passes=session.listening.passes,
            opaque=session.listening.opaque,
            hold=hold,
        )
        if session.may_end:
            self._upstream_gate.step()
        self.client_flow = self._client_gate.flow
        """Of bytes that the client sent: those that go on to the upstream at once, with nothing else to do, and those
        that are for `from_client`. To be asked first."""
        self.upstream_flow = self._upstream_gate.flow
        """The same of the upstream and the client."""
        self._for_client = ClientOutbox(self._upstream_gate)
        self._for_upstream = UpstreamOutbox(self._client_gate, mask)
        self._client_gone = False
        self._upstream_gone = False
        self._goodbye: Close | None = None
        """Close for the upstream, once its usage has settled."""
        self._farewell: tuple[Close, bytes | None] | None = None
        """What the client is told of the end, once what the upstream said last was judged."""
        self._client_said_close = False
        self._pending: tuple[Ending, str] | None = None
        """What ends the session as soon as it is between turns, unless something else ends it before."""
        self._done = False

    @property
    def client_messages(self) -> int:
        """Messages that the client has sent."""
        return self._client_gate.messages

    @property
    def upstream_messages(self) -> int:
        """Messages that the upstream has sent."""
        return self._upstream_gate.messages

    @property
    def client_behind(self) -> bool:
        """Has the client sent more than is judged at a time? Then `from_client` is to be called again."""
        return self._client_gate.behind and not self._client_gone

    @property
    def upstream_behind(self) -> bool:
        """The same of the upstream."""
        return self._upstream_gate.behind and not self._upstream_gone

    @property
    def client_waits(self) -> bool:
        """Is a message of the client's kept, and everything behind it, until a turn is admitted or refused, or until it
        was judged?"""
        return self._client_gate.halted and not self._client_gone

    def put_off_client(self, data: bytes) -> bool:
        """If the client's Close is what these bytes bring, have it wait: whether it does, for `from_client` to be
        called again."""
        return not self._client_gone and self._client_gate.put_off(data)

    def put_off_upstream(self, data: bytes) -> bool:
        """The same of the upstream."""
        return not self._upstream_gone and self._upstream_gate.put_off(data)

    # -- what happens on the wires -----------------------------------------------------------------------------

    def from_client(self, data: bytes) -> list[Action]:
        """Bytes that the client sent."""
        actions: list[Action] = []
        self.decided = actions
        if self._client_gone:
            return actions
        queue = self.session.queue
        out = self._for_upstream
        for step in self._client_gate.feed(data):
            match step:
                case bytes():
                    if step and out.hears and not out.alone:
                        actions.append(ToUpstream(step))
                case Control():
                    self._client_control(step, actions)
                case Breach():
                    self._finish(_BREACHES[step.kind], step.message, actions)
            if out.waiting:
                out.flush(actions)
            if queue:
                self._apply_effects(actions)
            if waits := self.session.holds:
                self._client_gate.halt(waits)
            if self._goodbye is not None:
                self._go_on(actions)
        return self._settled(actions)

    def from_upstream(self, data: bytes) -> list[Action]:
        """Bytes that the upstream sent. They are read for usage even when the client is gone."""
        actions: list[Action] = []
        self.decided = actions
        if self._upstream_gone:
            return actions
        queue = self.session.queue
        out = self._for_client
        for step in self._upstream_gate.feed(data):
            match step:
                case bytes():
                    if step and out.hears:
                        actions.append(ToClient(step))
                case Control():
                    self._upstream_control(step, actions)
                case Breach():
                    self._upstream_broke(step.code, step.message, actions)
            if out.waiting and out.flush(actions):
                self._client_closed(actions)
            if queue:
                self._apply_effects(actions)
            if self._upstream_gate.stepwise and not self._go_on(actions):
                break
        return self._settled(actions)

    def client_lost(self, ending: Ending = endings.CLIENT_LOST) -> list[Action]:
        """The client's connection is gone, or given up: then whoever says so ends it."""
        actions: list[Action] = []
        self.decided = actions
        self._for_client.hears, self._client_gone = False, True
        self._begin_end(ending, Close(ending.code, "client went away"))
        self._leave_upstream(Close(1001, "client went away"), actions)
        return self._settled(actions)

    def upstream_lost(self, ending: Ending = endings.UPSTREAM_LOST) -> list[Action]:
        """The upstream's connection is gone, or given up: then whoever says so ends it."""
        actions: list[Action] = []
        self.decided = actions
        self._for_upstream.hears, self._upstream_gone = False, True
        self._goodbye = None
        self._tell_end(ending, ending.meaning, actions, last=True)
        return self._settled(actions)

    def ping_client(self) -> list[Action]:
        """Ask the client for a sign of life; nothing where no Ping can be put now."""
        actions: list[Action] = []
        self._for_client.put(frames.PING, b"", actions)
        return actions

    def ping_upstream(self) -> list[Action]:
        """Ask the upstream for a sign of life; nothing where no Ping can be put now."""
        actions: list[Action] = []
        self.decided = actions
        self._for_upstream.put(frames.PING, b"", actions)
        return actions

    def end(self, ending: Ending, message: str) -> list[Action]:
        """The gateway ends the session."""
        actions: list[Action] = []
        self.decided = actions
        self._finish(ending, message, actions)
        return self._settled(actions)

    def let_go(self, ending: Ending, message: str) -> list[Action]:
        """The gateway ends the session, and keeps nothing of what is unfinished, though it may be usage."""
        actions = self.end(ending, message)
        self._upstream_gate.mute()
        return [*actions, *self.from_client(b""), *self.from_upstream(b"")]

    def end_between_turns(self, ending: Ending, message: str) -> list[Action]:
        """The gateway ends the session: now if it is between turns, else as soon as it is."""
        self._pending = ending, message
        self._upstream_gate.step()
        return self._settled([])

    def admit(self, ticket: int) -> list[Action]:
        """A turn that was asked about (`Admit`) may begin."""
        return self._answer(lambda: self.session.admit(ticket))

    def refuse(self, ticket: int, code: str, message: str) -> list[Action]:
        """It may not: the client is told."""
        return self._answer(lambda: self.session.refuse(ticket, code, message))

    def refuse_and_end(self, ticket: int, ending: Ending, message: str) -> list[Action]:
        """It may not, and the session ends: once nobody is in the middle of a turn."""
        actions = self._answer(lambda: self.session.refuse(ticket))
        return [*actions, *self.end_between_turns(ending, message)]

    def judged(self, ticket: int, answer: Answer) -> list[Action]:
        """What was said of a text that was asked about (`Ask`)."""
        return self._answer(lambda: self.session.judged(ticket, answer))

    def _answer(self, answer: Callable[[], None]) -> list[Action]:
        actions: list[Action] = []
        self.decided = actions
        answer()
        self._apply_effects(actions)
        return self._settled(actions)

    def expired(self) -> list[Action]:
        """The time of the newest `Wait` is over."""
        actions: list[Action] = []
        self.decided = actions
        if self._goodbye is not None:
            self._close_upstream(self._goodbye, actions)
        elif self._farewell is not None:
            self.session.close()
        else:
            self._drop_client(actions)
            self._drop_upstream(actions)
        return self._settled(actions)

    # -- control frames ----------------------------------------------------------------------------------------

    def _client_control(self, step: Control, actions: list[Action]) -> None:
        if step.opcode == frames.PING:
            self._for_client.put(frames.PONG, step.payload, actions)
        elif step.opcode == frames.CLOSE:
            self._client_said_close = True
            try:
                close = frames.parse_close(step.payload)
            except frames.BadClose as error:
                self._finish(endings.BAD_UTF8 if error.code == 1007 else endings.PROTOCOL_ERROR, str(error), actions)
            else:
                self._begin_end(endings.CLIENT_CLOSED, close)
                self._close_client(close, actions)
                self._leave_upstream(close, actions)
            if not self._for_client.hears:  # both have said Close
                self._drop_client(actions)

    def _upstream_control(self, step: Control, actions: list[Action]) -> None:
        if step.opcode == frames.PING:
            self._for_upstream.put(frames.PONG, step.payload, actions)
        elif step.opcode == frames.CLOSE:
            try:
                close = frames.parse_close(step.payload)
            except frames.BadClose as error:
                self._upstream_broke(error.code, str(error), actions)
                return
            self._begin_end(endings.UPSTREAM_CLOSED, close, last=True)
            self._close_upstream(close, actions)
            self._drop_upstream(actions)
            self._part(close, None, actions)

    # -- the end -----------------------------------------------------------------------------------------------

    def _begin_end(self, ending: Ending, close: Close, *, last: bool = False) -> bool:
        """Remember why the session ends, and read no more of what the client says; False where it was ending
        already. `last`: what the upstream has said may be shown yet."""
        if self.ending is not None:
            return False
        self.ending, self.close = ending, close
        self.session.close(last=last)
        self._client_gate.mute()
        self._upstream_gate.step()
        return True

    def _finish(self, ending: Ending, message: str, actions: list[Action]) -> None:
        """End both legs for a reason of ours."""
        self._for_upstream.alone = True
        self._tell_end(ending, message, actions)
        self._leave_upstream(Close(1000), actions)

    def _upstream_broke(self, code: int, message: str, actions: list[Action]) -> None:
        self._close_upstream(Close(code), actions)
        self._drop_upstream(actions)
        self._tell_end(endings.UPSTREAM_INVALID, f"The upstream sent what cannot be relayed: {message}.", actions)

    def _tell_end(self, ending: Ending, message: str, actions: list[Action], *, last: bool = False) -> None:
        """Tell the client why: the ending's event, then Close. `last`: see `_begin_end`."""
        close = Close(ending.code, message)
        if not self._begin_end(ending, close, last=last):
            return
        event = None
        if ending.event is not None:
            kind, code = ending.event
            event = events.dump(openai.error(f"event_gw_{self.session.terms.id}_end", code, message, kind=kind))
        self._part(close, event, actions)

    def _part(self, close: Close, event: bytes | None, actions: list[Action]) -> None:
        """Tell the client that it is over, once what the upstream said last was judged."""
        if self.session.judging:
            self._farewell = close, event
            actions.append(Wait(LAST))
            return
        self._farewell = None
        if event is not None:
            self._for_client.put(frames.TEXT, event, actions)
        self._close_client(close, actions)

    def _close_client(self, close: Close, actions: list[Action]) -> None:
        if self._for_client.put(frames.CLOSE, close.payload(), actions):
            self._client_closed(actions)

    def _client_closed(self, actions: list[Action]) -> None:
        """Our Close is on its way to the client."""
        if self._client_said_close:
            self._drop_client(actions)
        else:
            actions.append(Wait(LINGER))

    def _drop_client(self, actions: list[Action]) -> None:
        self._for_client.hears = False
        if not self._client_gone:
            self._client_gone = True
            actions.append(DropClient())

    def _leave_upstream(self, close: Close, actions: list[Action]) -> None:
        """Say Close to the upstream, after what the client left running was cancelled and has settled. In the middle
        of a frame nothing can be said to it, but its usage may come all the same."""
        if not self._for_upstream.hears or self._goodbye is not None:
            return
        self._goodbye = close
        self._for_upstream.cut_off = self._client_gate.mid_frame
        if self.session.unsettled:
            self.session.leave()
            actions.append(Wait(SETTLE))

    def _close_upstream(self, close: Close, actions: list[Action]) -> None:
        self._goodbye = None
        if not self._for_upstream.hears:
            return
        self._for_upstream.put(frames.CLOSE, close.payload(), actions)
        self._for_upstream.hears = False
        if self._for_upstream.cut_off:
            self._drop_upstream(actions)
        actions.append(Wait(LINGER))

    def _drop_upstream(self, actions: list[Action]) -> None:
        self._for_upstream.hears = False
        self._goodbye = None
        if not self._upstream_gone:
            self._upstream_gone = True
            actions.append(DropUpstream())

    def _settled(self, actions: list[Action]) -> list[Action]:
        """Carry out what follows from what just happened."""
        if self.session.queue:
            self._apply_effects(actions)
        if self._client_gate.halted and not self.session.holds:
            self._client_gate.go_on()
        if self.ending is None and self._pending is None:
            return actions
        self._go_on(actions)
        if self._farewell is not None and not self.session.judging:
            self.session.close()
            self._part(*self._farewell, actions)
        if self._upstream_gone:
            self.session.abandon()
            self._apply_effects(actions)
            if self._upstream_gate.mid_frame:  # it will never be whole, and nothing can be put behind it
                self._drop_client(actions)
        if self._client_gone and self._upstream_gone and not self._done and self.ending is not None:
            self._done = True
            actions.append(Ended(self.ending, self.close))
        return actions

    def _go_on(self, actions: list[Action]) -> bool:
        """Do what waits for the end of turns, if they have ended; is the upstream still listened to?"""
        if self._pending is not None and self.ending is None and self.session.between_turns:
            self._finish(*self._pending, actions)
            self._apply_effects(actions)
        if self._goodbye is not None and not self.session.unsettled:
            self._close_upstream(self._goodbye, actions)
        return not self._upstream_gone

    def _apply_effects(self, actions: list[Action]) -> None:
        for effect in self.session.effects():
            match effect:
                case Tell(to="client", event=event):
                    self._for_client.put(frames.TEXT, events.dump(event), actions)
                case Tell(event=event):
                    self._for_upstream.put(frames.TEXT, events.dump(event), actions)
                case Finish(ending=ending, message=message):
                    self._finish(ending, message, actions)
                case Forward(payload=payload):
                    self._for_upstream.put(frames.TEXT, payload, actions)
                case Show(payload=payload, binary=binary):
                    self._for_client.put(frames.BINARY if binary else frames.TEXT, payload, actions, owed=True)
                case Withheld(more=more):
                    if self._hold is not None:
                        self._hold(more)
                case _:
                    actions.append(effect)


_BREACHES = {
    "protocol": endings.PROTOCOL_ERROR,
    "audio": endings.AMBIGUOUS_AUDIO,
    "size": endings.MESSAGE_TOO_BIG,
    "fragments": endings.TOO_MANY_FRAGMENTS,
}
"""How the session ends where the client's direction breaks."""
