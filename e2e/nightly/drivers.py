"""More drivers for the fuzzer, of the kind of tests/dataplane/realtime/fuzzing.py: any bytes in; an exception is a
finding. They compare what the gateway makes of bytes with what somebody else's code makes of them, or with itself; or
they let the fuzzer choose what Hypothesis chooses in `make test`."""

from __future__ import annotations

import json

from dataplane.affinity import bodies
from dataplane.affinity.hints import Keys, Unsigned
from dataplane.errors import Refusal
from dataplane.http import chat, paths, query, responses, sse
from dataplane.http.relay import Tap
from dataplane.realtime import events
from tests.dataplane.realtime import test_gate
from tests.dataplane.realtime.fuzzing import fuzz_classifier
from tests.dataplane.realtime.readers import first_wins
from tests.dataplane.realtime.test_fuzz import WORDS

HELD = 200
"""Bytes that a stream's reader may hold, so that short inputs reach the limit."""
AUDIO = b'{"type":"input_audio_buffer.append","audio":"'
GATES = tuple(
    test.hypothesis.fuzz_one_input  # type: ignore[attr-defined]
    for test in (
        test_gate.test_a_clients_stream_comes_out_the_same_however_it_is_cut,
        test_gate.test_an_upstreams_stream_comes_out_the_same_however_it_is_cut,
        test_gate.test_messages_and_audio_are_counted_however_they_are_cut,
    )
)


def fuzz_gate(data: bytes) -> None:
    """Streams of either side, cut anywhere, against the slow and simple gate. The first byte says which test it is."""
    GATES[data[0] % len(GATES) if data else 0](data[1:])


def fuzz_words(data: bytes) -> None:
    """Words of JSON and of the protocol (bytes that are no text stand for them), alone and as what stands in an audio
    event: most of what is made of other bytes is no JSON, let alone audio."""
    said = b"".join(WORDS[byte] if byte < len(WORDS) else bytes((byte,)) for byte in data)
    for message in (said, AUDIO + said, AUDIO + said + b'"}'):
        fuzz_classifier(message)


def fuzz_json(data: bytes) -> None:
    """A strict reader takes nothing that Python's own refuses, and reads the same, as does one that takes the first of
    two keys; what is written is read again."""
    try:
        event = events.parse(data)
    except (events.BadEvent, UnicodeDecodeError):
        return
    assert json.loads(data) == first_wins(data) == event
    try:
        written = events.dump(event)
    except events.BadEvent:  # nested too deeply to be written
        return
    assert events.parse(written) == event
    assert events.read(data) is not None


def fuzz_stream(data: bytes) -> None:
    """A stream of events, cut anywhere, comes out as it came, and says the same. The first byte says how it is cut.

    Where a cut goes through the CRLF that ends an event, its LF comes out behind the event, as an empty line."""
    size, data = data[0] % 40 + 1 if data else 1, data[1:]
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    scanner = sse.Scanner(HELD)
    assert b"".join([event for piece in pieces for event in scanner.feed(piece)] + scanner.end()) == data
    for hide in (False, True):
        whole, cut = chat.Outcome(), chat.Outcome()
        relayed = _tapped(chat.StreamTap(whole, len(data), hide=hide), [data])
        again = _tapped(chat.StreamTap(cut, len(data), hide=hide), pieces)
        assert _said(relayed) == _said(again)
        assert whole == cut
        assert hide or relayed == again == data
    assert _tapped(chat.JsonTap(chat.Outcome(), HELD), pieces) == data


KEYS = Keys(b"k" * 32)
SIGNER = KEYS.signer("ai\0here", "ai\0bot")


def fuzz_hints(data: bytes) -> None:
    """A stream of responses with hints, cut anywhere, says the same as when it is cut nowhere, and an answer with its
    hints taken off is as it was. The first byte says how it is cut. Nothing but what was signed is read as a hint."""
    size, data = data[0] % 40 + 1 if data else 1, data[1:]
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    whole, cut = responses.Outcome(), responses.Outcome()
    relayed = _tapped(responses.StreamTap(whole, SIGNER, len(data)), [data])
    assert _said(relayed) == _said(_tapped(responses.StreamTap(cut, SIGNER, len(data)), pieces))
    assert whole == cut
    _tapped(responses.JsonTap(responses.Outcome(), SIGNER, HELD), pieces)
    text = data.decode(errors="surrogateescape")
    for read in (KEYS.read_id, KEYS.read_content):
        try:
            read(text)
        except Unsigned:
            continue
        raise AssertionError(text)
    assert KEYS.read_id(SIGNER.id(data.decode(errors="replace"))).original == data.decode(errors="replace")
    if isinstance(body := _loaded(data), dict):
        _there_and_back(body)


def _there_and_back(body: dict[str, object]) -> None:
    """What was answered may be sent again, and is then as the provider said it."""
    response = {**body, "object": "response"}
    answered = json.loads(json.dumps(response))
    bodies.wrap_answer(answered, SIGNER)
    sent = {"previous_response_id": answered.get("id"), "input": answered.get("output")}
    try:
        bodies.unwrap(sent, KEYS)
    except bodies.Foreign:  # something that is no text stands for an id or a content
        return
    assert sent == {"previous_response_id": response.get("id"), "input": response.get("output")}


def _loaded(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _said(stream: bytes) -> list[bytes]:
    scanner = sse.Scanner(len(stream))
    return [said for event in scanner.feed(stream) + scanner.end() if (said := sse.data(event))]


def _tapped(tap: Tap, pieces: list[bytes]) -> bytes:
    return b"".join(map(tap.feed, pieces)) + tap.end()


def fuzz_target(data: bytes) -> None:
    """A path is refused or has a normal form without odd segments; a query keeps all that is not taken out."""
    raw, _, tail = data.decode("utf-8", "surrogateescape").partition("?")
    try:
        normal = paths.normalised(raw)
    except Refusal:
        normal = None
    if normal is not None:
        assert normal.startswith("/")
        assert not {".", "..", ""} & set(paths.segments_of(normal))
        for segment in paths.segments_of(normal)[:1]:
            rest = paths.stripped(raw, f"/{segment}")
            assert paths.segments_of(paths.normalised(rest)) == paths.segments_of(normal)[1:]
    _query(tail)


def _query(text: str) -> None:
    for name in ("model", "api-key"):
        kept = query.without(text, [name])
        assert query.getall(kept, name) == []
        assert query.without(kept, [name]) == kept
        replaced = query.replaced(text, name, "a b&c=d")
        assert query.getall(replaced, name) == ["a b&c=d"]
        assert query.without(replaced, [name]) == kept


def fuzz_chat(data: bytes) -> None:
    """A request for a completion is refused, or is written so that its model is the one that is wanted."""
    try:
        body = chat.parsed(data)
        chat.model_of(body)
    except Refusal:
        return
    again = chat.parsed(chat.rewritten(body, "wanted"))
    assert chat.model_of(again) == "wanted"
    assert {**body, "model": "", "stream_options": ""} == {**again, "model": "", "stream_options": ""}
    if body.get("stream") is True and isinstance(body.get("stream_options"), dict | None):
        assert chat.asks_usage(again)
