"""What a session counts, learns, refuses and forgets."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.dialects import openai
from dataplane.dialects.openai import MAX_ID
from dataplane.dialects.openai import METERED as METERED_EVENTS
from dataplane.metering.usage import Tokens
from dataplane.realtime import endings
from dataplane.realtime.account import SEEN
from dataplane.realtime.effects import Finish, Logged, Metered, Tell, Unmetered
from dataplane.realtime.gate import SNIFF
from dataplane.realtime.listening import Refused
from dataplane.realtime.session import Session
from dataplane.realtime.steps import KEEP, Verdict
from tests.dataplane.realtime.line import TOKENS, USAGE, WHISPER, Line
from tests.dataplane.realtime.play import TERMS

HEARD = "conversation.item.input_audio_transcription.completed"


# -- turns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["completed", "cancelled", "failed", "incomplete"])
def test_a_turn_is_counted_by_its_own_status(status: str) -> None:
    assert Line().begun("r1").done("r1", status).turns == [("r1", status, TOKENS)]


@pytest.mark.parametrize("status", ["in_progress", "lost", "new", "", None, 1, {}])
def test_an_unknown_status_counts_as_completed(status: object) -> None:
    assert Line().done("r1", status).turns == [("r1", "completed", TOKENS)]


@pytest.mark.parametrize("usage", [None, {}, [], "x", {"input_tokens": None}, {"total_tokens": 3}])
def test_a_turn_without_usage_is_counted_all_the_same(usage: object) -> None:
    line = Line().begun("r1").done("r1", "failed", usage)
    assert line.turns == [("r1", "failed", None)]
    assert (line.session.noted.over, line.session.noted.tokens) == (1, Tokens())


@pytest.mark.parametrize("usage", [{"total_tokens": 77}, {"input_tokens": "12"}, "77", [5]])
def test_usage_that_was_reported_and_cannot_be_read_is_said(usage: object) -> None:
    line = Line().begun("r1").done("r1", "failed", usage).done("r1", "failed", usage)
    line.upstream(HEARD, item_id="i1", usage=usage)
    assert line.effects.count(Unmetered("usage_unreadable")) == 2
    assert [tokens for _, _, tokens in line.turns] == [None, None]


@pytest.mark.parametrize("usage", [None, {}, [], {"input_tokens": None}, {"input_token_details": {}}, USAGE])
def test_usage_that_was_not_reported_is_not_unreadable(usage: object) -> None:
    line = Line().begun("r1").done("r1", "failed", usage)
    line.upstream(HEARD, item_id="i1", usage=usage)
    assert not [effect for effect in line.effects if isinstance(effect, Unmetered)]


def test_concurrent_and_repeated_turns_are_counted_once_each() -> None:
    line = (
        Line()
        .begun("r1", "out of band", "r1")
        .done("out of band")
        .done("r1", "cancelled")
        .done("r1")
        .begun("r1")
        .done("r1")
    )
    assert line.turns == [("out of band", "completed", TOKENS), ("r1", "cancelled", TOKENS)]
    assert (line.session.noted.over, line.session.noted.tokens) == (2, TOKENS + TOKENS)
    assert not line.session.unsettled


def test_a_turn_that_was_never_said_to_begin_is_counted_and_settles_what_was_asked() -> None:
    line = Line()
    line.client({"type": "response.create"})
    assert line.session.unsettled
    assert line.done("r1").turns == [("r1", "completed", TOKENS)]
    assert not line.session.unsettled


def test_a_turn_without_an_id_is_counted_by_its_event() -> None:
    line = Line()
    for event_id in ("e1", "e1", "e2"):
        line.upstream("response.done", event_id=event_id, response={"usage": USAGE})
    line.upstream("response.done", response=None)
    line.upstream("response.done")
    names = [name for name, _, _ in line.turns]
    assert names[:2] == ["e1", "e2"]
    assert len(set(names)) == 4


def test_an_end_without_an_id_is_that_of_the_newest_open_turn() -> None:
    line = Line().begun("r1", "r2")
    for event_id in ("e1", "e1", "e2", "e2", "e1", "e3"):
        line.upstream("response.done", event_id=event_id, response={"usage": USAGE})
    line.session.abandon()
    line.effects += line.session.effects()
    assert line.turns == [(name, "completed", TOKENS) for name in ("r2", "r1", "e3")]


def test_an_end_without_any_id_is_that_of_the_newest_open_turn() -> None:
    line = Line().begun("r1")
    line.upstream("response.done", response={"usage": USAGE})
    line.begun("r2")
    line.upstream("response.done", response={"usage": USAGE})
    line.session.abandon()
    line.effects += line.session.effects()
    assert line.turns == [("r1", "completed", TOKENS), ("r2", "completed", TOKENS)]


def test_a_beginning_without_an_id_is_not_waited_for() -> None:
    line = Line().begun("")
    line.upstream("response.created", response="?")
    assert not line.session.unsettled


def test_what_never_ended_is_lost_once() -> None:
    line = Line().begun("r1", "r2").done("r1")
    line.client({"type": "response.create"})
    line.session.abandon()
    line.session.abandon()
    line.effects += line.session.effects()
    assert line.turns == [("r1", "completed", TOKENS), ("r2", "lost", None)]
    assert not line.session.unsettled


def test_records_say_whose_they_are() -> None:
    line = Line(replace(TERMS, public_model="voice"))
    line.upstream("session.created", session={"model": "gpt-realtime-2025"})
    line.done("r1").done("r2")
    one, two = line.metered
    assert (one.request_model, one.response_model, one.public_model) == ("gpt-realtime", "gpt-realtime-2025", "voice")
    assert (one.operation, one.session, one.route, one.backend) == ("realtime_inference", "s1", "ai/voice", "ai/voice")
    assert one.id != two.id


def test_the_model_is_the_one_that_was_said_last() -> None:
    line = Line()
    for said in ({"model": "a"}, {}, {"model": 7}, None, {"model": "b" * 1000}):
        line.upstream("session.updated", session=said)
    assert line.session.noted.model == "b" * MAX_ID


@pytest.mark.parametrize(
    "error", [{"code": "conversation_already_has_active_response"}, {"code": "x", "param": "response.modalities"}]
)
def test_a_response_that_was_refused_is_not_waited_for(error: object) -> None:
    line = Line()
    line.client({"type": "response.create"})
    line.upstream("error", error={"code": "other", "param": "session.tools"})
    assert line.session.unsettled
    line.upstream("error", error=error)
    line.upstream("error", error=error)
    assert not line.session.unsettled


# -- transcription -------------------------------------------------------------------------------------------------


def listening() -> Line:
    line = Line()
    line.upstream("session.updated", session=WHISPER)
    return line


def test_transcription_is_counted_once_per_part_at_its_own_model() -> None:
    line = listening()
    line.upstream("input_audio_buffer.committed", item_id="i1")
    assert line.session.unsettled
    for index in (0, 0, 1):
        line.upstream(HEARD, item_id="i1", content_index=index, usage={"type": "duration", "seconds": 2})
    assert line.turns == [("i1", "completed", Tokens(seconds=2.0))] * 2
    assert {(usage.operation, usage.request_model, usage.public_model) for usage in line.metered} == {
        ("transcription", "whisper-1", "whisper-1")
    }
    assert (line.session.noted.over, line.session.unsettled) == (0, False)


def test_transcription_without_item_ids_is_counted_by_its_events() -> None:
    line = listening()
    for event_id in ("e1", "e1", "e2", None, None):
        line.upstream(HEARD, event_id=event_id, usage={"input_tokens": 1})
    assert len(line.metered) == 4


@pytest.mark.parametrize("usage", [None, {}, {"seconds": -1}])
def test_transcription_without_usage_is_counted_all_the_same(usage: object) -> None:
    line = listening()
    line.upstream(HEARD, item_id="i1", usage=usage)
    assert line.turns == [("i1", "completed", None)]


def test_a_failed_transcription_is_not_waited_for() -> None:
    line = listening()
    line.upstream("input_audio_buffer.committed", item_id="i1")
    line.upstream("conversation.item.input_audio_transcription.failed", item_id="i1")
    line.upstream("conversation.item.input_audio_transcription.failed", item_id="i2")
    assert (line.session.unsettled, line.metered) == (False, [])


def test_nothing_is_waited_for_where_nothing_is_transcribed() -> None:
    line = listening()
    line.upstream("session.updated", session={"audio": {"input": {"transcription": None}}})
    line.upstream("input_audio_buffer.committed", item_id="i1")
    assert not line.session.unsettled


def test_a_beta_shaped_session_names_its_transcription_model_too() -> None:
    line = Line()
    line.upstream("transcription_session.updated", session={"input_audio_transcription": {"model": "old"}})
    line.upstream(HEARD, item_id="i1", usage={"input_tokens": 1})
    assert line.metered[0].request_model == "old"


# -- leaving -------------------------------------------------------------------------------------------------------


def test_whoever_leaves_cancels_what_runs_and_what_begins_later() -> None:
    line = Line().begun("r1", "r2").done("r1")
    line.session.leave()
    line.begun("r3")
    line.effects += line.session.effects()
    assert [(to, event["type"], event["response_id"]) for to, event in line.told] == [
        ("upstream", "response.cancel", "r2"),
        ("upstream", "response.cancel", "r3"),
    ]


# -- bounds --------------------------------------------------------------------------------------------------------


def test_an_upstream_cannot_fill_the_memory() -> None:
    line = listening()
    for at in range(SEEN + 10):
        line.begun(f"r{at}")
        line.upstream("input_audio_buffer.committed", item_id=f"i{at}")
    lost = [f"{kind}{at}" for at in range(10) for kind in ("r", "i")]
    assert line.turns == [(name, "lost", None) for name in lost]
    line.done("r0").done("r10").session.abandon()
    line.effects += line.session.effects()
    names = [name for name, _, _ in line.turns]
    assert len(names) == len(set(names)) == 2 * (SEEN + 10)
    assert not line.session.unsettled


def test_names_are_kept_short() -> None:
    line = Line(replace(TERMS, log_events=frozenset({"*"})))
    long = "x" * 100_000
    line.upstream("response.done", event_id=long, response={"id": long, "usage": USAGE})
    line.client({"type": long, "event_id": long, "response_id": long})
    logged = [effect for effect in line.effects if isinstance(effect, Logged)]
    assert [len(each.type) for each in logged] == [len("response.done"), MAX_ID]
    assert {len(name) for each in logged for name in (each.event_id, each.response_id)} == {MAX_ID}
    assert len(line.metered[0].response_id) == MAX_ID


# -- first word ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "opened"),
    [
        (b'{"type":"session.created"}', True),
        (b'{"type":"who.knows"}', True),
        (b"nonsense", True),
        (b'{"type":"error","error":{"code":"c","message":"m"}}', Refused("c", "m")),
        (b'{"type":"error"}', Refused("", "")),
    ],
)
def test_the_upstreams_first_word_opens_the_session_or_not(payload: bytes, opened: object) -> None:
    line = Line()
    assert line.session.listening.opened is None
    assert line.session.listening.wants(b'{"type":"who.knows"}', 20)
    assert line.said(payload) is KEEP
    assert line.session.listening.opened == opened
    line.upstream("error")
    assert line.session.listening.opened == opened


@pytest.mark.parametrize("payload", [b"nonsense", b"[]", b"\xff", b""])
def test_what_cannot_be_read_is_relayed_and_said(payload: bytes) -> None:
    line = Line()
    assert line.said(payload) is KEEP
    assert line.effects == [Unmetered("undecodable")]


def test_binary_messages_that_are_no_events_are_said_once() -> None:
    line = Line()
    for payload in (b"{", b"", b'{"type":"who.knows"}', b"[]"):
        assert line.said(payload, binary=True) is KEEP
    line.session.listening.opaque(1)
    assert [*line.effects, *line.session.effects()] == [Unmetered("binary")]


def test_a_number_that_no_machine_holds_is_none() -> None:
    """Where there is a lone surrogate, JSON is read by a reader that knows integers of any length."""
    line = Line()
    for kind, field in (
        (HEARD, b'"usage":{"seconds":%s}'),
        ("input_audio_buffer.speech_stopped", b'"audio_end_ms":%s'),
    ):
        line.said(b'{"type":"%s","x":"\\ud83d",%s}' % (kind.encode(), field % (b"9" * 400)))
    assert line.turns == [(line.turns[0][0], "completed", None)]


def test_a_transcript_that_was_cut_in_the_middle_of_a_character_costs_no_usage() -> None:
    line = Line()
    line.said(b'{"type":"response.done","response":{"id":"r1","output":["\\ud83d"],"usage":{"output_tokens":5}}}')
    assert line.turns == [("r1", "completed", Tokens(output_unknown=5))]


# -- what is read --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "wanted"),
    [
        *((b'{"type":"%s"' % kind.encode(), True) for kind in sorted(METERED_EVENTS)),
        (b'{"type":"response.output_audio.delta","delta":"', False),
        (b'{ "event_id" : "e1",\n"type": "response.output_audio.delta"', False),
        (b'{"event_id":"e1","type":"response.done"', True),
        (b'{"delta":"', True),
        (b'{"type":"response.done', True),
        (b'{"item":{"type":"response.output_audio.delta"', True),
        (b'{"type":"\\u0072esponse.done"', True),
        (b'{"type":1', True),
        (b"", True),
    ],
)
def test_only_what_has_to_be_read_is(head: bytes, wanted: bool) -> None:
    line = Line()
    line.upstream("session.created")
    assert line.session.listening.wants(head[:SNIFF], len(head)) is wanted


@pytest.mark.parametrize("kind", sorted(openai.AUDIO_DELTAS | openai.TEXT_DELTAS))
def test_what_flows_is_noted_as_what_goes_on_unread(kind: str) -> None:
    """The quick answer and the thorough one leave the same behind, which an estimate of the lost turn shows."""
    piece = json.dumps({"type": kind, "response_id": "r1", "delta": "A" * 4000}, separators=(",", ":")).encode()
    quick, thorough = Line(), Line()
    for line in (quick, thorough):
        line.upstream("session.created")
        line.upstream("response.created", response={"id": "r1"})
        assert not line.session.listening.wants(piece[:SNIFF], len(piece))
        assert not line.session.listening.wants(piece[:SNIFF], len(piece))
    assert quick.session.listening.flows(piece, 0, len(piece))
    assert not thorough.session.listening.wants(piece[:SNIFF], len(piece))
    for line in (quick, thorough):
        line.session.abandon()
        line.effects += line.session.effects()
    assert quick.effects == thorough.effects
    assert any(isinstance(effect, Metered) for effect in quick.effects)


@pytest.mark.parametrize(
    "begun",
    [[], ["r1", "r2"]],
    ids=["no turn", "two turns"],
)
def test_nothing_flows_unless_it_is_plain_whose_it_is(begun: list[str]) -> None:
    line = Line()
    line.upstream("session.created")
    for name in begun:
        line.upstream("response.created", response={"id": name})
    for kind in openai.AUDIO_DELTAS | openai.TEXT_DELTAS:
        piece = b'{"type":"%b","response_id":"r1"}' % kind.encode()
        line.session.listening.wants(piece, len(piece))
        assert not line.session.listening.flows(piece, 0, len(piece))


def test_what_is_logged_or_renamed_is_read_too() -> None:
    delta = b'{"type":"response.output_audio.delta"'
    for terms in (
        replace(TERMS, beta=True),
        replace(TERMS, log_events=frozenset({"*"})),
        replace(TERMS, log_events=frozenset({"response.output_audio.delta"})),
    ):
        line = Line(terms)
        line.upstream("session.created")
        line.upstream("response.created", response={"id": "r1"})
        assert line.session.listening.wants(delta, 1000)
        assert not line.session.listening.flows(delta, 0, len(delta))


def test_audio_goes_unread_unless_it_is_logged() -> None:
    assert Session(TERMS).audio is not None
    assert Session(replace(TERMS, log_events=frozenset({"input_audio_buffer.append"}))).audio is None


# -- models --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["session.update", "response.create", "who.knows"])
@pytest.mark.parametrize("holder", ["session", "response"])
@pytest.mark.parametrize("model", ["voice", "gpt-realtime", "gpt-secret", "", None, [], {"a": 1}, 5])
def test_only_this_sessions_model_may_be_named(kind: str, holder: str, model: object) -> None:
    line = Line(replace(TERMS, public_model="voice"))
    verdict = line.client({"type": kind, "event_id": "mine", holder: {"type": "realtime", "model": model}})
    if model in ("voice", "gpt-realtime"):
        assert not list(line.told)
        assert verdict is KEEP if model == "gpt-realtime" else _sent(verdict)[holder]["model"] == "gpt-realtime"
    else:
        assert verdict == ()
        [(to, error)] = line.told
        assert to == "client"
        assert json.loads(json.dumps(error))["error"] | {"message": ""} == {
            "type": "invalid_request_error",
            "code": "model_not_allowed",
            "message": "",
            "param": f"{holder}.model",
            "event_id": "mine",
        }
        assert not line.session.unsettled


def _sent(verdict: Verdict) -> dict[str, dict[str, object]]:
    assert isinstance(verdict, tuple)
    [payload] = verdict
    found: dict[str, dict[str, object]] = json.loads(payload)
    return found


def test_a_provider_that_overrides_the_model_takes_any_name() -> None:
    line = Line(replace(TERMS, any_model=True))
    verdict = line.client({"type": "session.update", "session": {"type": "realtime", "model": "whatever"}})
    assert _sent(verdict)["session"]["model"] == "gpt-realtime"


@pytest.mark.parametrize("kind", ["session.created", "session.updated"])
def test_the_client_is_told_the_name_that_it_knows(kind: str) -> None:
    line = Line(replace(TERMS, public_model="voice"))
    assert _sent(line.upstream(kind, session={"model": "gpt-realtime", "id": "s"})) == {
        "type": kind,
        "session": {"model": "voice", "id": "s"},
    }
    assert line.upstream(kind, session={"model": "another"}) is KEEP
    assert Line().upstream(kind, session={"model": "gpt-realtime"}) is KEEP


def test_a_beta_client_is_told_in_its_own_shape() -> None:
    line = Line(replace(TERMS, beta=True))
    assert line.upstream("response.output_text.delta") == (b'{"type":"response.text.delta"}',)
    assert line.upstream("conversation.item.done", item={}) == ()
    assert line.upstream("rate_limits.updated") is KEEP


def test_an_event_that_cannot_be_written_again_goes_on_as_it_came() -> None:
    line = Line(replace(TERMS, public_model="voice"))
    depth = 1000
    while (verdict := line.said(_nested(depth))) is not KEEP and depth > 800:
        depth -= 1
        assert _sent(verdict)["session"]["model"] == "voice"
    assert verdict is KEEP


def _nested(depth: int) -> bytes:
    return b'{"type":"session.updated","session":{"model":"gpt-realtime","x":' + b"[" * depth + b"]" * depth + b"}}"


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_an_error_repeats_a_clients_event_id_only_where_it_is_one(event_id: object) -> None:
    line = Line()
    line.client({"event_id": event_id, "session": {"model": "gpt-secret"}})
    [(_, error)] = line.told
    detail = error["error"]
    assert isinstance(detail, dict)
    assert detail["event_id"] == (event_id if isinstance(event_id, str) else None)


def test_an_event_id_that_is_no_id_is_not_repeated() -> None:
    line = Line()
    line.client({"event_id": "x" * 100_000, "session": {"model": "gpt-secret"}})
    assert len(repr(line.effects)) < 1000


# -- what no event is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "binary", "code"),
    [
        (b'{"type":"a","type":"b"}', False, "invalid_json"),
        (b"[]", False, "invalid_json"),
        (b'{"Type":"session.update"}', False, "invalid_event"),
        (b'{"type":"session.update","session":{"Model":"x"}}', False, "invalid_event"),
        (b'{"type":"response.cancel"}', True, "invalid_event"),
    ],
)
def test_what_is_no_strict_event_is_answered_by_an_error(payload: bytes, binary: bool, code: str) -> None:
    session = Session(TERMS)
    assert session.read_client(payload, binary=binary) == ()
    [effect] = session.effects()
    assert isinstance(effect, Tell)
    assert isinstance(error := effect.event["error"], dict)
    assert (effect.to, error["code"]) == ("client", code)


def test_text_that_is_not_utf8_ends_the_session() -> None:
    session = Session(TERMS)
    assert session.read_client(b'{"type":"\xff"}', binary=False) == ()
    assert [effect.ending for effect in session.effects() if isinstance(effect, Finish)] == [endings.BAD_UTF8]


def test_names_in_other_objects_may_have_any_case() -> None:
    schema = {"type": "object", "properties": {"Id": {}, "id": {}, "Type": {}, "MODEL": {}}}
    event = {"type": "session.update", "session": {"type": "realtime", "tools": [{"name": "f", "parameters": schema}]}}
    line = Line()
    assert line.client(event) is KEEP
    assert not line.effects


def test_an_event_that_can_be_read_but_not_written_again_is_refused() -> None:
    line = Line(replace(TERMS, public_model="voice"))
    refusals = set()
    for depth in range(900, 1000):
        event = b'{"type":"session.update","session":{"model":"voice","x":' + b"[" * depth + b"]" * depth + b"}}"
        verdict = line.session.read_client(event, binary=False)
        told = [effect.event["error"] for effect in line.session.effects() if isinstance(effect, Tell)]
        assert bool(verdict) != bool(told)
        refusals |= {str(error["message"]) for error in told if isinstance(error, dict)}
    assert "The message cannot be passed on: nested too deeply." in refusals


def test_a_session_that_began_without_a_model_lets_the_client_name_one() -> None:
    line = Line(replace(TERMS, public_model="", upstream_model="", any_model=True))
    assert line.client({"type": "session.update", "session": {"type": "transcription", "model": "x"}}) is KEEP


def test_half_a_surrogate_pair_in_a_name_goes_no_further() -> None:
    """JSON can hold one, UTF-8 cannot: neither logs nor labels nor answers could say it."""
    line = Line()
    line.upstream("session.created", session={"model": "half-\ud83d"})
    line.begun("r-\ude00").done("r-\ude00")
    assert line.session.noted.model == "half-?"
    assert [usage.response_id for usage in line.metered] == ["r-?"]
    refused = Line()
    refused.upstream("error", error={"code": "\ud83d", "message": "no \ud83d\ude00 \ud83d"})
    assert refused.session.listening.opened == Refused("?", "no \N{GRINNING FACE} ?")


# -- what is billed by time ----------------------------------------------------------------------------------------

TIMED = replace(TERMS, bills_time=True, binary_audio=True)


def test_binary_audio_is_measured_both_ways_and_goes_on_unread() -> None:
    session = Session(TIMED)
    session.read_upstream(b'{"type":"session.created","session":{"model":"grok-voice"}}', binary=False)
    second = int(openai.PCM_RATE)
    assert session.read_client(b"\x00" * (2 * second), binary=True) is KEEP
    session.listening.opaque(3 * second)
    assert session.noted.audio_seconds == pytest.approx(5.0, abs=0.01)
    assert not [effect for effect in session.queue if isinstance(effect, Unmetered)]


def test_items_are_billed_by_the_piece_but_for_spoken_ones_and_results() -> None:
    line = Line(TIMED)
    for item in (
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]},
        {"type": "function_call_output", "call_id": "c", "output": "1"},
        {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "AAAA"}]},
    ):
        line.client({"type": "conversation.item.create", "item": item})
    assert line.session.noted.billed == 1


def test_time_has_a_record_of_its_own() -> None:
    used = Tokens(session_seconds=60.0)
    record = Session(TIMED).noted.time(used)
    assert (record.operation, record.tokens) == ("realtime_session_time", used)


def test_whose_turns_the_client_ends_is_told() -> None:
    line = Line(TIMED)
    assert not line.session.noted.manual
    line.upstream("session.updated", session={"turn_detection": {"type": None}})
    assert line.session.noted.manual
