"""What is estimated of turns and transcriptions that nobody reported, and what never is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dataplane.metering.usage import Tokens
from dataplane.realtime import frames
from dataplane.realtime.terms import Terms
from tests.dataplane.realtime.line import TOKENS, USAGE, Line
from tests.dataplane.realtime.play import KEY, TERMS, Frame, Turn, play, upstream
from tests.dataplane.realtime.sayings import CREATED, begun

BUFFER = "input_audio_buffer"
HEARD = "conversation.item.input_audio_transcription"
SECOND = "A" * 64_000
"""One second of audio, as it is unless somebody says otherwise."""
PCMU, PCM = {"type": "audio/pcmu"}, {"type": "audio/pcm", "rate": 24_000}
HOLLOW: list[object] = [
    None,
    {},
    [],
    "x",
    {"total_tokens": 5},
    {"input_tokens": None, "output_tokens": None, "input_token_details": None},
    {"input_token_details": {}, "output_token_details": {"text_tokens": "9"}},
]


def opened(terms: Terms = TERMS, /, **session: object) -> Line:
    line = Line(terms)
    line.upstream("session.created", session=session)
    return line


def said(line: Line, name: str, audio: str = SECOND, parts: int = 10) -> Line:
    """The model speaks, with a transcript."""
    size = len(audio) // parts
    for at in range(parts):
        where = {"event_id": f"event_{at}", "response_id": name, "item_id": "i1", "output_index": 0}
        line.passes("response.output_audio.delta", **where, delta=audio[at * size : (at + 1) * size])
    line.passes("response.output_audio_transcript.delta", response_id=name, delta="Hello")
    return line


def lost(line: Line) -> tuple[Tokens | None, bool]:
    """What is made of the turn when the upstream is gone."""
    line.session.abandon()
    line.effects += line.session.effects()
    last = line.metered[-1]
    assert last.status == "lost"
    return last.tokens, last.estimated


# -- output --------------------------------------------------------------------------------------------------------


def test_a_lost_turn_has_what_was_heard_of_it() -> None:
    line = said(opened().begun("r1"), "r1")
    assert lost(line) == (Tokens(output_audio=20, output_text=1), True)
    assert (line.session.noted.tokens, line.session.noted.estimated) == (
        Tokens(),
        Tokens(output_audio=20, output_text=1),
    )


@pytest.mark.parametrize("usage", HOLLOW)
def test_a_turn_whose_usage_is_hollow_keeps_its_status(usage: object) -> None:
    line = said(opened().begun("r1"), "r1").done("r1", "cancelled", usage)
    assert line.turns == [("r1", "cancelled", Tokens(output_audio=20, output_text=1))]
    assert line.metered[0].estimated


@pytest.mark.parametrize("usage", [USAGE, {"output_tokens": 0}, {"input_tokens": 0, "output_tokens": 0}])
def test_a_turn_that_was_reported_is_never_estimated(usage: object) -> None:
    line = said(opened().begun("r1"), "r1").done("r1", "completed", usage)
    [usage_] = line.metered
    assert not usage_.estimated
    assert usage_.tokens == (TOKENS if usage is USAGE else Tokens())
    assert (line.session.noted.tokens, line.session.noted.estimated) == (usage_.tokens, Tokens())


@pytest.mark.parametrize(
    "session",
    [
        {"audio": {"output": {"format": PCMU}}},
        {"audio": {"output": {"format": {"type": "audio/pcma"}}}},
        {"output_audio_format": "g711_ulaw"},
        {"output_audio_format": "g711_alaw"},
        {"audio": {"output": {"format": {"type": "audio/pcm", "rate": 8000}}}, "x": "half"},
    ],
)
def test_how_long_audio_is_hangs_on_its_format(session: dict[str, object]) -> None:
    times = 3 if "x" in session else 6
    line = said(opened(**session).begun("r1"), "r1")
    assert lost(line) == (Tokens(output_audio=20 * times, output_text=1), True)


@pytest.mark.parametrize("rate", [None, True, "24000", 0, -1, 10**9])
def test_a_rate_that_is_none_is_the_usual_one(rate: object) -> None:
    line = said(opened(audio={"output": {"format": {"type": "audio/pcm", "rate": rate}}}).begun("r1"), "r1")
    assert lost(line)[0] == Tokens(output_audio=20, output_text=1)


def test_a_response_may_have_a_format_of_its_own() -> None:
    line = opened(audio={"output": {"format": PCMU}})
    line.upstream("response.created", response={"id": "r1", "audio": {"output": {"format": PCM}}})
    assert lost(said(line, "r1"))[0] == Tokens(output_audio=20, output_text=1)


@pytest.mark.parametrize("terms", [replace(TERMS, log_events=frozenset({"*"})), replace(TERMS, beta=True)])
def test_what_was_read_counts_like_what_was_not(terms: Terms) -> None:
    line = opened(terms).begun("r1")
    for _ in range(10):
        line.upstream("response.output_audio.delta", response_id="r1", delta=SECOND[:6400])
    line.upstream("response.output_audio_transcript.delta", response_id="r1", delta="Hello")
    line.upstream("response.output_text.delta", response_id="other", delta="Hello")
    assert lost(line)[0] == Tokens(output_audio=20, output_text=1)


def test_audio_in_fragments_counts_like_audio_in_one() -> None:
    payload = b'{"type":"response.output_audio.delta","response_id":"r1","delta":"%s"}' % SECOND.encode()
    whole = play() >> upstream(CREATED, begun("r1"), payload.decode())
    parts = play() >> upstream(CREATED, begun("r1"))
    pieces = [payload[at : at + 4096] for at in range(0, len(payload), 4096)]
    for at, piece in enumerate(pieces):
        parts >> upstream(Frame(0 if at else 1, piece, at == len(pieces) - 1))
    for dialogue in (whole, parts):
        dialogue.take(dialogue.relay.upstream_lost()) << Turn("r1", "lost", Tokens(output_audio=20), estimated=True)


def test_text_in_fragments_is_one_delta_and_unknown_events_are_none() -> None:
    dialogue = play() >> upstream(CREATED, begun("r1"))
    for kind in ("response.output_text.delta", "who.knows"):
        payload = b'{"type":"%s","delta":"%s"}' % (kind.encode(), b"A" * 5000)
        dialogue >> upstream(Frame(1, payload[:1000], False), Frame(0, payload[1000:], True))
    dialogue.take(dialogue.relay.upstream_lost()) << Turn("r1", "lost", Tokens(output_text=1), estimated=True)


def test_concurrent_turns_have_each_its_own() -> None:
    line = opened().begun("r1", "r2")
    said(said(line, "r1"), "r2", SECOND * 2).done("r2", usage=None).done("r1", usage=None)
    assert [(name, tokens.output_audio) for name, _, tokens in line.turns if tokens] == [("r2", 40), ("r1", 20)]


def test_audio_that_does_not_come_last_in_its_event_is_a_little_longer() -> None:
    line = opened().begun("r1")
    line.passes("response.output_audio.delta", delta=SECOND, response_id="r1")
    assert lost(line)[0] == Tokens(output_audio=20)


# -- input ---------------------------------------------------------------------------------------------------------


def utterance(line: Line, start: object = 0, end: object = 1630) -> Line:
    line.upstream(f"{BUFFER}.speech_started", audio_start_ms=start, item_id="i1")
    line.upstream(f"{BUFFER}.speech_stopped", audio_end_ms=end, item_id="i1")
    line.upstream(f"{BUFFER}.committed", item_id="i1")
    return line


def test_a_lost_turn_read_what_the_last_one_read_and_said_and_what_the_user_said_since() -> None:
    line = utterance(opened(instructions="x" * 400).begun("r1").done("r1", usage=USAGE)).begun("r2")
    assert lost(line) == (Tokens(input_text=10, input_unknown=5, input_audio=16), True)


def test_a_first_turn_read_the_instructions() -> None:
    line = utterance(opened(instructions="x" * 399)).begun("r1")
    assert lost(line) == (Tokens(input_text=100, input_audio=16), True)


def test_an_estimated_turn_is_a_part_of_what_the_next_one_reads() -> None:
    line = said(utterance(opened()).begun("r1"), "r1").done("r1", usage=None)
    line = utterance(line, 5000, 6000).begun("r2").done("r2", usage=None)
    assert line.turns[1] == ("r2", "completed", Tokens(input_audio=16 + 20 + 10, input_text=1))


@pytest.mark.parametrize("end", [None, "1630", True, -1, float("nan"), 1e300])
def test_where_the_length_of_speech_is_not_said_it_is_that_of_the_audio(end: object) -> None:
    line = opened()
    line.session.sent.audio += len(SECOND) * 3
    line.upstream(f"{BUFFER}.speech_started", audio_start_ms=3000)
    line.session.sent.audio += len(SECOND)
    line.upstream(f"{BUFFER}.speech_stopped", audio_end_ms=end)
    line.upstream(f"{BUFFER}.committed", item_id="i1")
    assert lost(line.begun("r1"))[0] == Tokens(input_audio=10)


def test_speech_that_ends_before_it_began_is_none() -> None:
    assert lost(utterance(opened(), 5000, 3000).begun("r1")) == (None, False)


def test_no_utterance_is_longer_than_an_hour() -> None:
    assert lost(utterance(opened(), 0, 1e11).begun("r1"))[0] == Tokens(input_audio=36_000)


def test_with_push_to_talk_what_counts_is_what_was_sent_before_each_commit() -> None:
    line = opened(audio={"input": {"turn_detection": None, "format": PCMU}})
    for seconds in (1, 2):
        line.session.sent.audio += len(SECOND) // 6 * seconds
        line.client({"type": f"{BUFFER}.commit"})
    line.session.sent.audio += len(SECOND)
    line.upstream(f"{BUFFER}.committed", item_id="i1")
    line.begun("r1").done("r1", usage=None)
    line.upstream(f"{BUFFER}.committed", item_id="i2")
    line.begun("r2").done("r2", usage=None)
    assert [tokens for _, _, tokens in line.turns] == [Tokens(input_audio=10), Tokens(input_audio=30)]


def test_audio_that_was_cleared_was_never_heard() -> None:
    line = opened()
    line.session.sent.audio += len(SECOND)
    line.upstream(f"{BUFFER}.cleared")
    line.session.sent.audio += len(SECOND) // 2
    line.upstream(f"{BUFFER}.committed", item_id="i1")
    assert lost(line.begun("r1"))[0] == Tokens(input_audio=5)


def test_audio_that_a_client_sends_is_measured_read_or_unread() -> None:
    for terms in (TERMS, replace(TERMS, log_events=frozenset({f"{BUFFER}.append"}))):
        dialogue = play(terms) >> upstream(CREATED)
        append = b'{"type":"%s.append","event_id":"e1","audio":"%s"}' % (BUFFER.encode(), SECOND[:32_000].encode())
        for data in (append, append.replace(b",", b" , ")):
            dialogue.feed("client", frames.frame(frames.TEXT, data, KEY))
        dialogue >> upstream({"type": f"{BUFFER}.committed", "item_id": "i1"}, begun("r1"))
        dialogue.heard["ledger"].clear()
        dialogue.take(dialogue.relay.upstream_lost())
        assert Turn("r1", "lost", Tokens(input_audio=10), estimated=True) in dialogue.heard["ledger"]


def test_items_that_a_client_adds_are_read() -> None:
    line = opened()
    for item in (
        {"type": "message", "content": [{"type": "input_text", "text": "x" * 40}, {"type": "input_image"}, 5]},
        {"type": "message", "content": [{"type": "input_audio", "audio": SECOND}, {"text": 5}]},
        {"type": "function_call_output", "output": "x" * 20},
        {"type": "function_call", "arguments": "x" * 20},
        {"content": "?"},
        None,
    ):
        line.client({"type": "conversation.item.create", "item": item})
    assert lost(line.begun("r1"))[0] == Tokens(input_text=20, input_audio=10)


def test_a_turn_out_of_band_adds_nothing_to_the_conversation() -> None:
    line = utterance(opened())
    line.upstream("response.created", response={"id": "aside", "conversation_id": None})
    line.done("aside", usage=USAGE).begun("r1").done("r1", usage=None)
    line.upstream("response.done", response={"id": "unsaid", "conversation_id": None, "usage": USAGE})
    line.begun("r2").done("r2", usage=None)
    assert line.turns[1] == ("r1", "completed", Tokens(input_audio=16))
    assert line.turns[3] == ("r2", "completed", Tokens(input_audio=16))


# -- where nothing was seen ----------------------------------------------------------------------------------------


def test_of_what_nothing_was_seen_nothing_is_said() -> None:
    assert lost(opened().begun("r1")) == (None, False)
    line = opened().done("r1", usage=None)
    assert (line.turns, line.metered[0].estimated) == ([("r1", "completed", None)], False)


def test_what_failed_before_it_said_anything_cost_nothing() -> None:
    line = utterance(opened()).begun("r1").done("r1", "failed", None)
    assert (line.turns, line.metered[0].estimated) == ([("r1", "failed", None)], False)
    line = said(utterance(opened()).begun("r1"), "r1").done("r1", "failed", None)
    assert line.turns == [("r1", "failed", Tokens(input_audio=16, output_audio=20, output_text=1))]


# -- transcription -------------------------------------------------------------------------------------------------


def transcribing(model: str = "gpt-4o-transcribe") -> Line:
    return opened(audio={"input": {"transcription": {"model": model}}})


@pytest.mark.parametrize(
    ("model", "tokens"), [("whisper-1", Tokens(seconds=1.63)), ("gpt-4o-transcribe", Tokens(input_audio=16))]
)
def test_a_transcription_that_never_came_is_lost_at_its_own_model(model: str, tokens: Tokens) -> None:
    line = utterance(transcribing(model))
    line.upstream("session.updated", session={})
    assert lost(line) == (tokens, True)
    last = line.metered[-1]
    assert (last.operation, last.response_id, last.request_model) == ("transcription", "i1", model)
    assert (line.session.noted.over, line.session.noted.estimated) == (0, tokens)


@pytest.mark.parametrize("read", [False, True])
def test_a_transcript_that_was_seen_in_part_was_written_in_part(read: bool) -> None:
    line = utterance(Line(replace(TERMS, log_events=frozenset({"*"}))) if read else transcribing())
    if read:
        line.upstream("session.created", session={"input_audio_transcription": {"model": "gpt-4o-transcribe"}})
        utterance(line)
    for item in ("i1", "i1", "i2"):
        fields = {"event_id": "e1", "item_id": item, "content_index": 0, "delta": "Hel"}
        if read:
            line.upstream(f"{HEARD}.delta", **fields)
        else:
            line.passes(f"{HEARD}.delta", **fields)
    assert lost(line)[0] == Tokens(input_audio=16, output_text=2)


@pytest.mark.parametrize("usage", HOLLOW)
def test_a_transcription_whose_usage_is_hollow_is_estimated(usage: object) -> None:
    line = utterance(transcribing())
    line.upstream(f"{HEARD}.completed", item_id="i1", usage=usage)
    assert line.turns == [("i1", "completed", Tokens(input_audio=16))]
    assert line.metered[0].estimated


def test_a_transcription_that_was_reported_is_never_estimated() -> None:
    for usage in ({"seconds": 0}, {"input_tokens": 0}):
        line = utterance(transcribing())
        line.upstream(f"{HEARD}.completed", item_id="i1", usage=usage)
        assert (line.turns, line.metered[0].estimated) == ([("i1", "completed", Tokens())], False)


def test_a_lost_transcription_of_unknown_length_is_counted_all_the_same() -> None:
    line = transcribing()
    line.upstream(f"{BUFFER}.committed", item_id="i1")
    assert lost(line) == (None, False)
    line.upstream(f"{HEARD}.completed", item_id="i1", usage={"input_tokens": 5})
    assert len(line.metered) == 1
