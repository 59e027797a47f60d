"""What the gateway makes of updates of the session: what counts is what the server has confirmed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.realtime.detection import Detection
from dataplane.realtime.effects import Admit, Released
from tests.dataplane.realtime.limited import (
    COMMITTED,
    LIMITED,
    OWN_CREATE,
    STOPPED,
    over,
    refused,
    session,
    vad,
    voiced,
)
from tests.dataplane.realtime.play import Admitted, Dialogue, client, play, upstream
from tests.dataplane.realtime.sayings import begun, done

ASKS = session(vad(answers=False), "update", instructions="Ask.")
ANSWERS = session(vad(answers=True), "update", instructions="Answer.")
SILENCED = session(vad(answers=False), "update")
OTHER = {"type": "session.update", "session": {"type": "realtime", "instructions": "Be brief."}}


def named(event: dict[str, object], name: str) -> dict[str, object]:
    return {**event, "event_id": name}


def confirmed(*, answers: bool) -> dict[str, object]:
    return session(vad(answers=answers), "updated")


def name_of(dialogue: Dialogue) -> object:
    """The id of the event that the upstream hears next."""
    event = dialogue.heard["upstream"].popleft()
    assert isinstance(event, dict)
    assert event["type"] == "session.update"
    return event["event_id"]


def asks_for_the_answer(dialogue: Dialogue, ticket: int = 1) -> None:
    """The user falls silent, and the gateway sees to the answer."""
    dialogue >> upstream(*STOPPED) << client(*STOPPED) << Admit(ticket) >> Admitted(ticket)
    (dialogue >> upstream(COMMITTED) << client(COMMITTED) << upstream(OWN_CREATE)).over()


def leaves_it_to_the_client(dialogue: Dialogue) -> None:
    (dialogue >> upstream(*STOPPED, COMMITTED) << client(*STOPPED, COMMITTED)).over()


def test_nothing_holds_of_an_update_that_was_refused() -> None:
    dialogue = voiced() >> client(named(ASKS, "mine"))
    assert name_of(dialogue) == "mine"
    dialogue >> upstream(refused("mine")) << client(refused("mine"))
    asks_for_the_answer(dialogue)


def test_an_update_that_was_refused_is_named_as_the_client_named_it() -> None:
    """It gave it no name, so that the gateway had to."""
    dialogue = voiced() >> client(ASKS)
    name = name_of(dialogue)
    assert isinstance(name, str)
    assert "_gw_" in name
    dialogue >> upstream(refused(name)) << client(refused(None))
    asks_for_the_answer(dialogue)


def test_a_turn_that_was_asked_for_is_not_taken_for_what_was_refused() -> None:
    """An error without a name may be about anything; one about an update is not about the turn."""
    create = {"type": "response.create", "event_id": "turn"}
    dialogue = voiced() >> client(create) << Admit(1) >> Admitted(1) << upstream(create) >> client(ASKS)
    dialogue >> upstream(refused(name_of(dialogue), code="strange", param="")) << client({"type": "error"})
    dialogue >> upstream(begun("r1"), done("r1")) << client(begun("r1"), done("r1")) << over("r1")
    (dialogue << Released(1)).over()


def test_nothing_holds_before_it_is_confirmed() -> None:
    dialogue = voiced() >> client(ASKS) << upstream({"type": "session.update"})
    asks_for_the_answer(dialogue)
    dialogue >> upstream(confirmed(answers=False)) << client(confirmed(answers=False))


@pytest.mark.parametrize(
    ("first", "second", "wished"),
    [
        ("taken", "taken", True),
        ("taken", "refused", False),
        ("refused", "taken", True),
        ("refused", "refused", True),
    ],
)
def test_two_updates_are_under_way(first: str, second: str, *, wished: bool) -> None:
    """The first has the client ask for its turns, the second has the server answer again."""
    dialogue = voiced() >> client(ASKS, ANSWERS)
    wish = True
    for name, answer, asks in (
        (name_of(dialogue), first, False),
        (name_of(dialogue), second, True),
    ):
        if answer == "taken":
            wish = asks
            dialogue >> upstream(confirmed(answers=False)) << client(confirmed(answers=wish))
        else:
            dialogue >> upstream(refused(name)) << client(refused(None))
    assert wish is wished
    if wished:
        asks_for_the_answer(dialogue)
    else:
        leaves_it_to_the_client(dialogue)


def test_updates_of_other_things_are_answered_in_their_turn() -> None:
    dialogue = voiced() >> client(OTHER, ASKS, OTHER) << upstream({}, {}, {})
    for wished in (True, False, False):
        dialogue >> upstream(confirmed(answers=False)) << client(confirmed(answers=wished))
    leaves_it_to_the_client(dialogue)


def test_a_session_that_asks_for_its_turns_itself_from_the_beginning_goes_on_to() -> None:
    created = session(vad(answers=False))
    dialogue = play(LIMITED) >> upstream(created) << client(created) >> client(OTHER) << upstream(OTHER)
    dialogue >> upstream(confirmed(answers=False)) << client(confirmed(answers=False))
    leaves_it_to_the_client(dialogue)


def test_a_server_that_answers_all_the_same_is_shown_as_it_is_and_its_turns_are_admitted_afterwards() -> None:
    dialogue = voiced() >> client(ASKS) << upstream({"type": "session.update"})
    dialogue >> upstream(confirmed(answers=True)) << client(confirmed(answers=True)) << upstream(SILENCED)
    dialogue >> upstream(confirmed(answers=True))  # it was told once more, and takes no notice
    dialogue >> upstream(*STOPPED, COMMITTED) << client(*STOPPED, COMMITTED)
    (dialogue >> upstream(begun("r1")) << client(begun("r1")) << Admit(1) >> Admitted(1)).over()


def test_one_that_has_changed_its_mind_is_told_again() -> None:
    dialogue = voiced() >> client(OTHER) << upstream(OTHER)
    for _ in range(2):
        dialogue >> upstream(confirmed(answers=True)) << client(confirmed(answers=True)) << upstream(SILENCED)
        dialogue >> upstream(confirmed(answers=False))
    asks_for_the_answer(dialogue)


def test_one_that_took_the_update_and_says_nothing_of_it_does_as_it_was_told() -> None:
    created, taken = ({"type": f"session.{kind}", "session": {"id": "sess_1"}} for kind in ("created", "updated"))
    for update, then in ((ANSWERS, asks_for_the_answer), (ASKS, leaves_it_to_the_client)):
        dialogue = play(LIMITED) >> upstream(created) << client(created) >> client(update)
        dialogue << upstream({"type": "session.update"}) >> upstream(taken) << client(taken)
        then(dialogue)


def test_a_server_that_stops_to_detect_turns_answers_nothing() -> None:
    dialogue = voiced() >> client(session(None, "update")) << upstream(session(None, "update"))
    dialogue >> upstream(session(None, "updated")) << client(session(None, "updated"))
    (dialogue >> upstream(COMMITTED) << client(COMMITTED)).over()


def test_who_is_told_before_the_session_begins_is_answered_first() -> None:
    """An upstream that is silent at first gets what the client says before it has said anything."""
    dialogue = play(LIMITED) >> client(OTHER) << upstream(OTHER)
    created = session(vad(answers=True))
    dialogue >> upstream(created) << client(created) << upstream(SILENCED)
    dialogue >> upstream(confirmed(answers=True)) << client(confirmed(answers=True))
    (dialogue >> upstream(confirmed(answers=False))).over()
    asks_for_the_answer(dialogue)


def test_an_update_that_says_how_the_server_listens_is_not_undone_by_the_gateways() -> None:
    created = session(vad(answers=True))
    off = session(None, "update")
    dialogue = play(LIMITED) >> client(off) << upstream(off) >> upstream(created) << client(created)
    dialogue.over()
    (dialogue >> upstream(session(None, "updated")) << client(session(None, "updated"))).over()


def test_where_it_is_refused_the_gateway_sends_its_own() -> None:
    created = session(vad(answers=True))
    dialogue = play(LIMITED) >> client(named(ASKS, "mine")) << upstream({"type": "session.update"})
    dialogue >> upstream(created) << client(created)
    dialogue.over()
    dialogue >> upstream(refused("mine")) << client(refused("mine")) << upstream(SILENCED)
    (dialogue >> upstream(confirmed(answers=False))).over()
    asks_for_the_answer(dialogue)


def test_a_server_that_names_no_event_refuses_the_oldest_update() -> None:
    created = session(vad(answers=True))
    dialogue = play(LIMITED) >> upstream(created) << client(created) << upstream(SILENCED)
    dialogue >> client(ASKS) << upstream({"type": "session.update"})
    dialogue >> upstream(refused(None))  # that was the gateway's
    (dialogue >> upstream(refused(None, param="tools")) << client(refused(None, param="tools"))).over()
    dialogue >> upstream(refused(None)) << client(refused(None))
    dialogue >> client(OTHER) << upstream(OTHER) >> upstream(confirmed(answers=True)) << client(confirmed(answers=True))
    dialogue.over()


def test_an_event_id_in_another_case_is_refused() -> None:
    dialogue = voiced() >> client({**OTHER, "Event_ID": "mine"})
    event = dialogue.heard["client"].popleft()
    assert isinstance(event, dict)
    assert "lower case" in str(event["error"])
    dialogue.over()


# -- whatever happens ----------------------------------------------------------------------------------------------


@dataclass
class Server:
    """It takes updates, or refuses them, or takes them and does what it likes. `answers`: what it does; `wished`: what
    it would do, had the client its way."""

    answers: bool
    wished: bool
    dialogue: Dialogue = field(default_factory=lambda: play(LIMITED))
    updates: deque[dict[str, object]] = field(default_factory=deque)
    """That it has not answered."""
    sent: int = 0

    def __post_init__(self) -> None:
        created = session(vad(answers=self.answers))
        self.dialogue >> upstream(created) << client(created)
        self.look()

    def look(self) -> None:
        while self.dialogue.heard["upstream"]:
            event = self.dialogue.heard["upstream"].popleft()
            assert isinstance(event, dict)
            if event["type"] == "session.update":
                self.updates.append(event)

    def say(self, which: int) -> None:
        """The client says what it wants: that the server answers, that it does not, or something else."""
        self.sent += 1
        wishes = (session(vad(answers=True), "update"), session(vad(answers=False), "update"), OTHER)
        update = wishes[which % 3]
        inner = update["session"]
        assert isinstance(inner, dict)
        told = {**update, "session": {**inner, "instructions": f"{self.sent} {which % 3}"}}
        self.dialogue >> client(named(told, f"c{self.sent}") if which >= 3 else told)

    def take(self, _: int) -> None:
        if self.updates:
            update = self.updates.popleft()
            wish = _wish(update)
            self.wished = self.wished if wish is None else wish
            if wish is not None or not _of_client(update):
                self.answers = False
            self._confirm(update)

    def take_otherwise(self, _: int) -> None:
        if self.updates:
            update = self.updates.popleft()
            self.answers = self.wished = True
            self._confirm(update)

    def _confirm(self, update: dict[str, object]) -> None:
        self.dialogue >> upstream(confirmed(answers=self.answers))
        if _of_client(update):
            self.dialogue << client(confirmed(answers=self.wished))

    def refuse(self, _: int) -> None:
        if self.updates:
            update = self.updates.popleft()
            self.dialogue >> upstream(refused(update["event_id"]))
            if _of_client(update):
                given = str(update["event_id"])
                self.dialogue << client(refused(given if given.startswith("c") else None))

    @property
    def idea(self) -> Detection:
        """What the gateway makes of it."""
        admission = self.dialogue.relay.session._admission
        assert admission is not None
        return admission.detection


def _of_client(update: dict[str, object]) -> bool:
    inner = update["session"]
    assert isinstance(inner, dict)
    return "instructions" in inner


def _wish(update: dict[str, object]) -> bool | None:
    inner = update["session"]
    assert isinstance(inner, dict)
    return (True, False, None)[int(inner["instructions"].split()[1])] if _of_client(update) else None


SERVER_MOVES: dict[str, Callable[[Server, int], None]] = {
    "the client wants something": Server.say,
    "an update is taken": Server.take,
    "an update is refused": Server.refuse,
    "an update is taken otherwise": Server.take_otherwise,
}


MOVES = st.lists(st.tuples(st.sampled_from(sorted(SERVER_MOVES)), st.integers(0, 5)), max_size=40)


@given(answers=st.booleans(), moves=MOVES)
def test_the_gateways_idea_is_what_the_server_has_confirmed(*, answers: bool, moves: list[tuple[str, int]]) -> None:
    """And the client is told of its own updates alone, each time with what it set up itself."""
    it = Server(answers, answers)
    for move, which in moves:
        SERVER_MOVES[move](it, which)
        it.look()
        assert (it.idea.wished, it.idea.silenced) == (it.wished, not it.answers)
        it.dialogue.over()
    while it.updates:
        it.take(0)
        it.look()
    if {move for move, _ in moves}.isdisjoint({"an update is refused", "an update is taken otherwise"}):
        assert not it.answers, "a server that does as it is told is never left to answer"
