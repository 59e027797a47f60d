"""Parts of the inspection by themselves, in what no session comes to soon."""

from __future__ import annotations

from collections import deque

from dataplane.guardrails.judge import Answer, Guard, Hit
from dataplane.realtime.effects import Ask, Effect, Finish, Tell
from dataplane.realtime.events import Event
from dataplane.realtime.inspection.ears import Ears
from dataplane.realtime.inspection.questions import Questions
from dataplane.realtime.inspection.spoken import Spoken
from dataplane.realtime.inspection.telling import Telling
from tests.dataplane.guardrails.guards import remote, words

KIND = "conversation.item.input_audio_transcription"


def listening(model: str) -> Event:
    return {"type": "realtime", "audio": {"input": {"transcription": {"model": model}}}}


def asked(ears: Ears) -> object:
    """What the server is asked to transcribe with."""
    found = ears.ask()
    return None if found is None else found["audio"]


def test_what_a_server_does_not_take_is_not_asked_of_it_again() -> None:
    ears = Ears(["first", "second"])
    ears.created(listening("its own"))
    assert asked(ears) is None
    ears.heed({"audio": {"input": {"transcription": None}}})
    for model in ("its own", "first", "second"):
        assert asked(ears) == {"input": {"transcription": {"model": model}}}
        ears.refused()
    ears.refused()
    assert asked(ears) is None


def test_an_update_that_holds_no_object_says_nothing_of_transcription() -> None:
    sessions: list[object] = ["all", {"audio": 5}, {"audio": {"input": []}}]
    for session in sessions:
        event: Event = {"type": "session.update", "session": session}
        assert Ears(["first"]).update(event) == (event, None)


def test_a_session_ends_once() -> None:
    effects: deque[Effect] = deque()
    telling = Telling(effects, lambda: "own")
    rule = words("bad", action="block").rule
    ends = Hit(rule, "words[0]", "block", shadow=False)
    refuses = ends._replace(guardrail=rule.model_copy(update={"refuse_turn": True}))
    assert telling.block(refuses, "e" * 10_000)
    assert not telling.block(ends)
    assert not telling.block(ends)
    assert not telling.block(refuses)
    assert [type(each) for each in effects] == [Tell, Finish]


class Nobody:
    """Withholds nothing."""

    def hold(self, response_id: str) -> None: ...

    def release(self, response_id: str) -> None: ...

    def refuse(self, response_id: str) -> None: ...

    def spurn(self) -> None: ...


def spoken(ears: Ears | None, *guards: Guard) -> tuple[Spoken, Questions, deque[Effect], list[object]]:
    effects: deque[Effect] = deque()
    questions, shown = Questions(effects), list[object]()
    made = Spoken(
        guards,
        questions,
        Telling(effects, lambda: "own"),
        ears=ears,
        withholding=Nobody(),
        settled=lambda _: None,
        refused=lambda _: None,
        show=shown.append,
    )
    return made, questions, effects, shown


def test_speech_under_masks_alone_waits_for_nothing() -> None:
    heard, _, effects, _ = spoken(None, words("bad"))
    heard.commit()
    heard.uncommitted()
    heard.committed("item")
    heard.begun("response")
    heard.unheard("item")
    heard.close()
    assert heard.clear
    assert not effects


def test_what_the_client_did_not_ask_for_is_not_shown() -> None:
    heard, questions, effects, shown = spoken(Ears(["first"]), remote())
    about: Event = {"item_id": "item", "content_index": 0}
    heard.committed("item")
    assert heard.read(f"{KIND}.completed", {"type": f"{KIND}.completed", **about, "transcript": "Hello"}) == []
    (ticket,) = [each.ticket for each in effects if isinstance(each, Ask)]
    questions.answer(ticket, Answer())
    assert heard.clear
    assert shown == []


def test_what_the_model_has_said_is_shown_all_the_same() -> None:
    heard, *_ = spoken(Ears(["first"]), remote())
    part: Event = {"type": "output_audio", "transcript": "Hi"}
    told: Event = {"type": "conversation.item.added", "item": {"id": "i", "role": "assistant", "content": [part]}}
    assert heard.read("conversation.item.added", told) == [told]
