"""Turns that begin only once they are admitted."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.realtime import endings
from dataplane.realtime.effects import Admit, Prompted, Released
from tests.dataplane.realtime.limited import (
    COMMITTED,
    LIMITED,
    OWN_CREATE,
    STOPPED,
    over,
    refused,
    session,
    typed,
    vad,
    voiced,
)
from tests.dataplane.realtime.play import (
    Admitted,
    Close,
    Gone,
    NotAdmitted,
    Over,
    Timer,
    client,
    play,
    upstream,
    wire,
)
from tests.dataplane.realtime.sayings import HALF, LONG_AUDIO, begun, done

ITEM = {"type": "conversation.item.create", "item": {"type": "message", "role": "user"}}
AUDIO = {"type": "input_audio_buffer.append", "audio": "A" * 400}
CREATE = {"type": "response.create", "event_id": "mine"}


def refusal(event_id: str | None) -> dict[str, object]:
    detail = {"type": "rate_limit_error", "code": "limit_exceeded", "message": "Spent."}
    return {"type": "error", "error": {**detail, "param": None, "event_id": event_id}}


# -- turns that the client asks for --------------------------------------------------------------------------------


def test_a_turn_waits_until_it_is_admitted() -> None:
    (
        typed()
        >> client(CREATE)
        << Admit(1)
        >> Admitted(1)
        << upstream(CREATE)
        >> upstream(begun("r1"), done("r1"))
        << client(begun("r1"), done("r1"))
        << over("r1")
        << Released(1)
    )


def test_what_comes_behind_it_waits_too() -> None:
    dialogue = typed() >> client(CREATE, ITEM, AUDIO, ITEM) << Admit(1)
    dialogue.over()
    assert dialogue.relay.client_waits
    (dialogue >> Admitted(1) << upstream(CREATE, ITEM, AUDIO, ITEM)).over()
    assert not dialogue.relay.client_waits


def test_every_byte_behind_it_waits_wherever_it_is_cut() -> None:
    stream = b"".join(wire(each, masked=True) for each in (CREATE, AUDIO, ITEM, CREATE, AUDIO))
    for cut in range(len(stream)):
        dialogue = typed().feed("client", stream[:cut]).feed("client", stream[cut:]) << Admit(1)
        dialogue.over()
        (dialogue >> Admitted(1) << upstream(CREATE, AUDIO, ITEM) << Admit(2)).over()
        (dialogue >> Admitted(2) << upstream(CREATE, AUDIO)).over()


def test_a_turn_that_is_refused_is_not_asked_for() -> None:
    (
        typed()
        >> client(CREATE, ITEM)
        << Admit(1)
        >> NotAdmitted(1)
        << client(refusal("mine"))
        << upstream(ITEM)
        >> client(OWN_CREATE)
        << Admit(2)
        >> NotAdmitted(2)
        << client(refusal(None))
    ).over()


def test_a_turn_that_the_server_refuses_is_let_go() -> None:
    complaint = {"type": "error", "error": {"code": "invalid_value", "event_id": "mine"}}
    dialogue = typed() >> client(CREATE) << Admit(1) >> Admitted(1) << upstream(CREATE) >> upstream(complaint)
    (dialogue << client(complaint) << Released(1)).over()


def test_earlier_turns_go_on_beside_one_that_is_refused() -> None:
    (
        typed()
        >> client(CREATE)
        << Admit(1)
        >> Admitted(1)
        << upstream(CREATE)
        >> upstream(begun("r1"))
        << client(begun("r1"))
        >> client(CREATE)
        << Admit(2)
        >> NotAdmitted(2)
        << client(refusal("mine"))
        >> upstream(done("r1"))
        << client(done("r1"))
        << over("r1")
        << Released(1)
    )


def test_the_session_ends_where_that_is_said_once_the_turn_in_flight_is_over() -> None:
    (
        typed()
        >> client(CREATE)
        << Admit(1)
        >> Admitted(1)
        << upstream(CREATE)
        >> upstream(begun("r1"))
        << client(begun("r1"))
        >> client(CREATE)
        << Admit(2)
        >> NotAdmitted(2, ends=True)
        >> upstream(done("r1"))
        << client(done("r1"), {"type": "error"}, Close(1008, "Spent."))
        << over("r1")
        << Released(1)
        << upstream(Close(1000))
        >> Timer()
    )


def test_it_ends_at_once_where_there_is_none() -> None:
    dialogue = typed() >> client(CREATE) << Admit(1) >> NotAdmitted(1, ends=True)
    dialogue << client({"type": "error"}, Close(1008, "Spent.")) << upstream(Close(1000))
    (dialogue >> Timer() << client(Gone()) << upstream(Gone()) << Over(endings.LIMIT, 1008)).over()


def test_a_client_that_leaves_waits_for_nothing() -> None:
    dialogue = typed() >> client(CREATE) << Admit(1) >> client(Gone())
    dialogue << upstream(Close(1001, "client went away")) >> Admitted(1)
    (dialogue << Released(1) >> Timer() << upstream(Gone()) << Over(endings.CLIENT_LOST, 1001)).over()


def test_a_client_that_leaves_is_refused_nothing() -> None:
    dialogue = typed() >> client(CREATE) << Admit(1) >> client(Gone())
    dialogue << upstream(Close(1001, "client went away")) >> NotAdmitted(1)
    (dialogue >> Timer() << upstream(Gone()) << Over(endings.CLIENT_LOST, 1001)).over()


def test_a_close_behind_it_waits_for_the_answer() -> None:
    dialogue = typed() >> client(CREATE, Close(1000)) << Admit(1)
    dialogue.over()
    dialogue >> NotAdmitted(1) << client(refusal("mine"), Close(1000), Gone()) << upstream(Close(1000))


def test_an_upstream_that_is_lost_lets_all_turns_go() -> None:
    dialogue = typed() >> client(CREATE) << Admit(1) >> Admitted(1) << upstream(CREATE) >> upstream(begun("r1"))
    dialogue << client(begun("r1")) >> client(CREATE) << Admit(2) >> upstream(Gone())
    assert list(dialogue.heard["limits"]) == [Released(1)]
    assert (dialogue >> Admitted(2)).heard["limits"][-1] == Released(1)


def test_nobody_is_between_turns_while_one_waits() -> None:
    dialogue = typed() >> client(CREATE) << Admit(1)
    assert not dialogue.relay.session.between_turns
    assert (dialogue >> NotAdmitted(1)).relay.session.between_turns


# -- turns of the user's voice -------------------------------------------------------------------------------------


def test_the_server_is_kept_from_answering_and_asked_instead() -> None:
    dialogue = voiced() >> upstream(*STOPPED) << client(*STOPPED) << Admit(1)
    assert Prompted("voice") in dialogue.progress
    (
        dialogue
        >> Admitted(1)
        >> upstream(COMMITTED)
        << client(COMMITTED)
        << upstream(OWN_CREATE)
        >> upstream(begun("r1"), done("r1"))
        << client(begun("r1"), done("r1"))
        << over("r1")
        << Released(1)
    ).over()


def test_the_answer_may_come_late() -> None:
    dialogue = voiced() >> upstream(*STOPPED, COMMITTED) << client(*STOPPED, COMMITTED) << Admit(1)
    dialogue.over()
    (dialogue >> Admitted(1) << upstream(OWN_CREATE)).over()


def test_it_is_asked_for_once_the_client_is_in_the_middle_of_no_frame() -> None:
    dialogue = voiced().feed("client", LONG_AUDIO[:HALF]) >> upstream(*STOPPED, COMMITTED) << Admit(1) >> Admitted(1)
    assert not dialogue.heard["upstream"]
    dialogue.feed("client", LONG_AUDIO[HALF:]) << upstream({"type": "input_audio_buffer.append"}, OWN_CREATE)


def test_a_turn_of_the_voice_that_waits_is_forgotten_with_the_client() -> None:
    """The provider was asked for nothing, so there is nothing to wait for, and nothing that may have cost something."""
    for answer in ((), (Admitted(1),)):
        dialogue = voiced() >> upstream(*STOPPED) << client(*STOPPED) << Admit(1)
        for each in answer:
            dialogue >> each
        dialogue >> client(Gone()) << upstream(Close(1001, "client went away")) >> upstream(Gone())
        assert list(dialogue.heard["ledger"]) == [Over(endings.CLIENT_LOST, 1001)]
        assert list(dialogue.heard["limits"]) == [Released(1)] * len(answer)


def test_nobody_is_asked_for_a_client_that_is_gone() -> None:
    dialogue = voiced() >> client(CREATE) << Admit(1) >> Admitted(1) << upstream(CREATE) >> upstream(begun("r1"))
    dialogue << client(begun("r1")) >> client(Gone()) << upstream({"type": "response.cancel", "response_id": "r1"})
    dialogue >> upstream(*STOPPED, COMMITTED, begun("r2"))
    dialogue << upstream({"type": "response.cancel", "response_id": "r2"})
    dialogue >> upstream(done("r1"), done("r2")) << over("r1") << over("r2") << Released(1)
    (dialogue << upstream(Close(1001, "client went away"))).over()


def test_a_turn_of_the_voice_that_is_refused_never_begins() -> None:
    dialogue = voiced() >> upstream(*STOPPED) << client(*STOPPED) << Admit(1) >> NotAdmitted(1)
    (dialogue << client(refusal(None)) >> upstream(COMMITTED) << client(COMMITTED)).over()
    assert dialogue.relay.session.between_turns


def test_the_client_sees_what_it_set_up() -> None:
    wanted = session(vad(answers=True, threshold=0.9), "update")
    (
        voiced()
        >> client(wanted)
        << upstream(session(vad(answers=False, threshold=0.9), "update"))
        >> upstream(session(vad(answers=False, threshold=0.9), "updated"))
        << client(session(vad(answers=True, threshold=0.9), "updated"))
    ).over()


def test_a_client_that_asks_for_its_turns_itself_goes_on_to() -> None:
    wanted = session(vad(answers=False), "update")
    dialogue = voiced() >> client(wanted) << upstream(wanted) >> upstream(session(vad(answers=False), "updated"))
    dialogue << client(session(vad(answers=False), "updated"))
    (dialogue >> upstream(*STOPPED, COMMITTED) << client(*STOPPED, COMMITTED)).over()


def test_a_session_without_voice_detection_is_left_alone() -> None:
    for detection in (None, vad(answers=False)):
        created = session(detection)
        (play(LIMITED) >> upstream(created) << client(created)).over()
    transcription = session(vad(answers=True), type="transcription")
    (play(LIMITED) >> upstream(transcription) << client(transcription)).over()


def test_old_spelling_of_turn_detection_is_kept_from_answering_too() -> None:
    flat = {"type": "session.update", "session": {"turn_detection": {"type": "server_vad"}}}
    changed = {"turn_detection": {"type": "server_vad", "create_response": False}}
    wanted = {"type": "session.update", "session": {"type": "realtime", "audio": {"input": changed}}}
    (typed() >> client(flat) << upstream(wanted)).over()


@pytest.mark.parametrize(
    "path", [("Audio",), ("audio", "INPUT"), ("audio", "input", "Turn_detection"), ("audio", "input", "turn_detection")]
)
def test_spellings_that_some_readers_take_for_it_are_refused(path: tuple[str, ...]) -> None:
    inner: dict[str, object] = {"type": "server_vad", "Create_Response": True}
    for name in reversed(path):
        inner = {name: inner}
    dialogue = typed() >> client({"type": "session.update", "session": inner})
    assert "lower case" in json.dumps(dialogue.heard["client"].popleft())
    dialogue.over()


@pytest.mark.parametrize("session", ["x", {"audio": 5}, {"audio": {"input": None}}, {"voice": "marin"}])
def test_updates_that_say_nothing_of_turns_go_on_as_they_came(session: object) -> None:
    update = {"type": "session.update", "session": session, "event_id": "mine"}
    (voiced() >> client(update) << upstream({"type": "session.update", "event_id": "mine"})).over()


def test_a_turn_that_begins_all_the_same_is_admitted_or_cancelled() -> None:
    dialogue = typed() >> upstream(begun("r1")) << client(begun("r1")) << Admit(1) >> Admitted(1)
    (dialogue >> upstream(done("r1")) << client(done("r1")) << over("r1") << Released(1)).over()
    dialogue >> upstream(begun("r2")) << client(begun("r2")) << Admit(2) >> NotAdmitted(2)
    (dialogue << client(refusal(None)) << upstream({"type": "response.cancel", "response_id": "r2"})).over()


def test_a_server_that_answers_the_voice_all_the_same_is_asked_for_nothing() -> None:
    dialogue = voiced() >> upstream(*STOPPED, begun("r1")) << client(*STOPPED, begun("r1")) << Admit(1)
    (dialogue >> Admitted(1) >> upstream(COMMITTED) << client(COMMITTED)).over()
    dialogue >> upstream(done("r1")) << client(done("r1")) << over("r1") << Released(1)


def test_it_is_cancelled_where_it_may_not_be() -> None:
    dialogue = voiced() >> upstream(*STOPPED, begun("r1")) << client(*STOPPED, begun("r1")) << Admit(1)
    dialogue >> NotAdmitted(1) << client(refusal(None)) << upstream({"type": "response.cancel", "response_id": "r1"})
    dialogue.over()


def test_what_the_user_said_during_a_turn_is_answered_after_it() -> None:
    dialogue = voiced()
    dialogue >> client(CREATE) << Admit(1) >> Admitted(1) << upstream(CREATE) >> upstream(begun("r1"))
    dialogue << client(begun("r1")) >> upstream(*STOPPED, COMMITTED) << client(*STOPPED, COMMITTED) << Admit(2)
    dialogue >> Admitted(2)
    own = dialogue.heard["upstream"].popleft()
    assert isinstance(own, dict)
    active = {"code": "conversation_already_has_active_response", "event_id": own["event_id"]}
    dialogue >> upstream({"type": "error", "error": active}) << Released(1)
    dialogue >> upstream(done("r1")) << client(done("r1")) << over("r1") << Released(1) << Admit(3) >> Admitted(3)
    (dialogue << upstream(OWN_CREATE)).over()


def test_a_server_that_takes_no_such_setting_is_watched() -> None:
    dialogue = play(LIMITED) >> upstream(session(vad(answers=True))) << client(session(vad(answers=True)))
    own = dialogue.heard["upstream"].popleft()
    assert isinstance(own, dict)
    dialogue >> upstream({"type": "error", "error": {"code": "unknown_parameter", "event_id": own["event_id"]}})
    dialogue.over()


def test_a_server_that_says_nothing_of_how_it_listens_answers_by_itself() -> None:
    created = {"type": "session.created", "session": {"id": "sess_1"}}
    dialogue = play(LIMITED) >> upstream(created) << client(created)
    (dialogue >> upstream(*STOPPED, COMMITTED) << client(*STOPPED, COMMITTED)).over()
    (dialogue >> upstream(begun("r1")) << client(begun("r1")) << Admit(1) >> Admitted(1)).over()


# -- whatever happens ----------------------------------------------------------------------------------------------


class Provider:
    """Begins the turns that it is asked for, or refuses them, in any order; and keeps count of what is admitted."""

    def __init__(self) -> None:
        self.dialogue = voiced()
        self.tickets: list[int] = []
        self.wanted: list[str] = []
        """Event ids of turns that it was asked for."""
        self.running: list[str] = []
        self.admitted = self.released = self._begun = 0
        self.updates: deque[dict[str, object]] = deque()
        """That it has not answered."""
        self.wished: dict[str, bool] = {}
        """Of each update of the client's: is the server to answer the user by itself?"""
        self.wish = True
        """What holds of that."""

    def move(self, move: str, which: int) -> None:
        """Something happens, if it can."""
        MOVES[move](self, which)
        self.look()

    def begin(self, _: int) -> None:
        if self.wanted:
            self.wanted.pop(0)
            self._begun += 1
            self.running.append(f"r{self._begun}")
            self.dialogue >> upstream(begun(self.running[-1]))

    def end(self, which: int) -> None:
        if self.running:
            self.dialogue >> upstream(done(self.running.pop(which % len(self.running))))

    def refuse(self, _: int) -> None:
        if self.wanted:
            about = {"code": "conversation_already_has_active_response", "event_id": self.wanted.pop(0)}
            self.dialogue >> upstream({"type": "error", "error": about})

    def admit(self, which: int) -> None:
        if self.tickets:
            self.admitted += 1
            self.dialogue >> Admitted(self.tickets.pop(which % len(self.tickets)))

    def forbid(self, which: int) -> None:
        if self.tickets:
            self.dialogue >> NotAdmitted(self.tickets.pop(which % len(self.tickets)))

    def want(self, which: int) -> None:
        """The client wants that the server answers the user by itself, or not."""
        name = f"u{len(self.wished)}"
        self.wished[name] = bool(which % 2)
        self.dialogue >> client({**session(vad(answers=self.wished[name]), "update"), "event_id": name})

    def take(self, _: int) -> None:
        """The oldest update is taken; the client sees what it set up."""
        if self.updates:
            self.wish = self.wished[str(self.updates.popleft()["event_id"])]
            self.dialogue.heard["client"].clear()
            self.dialogue >> upstream(session(vad(answers=False), "updated"))
            self.dialogue << client(session(vad(answers=self.wish), "updated"))

    def decline(self, _: int) -> None:
        """It is refused."""
        if self.updates:
            self.dialogue >> upstream(refused(self.updates.popleft()["event_id"]))

    def listen(self, _: int) -> None:
        """The user falls silent."""
        asked, waits = len(self.tickets), self.dialogue.relay.session.noted.turns.waits
        self.dialogue >> upstream(*STOPPED)
        self.look()
        assert len(self.tickets) - asked == (self.wish and not waits), "the client asks for its turns, or the gateway"

    def look(self) -> None:
        for effect in self.dialogue.heard["limits"]:
            if isinstance(effect, Admit):
                self.tickets.append(effect.ticket)
            elif isinstance(effect, Released):
                self.released += effect.count
        for event in self.dialogue.heard["upstream"]:
            assert isinstance(event, dict)
            if event["type"] == "session.update":
                self.updates.append(event)
            elif event["type"] == "response.create":
                self.wanted.append(str(event.get("event_id")))
        self.dialogue.heard["limits"].clear()
        self.dialogue.heard["upstream"].clear()


