"""The models that a client names inside its session: which it may, and what either side calls them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.metering.usage import Tokens
from dataplane.realtime import endings
from dataplane.realtime.effects import Finish
from dataplane.realtime.names import _GIVEN
from dataplane.realtime.steps import KEEP, Verdict
from dataplane.table import Model, ModelAllow, Target
from tests.dataplane.realtime.fuzzing import models_named
from tests.dataplane.realtime.line import Line
from tests.dataplane.realtime.play import TERMS, Close, Gone, Over, Turn, client, play, upstream
from tests.dataplane.realtime.sayings import CREATED

FEW = (ModelAllow(policy="ai/few", patterns=("gpt-realtime", "whisper-*", "hear")),)
DECLARED = (
    Model(name="hear", targets=(Target(provider="openai", model="gpt-4o-transcribe"),)),
    Model(name="whisper-eu", targets=(Target(provider="elsewhere", model="whisper-1"),)),
)
LIMITED = replace(TERMS, allow=FEW)
NAMELESS = replace(LIMITED, public_model="", upstream_model="")
"""A session that was opened to transcribe."""
GA, BETA = "session.audio.input.transcription", "session.input_audio_transcription"
PLACES = [
    ("session.update", GA),
    ("session.update", BETA),
    ("transcription_session.update", GA),
    ("transcription_session.update", BETA),
    ("transcription_session.update", BETA.removeprefix("session.")),
    ("response.create", GA.replace("session", "response")),
    ("response.create", BETA.replace("session", "response")),
    ("who.knows", GA),
]


def event(kind: str, where: str, value: object, **more: object) -> dict[str, object]:
    """An event with a value at a place of it."""
    found: object = value
    for name in reversed(where.split(".")):
        found = {name: found}
    assert isinstance(found, dict)
    return {"type": kind, "event_id": "mine", **found, **more}


def transcriber(verdict: Verdict) -> object:
    """The model that transcribes, of what goes upstream."""
    assert isinstance(verdict, tuple)
    [payload] = verdict
    session = json.loads(payload)["session"]
    return session["audio"]["input"]["transcription"]["model"]


def refusal(line: Line) -> tuple[object, object, object]:
    [(to, told)] = line.told
    line.effects.clear()
    assert to == "client"
    error = told["error"]
    assert isinstance(error, dict)
    return error["code"], error["param"], error["event_id"]


@pytest.mark.parametrize("terms", [LIMITED, NAMELESS])
@pytest.mark.parametrize(("kind", "where"), PLACES)
def test_only_allowed_models_transcribe(kind: str, where: str, terms: object) -> None:
    line = Line(terms)  # type: ignore[arg-type]
    assert line.client(event(kind, where, {"model": "gpt-4o-transcribe", "language": "en"})) == ()
    assert refusal(line) == ("model_not_allowed", f"{where}.model", "mine")
    assert line.client(event(kind, where, {"model": "whisper-1"})) != ()
    assert not list(line.told)


@pytest.mark.parametrize("value", [{}, {"language": "en"}, {"model": None}, {"model": ["whisper-1"]}, {"model": ""}])
@pytest.mark.parametrize("where", [GA, BETA])
def test_where_models_are_limited_the_choice_is_not_left_to_the_upstream(where: str, value: object) -> None:
    line = Line(LIMITED)
    assert line.client(event("session.update", where, value)) == ()
    assert refusal(line) == ("model_not_allowed", f"{where}.model", "mine")


@pytest.mark.parametrize("value", ["whisper-1", [{"model": "whisper-1"}], True, 0])
def test_what_transcribes_is_an_object(value: object) -> None:
    line = Line(LIMITED)
    assert line.client(event("session.update", GA, value)) == ()
    assert refusal(line)[0] == "model_not_allowed"


@pytest.mark.parametrize(
    "session",
    [
        {"audio": {"input": {"transcription": None}}},
        {"audio": {"input": None}},
        {"audio": None},
        {"audio": {"input": {"turn_detection": None}, "output": {"voice": "marin"}}},
        {"audio": {"input": {"transcription": {"model": "gpt-realtime"}}}},  # the session's own
        {"tools": [{"name": "f", "parameters": {"properties": {"transcription": {}, "model": {}, "Model": {}}}}]},
        {"instructions": "x"},
    ],
)
def test_what_names_no_other_model_goes_on(session: dict[str, object]) -> None:
    line = Line(LIMITED)
    assert line.client({"type": "session.update", "session": {"type": "realtime", **session}}) is KEEP
    assert not list(line.told)


def test_both_spellings_at_once_must_be_allowed() -> None:
    for first, second in (("whisper-1", "gpt-5"), ("gpt-5", "whisper-1")):
        line = Line(LIMITED)
        both = {
            "audio": {"input": {"transcription": {"model": first}}},
            "input_audio_transcription": {"model": second},
        }
        assert line.client({"type": "session.update", "session": both}) == ()
        assert refusal(line)[0] == "model_not_allowed"


@pytest.mark.parametrize(
    "session",
    [
        {"Audio": {}},
        {"audio": {"INPUT": {}}},
        {"audio": {"input": {"Transcription": {"model": "gpt-5"}}}},
        {"audio": {"input": {"tran\u017fcription": {"model": "gpt-5"}}}},
        {"audio": {"input": {"transcription": {"model": "whisper-1", "Model": "gpt-5"}}}},
        {"Input_Audio_Transcription": {"model": "gpt-5"}},
        {"MODEL": "gpt-5"},
    ],
)
def test_fields_in_another_case_are_refused(session: dict[str, object]) -> None:
    line = Line(LIMITED)
    assert line.client({"type": "session.update", "event_id": "mine", "session": session}) == ()
    assert refusal(line) == ("invalid_event", None, "mine")


@pytest.mark.parametrize("session", [{"Audio": {}}, {"audio": {"input": {"transcription": {"Model": "gpt-5"}}}}])
@pytest.mark.parametrize("terms", [TERMS, replace(TERMS, models=DECLARED)])
def test_without_a_limit_anything_may_be_named(terms: object, session: dict[str, object]) -> None:
    line = Line(terms)  # type: ignore[arg-type]
    assert line.client({"type": "session.update", "session": {"type": "realtime", **session}}) is KEEP
    for value in ({"model": "gpt-4o-transcribe"}, {}, None, 5, {"model": 5}, {"model": "whisper-eu"}):
        sent = event("session.update", GA, value)
        sent["session"] = {"type": "realtime", **sent["session"]}  # type: ignore[dict-item]
        assert line.client(sent) is KEEP
    assert not line.effects


@pytest.mark.parametrize("name", ["gpt-5", 7, None, ""])
def test_a_provider_that_overrides_the_model_takes_only_allowed_names(name: object) -> None:
    line = Line(replace(LIMITED, any_model=True, public_model="hear"))
    for kind, holder in (("session.update", "session"), ("response.create", "response")):
        assert line.client({"type": kind, "event_id": "mine", holder: {"model": name}}) == ()
        assert refusal(line) == ("model_not_allowed", f"{holder}.model", "mine")
    for mine in ("hear", "whisper-1", "gpt-realtime"):
        assert line.client({"type": "session.update", "session": {"model": mine}}) != ()


def test_a_session_that_began_without_a_model_may_name_allowed_ones() -> None:
    line = Line(replace(NAMELESS, models=DECLARED))
    for name in ("gpt-5", "", None, 7, ["hear"]):
        assert line.client({"type": "session.update", "event_id": "mine", "session": {"model": name}}) == ()
        assert refusal(line) == ("model_not_allowed", "session.model", "mine")
    verdict = line.client({"type": "session.update", "session": {"type": "transcription", "model": "hear"}})
    assert isinstance(verdict, tuple)
    assert json.loads(verdict[0])["session"]["model"] == "gpt-4o-transcribe"


# -- public names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("terms", [replace(TERMS, models=DECLARED), replace(LIMITED, models=DECLARED)])
@pytest.mark.parametrize("where", [GA, BETA])
def test_a_public_name_goes_on_as_the_upstreams_and_comes_back_as_it_was(terms: object, where: str) -> None:
    line = Line(terms)  # type: ignore[arg-type]
    assert transcriber(line.client(event("session.update", where, {"model": "hear"}))) == "gpt-4o-transcribe"
    told = event("session.updated", where, {"model": "gpt-4o-transcribe", "language": None})
    told["session"] = {"model": "gpt-realtime", **told["session"]}  # type: ignore[dict-item]
    shown = line.said(json.dumps(told).encode())
    assert isinstance(shown, tuple)
    assert json.loads(shown[0]) == json.loads(json.dumps(told).replace("gpt-4o-transcribe", "hear"))
    line.upstream("input_audio_buffer.committed", item_id="i1")
    line.upstream("conversation.item.input_audio_transcription.completed", item_id="i1", usage={"seconds": 1.5})
    [usage] = line.metered
    assert (usage.public_model, usage.request_model) == ("hear", "gpt-4o-transcribe")


def test_a_name_of_the_upstreams_is_shown_as_the_client_wrote_it() -> None:
    line = Line(replace(TERMS, models=DECLARED))
    updated = {"audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}
    assert line.upstream("session.updated", session=updated) is KEEP
    line.client(event("session.update", GA, {"model": "hear"}))
    assert line.upstream("session.updated", session=updated) is not KEEP
    line.client(event("session.update", GA, {"model": "gpt-4o-transcribe"}))
    assert line.upstream("session.updated", session=updated) is KEEP
    assert line.upstream("session.updated", session={"audio": {"input": {"transcription": None}}}) is KEEP
    assert line.upstream("session.updated", session={"audio": None, "input_audio_transcription": []}) is KEEP


def test_a_beta_client_is_shown_its_own_name_in_its_own_shape() -> None:
    line = Line(replace(TERMS, models=DECLARED, beta=True))
    line.client(event("session.update", BETA, {"model": "hear"}))
    told = line.upstream(
        "session.updated", session={"audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}
    )
    assert isinstance(told, tuple)
    assert json.loads(told[0])["session"]["input_audio_transcription"] == {"model": "hear"}


def test_the_sessions_own_name_means_its_own_model() -> None:
    line = Line(replace(LIMITED, public_model="voice", allow=(ModelAllow(policy="ai/p", patterns=("voice",)),)))
    for name in ("voice", "gpt-realtime"):
        sent = line.client(event("session.update", GA, {"model": name}))
        assert transcriber(sent) == "gpt-realtime"


def test_a_name_that_another_provider_serves_is_refused_where_models_are_limited() -> None:
    """Sent as it is, it could mean something else to this provider than what the Backend says."""
    line = Line(replace(LIMITED, models=DECLARED))
    assert line.client(event("session.update", GA, {"model": "whisper-eu"})) == ()
    assert refusal(line) == ("model_not_allowed", f"{GA}.model", "mine")


def test_what_is_remembered_is_bounded() -> None:
    any_name = Model(name="x-*", targets=(Target(provider="openai", model="y-*"),))
    line = Line(replace(TERMS, models=(any_name,)))
    for number in range(3 * _GIVEN):
        line.client(event("session.update", GA, {"model": f"x-{number}"}))
    assert len(line.session.noted.names._given) <= _GIVEN
    line.client(event("session.update", GA, {"model": "x-" + "0" * 100_000}))
    assert sum(map(len, line.session.noted.names._given.values())) < 10_000


def test_what_is_told_of_a_name_is_bounded() -> None:
    elsewhere = Model(name="x-*", targets=(Target(provider="elsewhere"),))
    line = Line(replace(LIMITED, models=(elsewhere,), allow=(ModelAllow(policy="ai/p", patterns=("x-*",)),)))
    for name in ("x-" + "0" * 100_000, "y" * 100_000):
        line.client(event("session.update", GA, {"model": name}))
    assert len(repr(line.effects)) < 3000


# -- what the upstream chooses by itself ---------------------------------------------------------------------------


def listening(model: str) -> dict[str, object]:
    return {"type": "transcription", "audio": {"input": {"transcription": {"model": model}}}}


def ended(line: Line) -> bool:
    found = [effect.ending for effect in line.effects if isinstance(effect, Finish)]
    assert set(found) <= {endings.MODEL_NOT_ALLOWED}
    return bool(found)


@pytest.mark.parametrize(
    "kind", ["input_audio_buffer.committed", "conversation.item.input_audio_transcription.completed"]
)
@pytest.mark.parametrize(
    ("created", "updated", "ends"),
    [
        ("gpt-4o-transcribe", None, True),
        ("gpt-4o-transcribe", "gpt-4o-transcribe", True),  # its update was refused, say
        ("gpt-4o-transcribe", "whisper-1-2027-01-01", False),
        ("gpt-4o-transcribe", "renamed-by-the-vendor", False),
        ("whisper-1", None, False),
        ("", None, False),
    ],
)
def test_a_default_that_is_not_allowed_ends_the_session_when_it_is_used(
    kind: str, created: str, updated: str | None, ends: bool
) -> None:
    for terms in (NAMELESS, LIMITED, TERMS):
        line = Line(terms)
        line.upstream("session.created", session=listening(created))
        if updated is not None:
            line.client(event("session.update", GA, {"model": "whisper-1"}))
            line.upstream("session.updated", session=listening(updated))
        assert not ended(line)
        line.upstream(kind, item_id="i1")
        assert ended(line) == (ends and terms is NAMELESS)


@pytest.mark.parametrize(("model", "ends"), [("gpt-5", True), ("", True), ("whisper-1", False)])
def test_a_session_without_a_model_gets_no_answer_from_one_that_is_not_allowed(model: str, ends: bool) -> None:
    """Some vendors know no `intent`, and begin a session with a model of theirs."""
    line = Line(NAMELESS)
    line.upstream("session.created", session={"model": model} if model else {})
    assert not ended(line)
    line.begun("r1")
    assert ended(line) == ends
    assert not ended(Line(LIMITED).begun("r1"))
    assert not ended(Line(replace(NAMELESS, allow=())).begun("r1"))


def test_a_dialogue_in_which_the_provider_chooses() -> None:
    created = {"type": "session.created", "session": listening("gpt-4o-transcribe")}
    heard = {"type": "input_audio_buffer.committed", "item_id": "i1"}
    late = {"type": "conversation.item.input_audio_transcription.completed", "item_id": "i1", "usage": {"seconds": 1}}
    dialogue = (
        play(NAMELESS) >> upstream(created) << client(created) >> upstream(heard, {"type": "conversation.item.added"})
    )
    dialogue << client(heard)
    error = dialogue.heard["client"].popleft()
    assert isinstance(error, dict)
    assert error["error"]["code"] == "model_not_allowed"
    assert "Policy ai/few does not allow the model 'gpt-4o-transcribe'" in error["error"]["message"]
    close = dialogue.heard["client"].popleft()
    assert isinstance(close, Close)
    assert close.code == 1008
    dialogue >> client(Close(1008)) << client(Gone()) >> upstream(late)
    turn = Turn("i1", tokens=Tokens(seconds=1.0), operation="transcription", model="gpt-4o-transcribe")
    (dialogue << turn << upstream(Close(1000)) >> upstream(Close(1000)) << upstream(Gone())) << Over(
        endings.MODEL_NOT_ALLOWED, 1008
    )
    dialogue.over()


# -- any name, any place -------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["gpt-realtime", "whisper-1", "hear", "gpt-4o-transcribe", "", "whisper-eu", "x"]) | st.text()
VALUES = st.recursive(NAMES | st.none() | st.booleans(), lambda inner: st.lists(inner, max_size=2), max_leaves=3)
KEYS = st.sampled_from(["model", "audio", "input", "transcription", "input_audio_transcription", "Model", "language"])
OBJECTS = st.recursive(VALUES, lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=8)
PLACED = st.one_of(
    st.builds(event, st.just("session.update"), st.sampled_from([GA, BETA, f"{GA}.model", f"{BETA}.model"]), OBJECTS),
    st.fixed_dictionaries({"type": st.sampled_from(["session.update", "response.create"]), "session": OBJECTS}),
)


@given(PLACED, st.booleans())
def test_nothing_goes_on_that_names_a_model_which_is_not_allowed(sent: dict[str, object], nameless: bool) -> None:
    line = Line(replace(NAMELESS if nameless else LIMITED, models=DECLARED))
    verdict = line.client(sent)
    payload = json.dumps(sent).encode() if verdict is KEEP else verdict[0] if verdict else b"{}"
    named = set(models_named(json.loads(payload)))
    assert named <= {"gpt-realtime", "gpt-4o-transcribe"} | {name for name in named if str(name).startswith("whisper-")}
    assert "whisper-eu" not in named
    if "gpt-4o-transcribe" in named:
        assert '"hear"' in json.dumps(sent)


def test_a_dialogue_with_a_limited_session() -> None:
    wanted = {
        "type": "session.update",
        "session": {"type": "realtime", "audio": {"input": {"transcription": {"model": "hear"}}}},
    }
    sent = json.loads(json.dumps(wanted).replace("hear", "gpt-4o-transcribe"))
    updated = {"type": "session.updated", "session": sent["session"]}
    told = {"type": "session.updated", "session": wanted["session"]}
    forbidden = {"type": "session.update", "session": {"input_audio_transcription": {"model": "gpt-4o-transcribe"}}}
    (
        play(replace(LIMITED, models=DECLARED))
        >> upstream(CREATED)
        << client(CREATED)
        >> client(forbidden, wanted)
        << client({"type": "error"})
        << upstream(sent)
        >> upstream(updated)
        << client(told)
    ).over()