MOVES: dict[str, Callable[[Provider, int], object]] = {
    "the client asks": lambda it, _: it.dialogue >> client(CREATE),
    "the client talks": lambda it, _: it.dialogue >> client(AUDIO),
    "the client has its way": Provider.want,
    "that is taken": Provider.take,
    "that is refused": Provider.decline,
    "the user fell silent": Provider.listen,
    "what was said is an item": lambda it, _: it.dialogue >> upstream(COMMITTED),
    "a turn begins": Provider.begin,
    "a turn ends": Provider.end,
    "a turn is refused": Provider.refuse,
    "one is admitted": Provider.admit,
    "one is not": Provider.forbid,
}


@given(st.lists(st.tuples(st.sampled_from(sorted(MOVES)), st.integers(0, 5)), max_size=60))
def test_what_is_admitted_is_let_go_once_and_no_turn_begins_unasked(moves: list[tuple[str, int]]) -> None:
    it = Provider()
    for move, which in moves:
        it.move(move, which)
        assert it.released <= it.admitted, "more was let go than was admitted"
        assert len(it.wanted) + len(it.running) <= it.admitted - it.released, "a turn was not admitted"
    it.dialogue >> upstream(Gone())
    it.look()
    assert it.released == it.admitted, "not all that was admitted was let go"


@given(st.lists(st.tuples(st.sampled_from(sorted(MOVES)), st.integers(0, 5)), max_size=60))
def test_in_the_end_everything_was_answered(moves: list[tuple[str, int]]) -> None:
    """Once all questions are answered, and all turns over, nothing waits and nothing is set aside."""
    it = Provider()
    for move, which in moves:
        it.move(move, which)
    it.move("what was said is an item", 0)
    for _ in range(200):
        for move in ("one is admitted", "a turn begins", "a turn ends"):
            it.move(move, 0)
    assert (it.tickets, it.wanted, it.running) == ([], [], [])
    assert it.released == it.admitted
    assert it.dialogue.relay.session.between_turns
