"""Whatever a client hides, the upstream reads nothing that the session did not judge; honest audio always passes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataplane.realtime import frames
from dataplane.realtime.actions import Action, ToClient, ToUpstream
from dataplane.realtime.gate import HOLD
from dataplane.realtime.relay import Relay
from dataplane.realtime.session import Session
from dataplane.realtime.steps import KEEP, Verdict
from tests.dataplane.realtime.play import KEY, TERMS, Frame, wire
from tests.dataplane.realtime.readers import readings

OWN = "gpt-realtime"
ALIAS = replace(TERMS, public_model="voice")
APPEND = "input_audio_buffer.append"


class Line:
    """A session with a client, what its judge was asked, and the whole messages that the upstream got."""

    def __init__(self) -> None:
        self.session = Session(ALIAS)
        self.judged: list[bytes] = []
        """Messages that may be there: the judge let them pass, or put them in another's place."""
        self.told: list[Action] = []
        self._judge = self.session.read_client
        self.session.read_client = self._recorded  # type: ignore[method-assign]
        self.relay = Relay(self.session, mask=lambda: KEY, max_message=1 << 20, max_fragments=1000)
        self.relay.from_upstream(wire({"type": "session.created", "session": {"model": OWN}}, masked=False))
        self._wire = bytearray()

    def _recorded(self, payload: bytes, *, binary: bool) -> Verdict:
        verdict = self._judge(payload, binary=binary)
        self.judged += [payload] if verdict is KEEP else verdict
        return verdict

    def send(self, parts: Iterable[bytes]) -> list[tuple[int, bytes]]:
        """The upstream's whole messages: opcode and payload."""
        for part in parts:
            self._take(self.relay.from_client(part))
            while self.relay.client_behind:
                self._take(self.relay.from_client(b""))
        return list(messages(bytes(self._wire)))

    def _take(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if isinstance(action, ToUpstream):
                self._wire += action.data
            elif isinstance(action, ToClient):
                self.told.append(action)


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    pos, opcode, parts = 0, 0, b""
    while (head := frames.parse_head(data, pos)) is not None and pos + head.size + head.length <= len(data):
        start, pos = pos + head.size, pos + head.size + head.length
        if head.opcode < frames.CLOSE:
            opcode = head.opcode or opcode
            parts += frames.unmasked(data[start:pos], data[start - 4 : start])
            if head.fin:
                yield opcode, parts
                parts = b""


# -- how JSON can be written ---------------------------------------------------------------------------------------

SPACE = st.sampled_from(["", "", " ", "\n\t", "\r\n"])


@st.composite
def names(draw: st.DrawFn, name: str) -> str:
    """A name as it is, or as some reader would take it for the same."""
    at = draw(st.integers(0, len(name) - 1))
    escaped = f"{name[:at]}\\u{ord(name[at]):04x}{name[at + 1 :]}"
    other_case = draw(st.sampled_from([name.capitalize(), name.upper(), name.replace("s", "\u017f")]))
    return '"' + draw(st.sampled_from([name] * 6 + [escaped] * 2 + [other_case])) + '"'


STRANGE = st.sampled_from(
    ["1e999", "9" * 5000, "NaN", "-Infinity", "null", "[]", "{}", "1.5", '"\\ud800"', '"\\/"', '"\\u0022,"', "true",
     "[" * 990 + "]" * 990, '{"a":' * 990 + "1" + "}" * 990, "[" * 5000 + "]" * 5000, '"' + "A" * (HOLD + 500) + '"']
)  # fmt: skip


@st.composite
def objects(draw: st.DrawFn, pairs: list[tuple[str, str]]) -> str:
    """An object with these members, some twice, in any order, with space anywhere."""
    again = draw(st.lists(st.sampled_from(pairs), max_size=1))
    members = []
    for name, value in draw(st.permutations(pairs + again)):
        members.append(draw(SPACE) + draw(names(name)) + draw(SPACE) + ":" + draw(SPACE) + value + draw(SPACE))
    return "{" + ",".join(members) + "}"


KINDS = st.sampled_from(["session.update", "response.create", "transcription_session.update"])
MODELS = st.sampled_from(["gpt-secret", "gpt-secret", OWN, "voice"])
DECOYS = st.sampled_from(
    [
        ("type", f'"{APPEND}"'),
        ("audio", '"AAAA"'),
        ("audio", '"' + "A" * (HOLD + 1000) + '"'),
        ("event_id", '"x"'),
        ("event_id", '"\\",\\"type\\":\\"session.update"'),
        ("session", '{"model": "voice"}'),
        ("item", '{"type": "session.update", "session": {"model": "gpt-secret"}}'),
    ]
)
AUDIO_HEADS = st.sampled_from([f'{{"type":"{APPEND}","audio":"', f'{{ "event_id": "e", "type": "{APPEND}", "audio": "'])


@st.composite
def evil(draw: st.DrawFn) -> bytes:
    """An event that names another model, or asks for a response, behind whatever may hide it."""
    holder = draw(st.sampled_from(["session", "response"]))
    inner = draw(objects([("model", json.dumps(draw(MODELS)))]))
    pairs = [("type", json.dumps(draw(KINDS))), (holder, inner), *draw(st.lists(DECOYS, max_size=2))]
    if draw(st.integers(0, 3)) == 0:
        pairs.append((draw(st.sampled_from(["x", "event_id", "type"])), draw(STRANGE)))
    text = draw(objects(pairs))
    if draw(st.booleans()):
        size = draw(st.sampled_from([4, HOLD - 100, HOLD + 5000]))
        text = draw(AUDIO_HEADS) + "A" * size + draw(st.sampled_from(['",', '",', '\\",', '"'])) + text[1:]
    payload = text.encode()
    match draw(st.integers(0, 20)):
        case 0:
            return draw(st.sampled_from([b"\xef\xbb\xbf", b" ", b"\x00", b"{}"])) + payload
        case 1:
            return payload + draw(st.sampled_from([b"\x00", b"}", b"{}", b" "]))
        case 2:
            return payload.replace(b"A", draw(st.sampled_from([b"\xc0\xa2", b"\xed\xa0\x80", b"\xff"])), 1)
        case 3:
            return payload[:-1]
    return payload


@st.composite
def sent(draw: st.DrawFn, payload: bytes) -> bytes:
    """The message on the wire: text or binary, in one frame or several with control frames between them."""
    opcode = draw(st.sampled_from([frames.TEXT] * 4 + [frames.BINARY]))
    places = sorted(set(draw(st.lists(st.integers(0, len(payload)), max_size=3))))
    data = b""
    for at, (start, end) in enumerate(pairwise([0, *places, len(payload)])):
        piece = Frame(frames.CONTINUATION if at else opcode, payload[start:end], at == len(places))
        data += wire(piece, masked=True)
        if draw(st.booleans()):
            data += wire(Frame(frames.PING, b"hi"), masked=True)
    return data


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> list[bytes]:
    places = sorted(set(draw(st.lists(st.integers(0, len(data)), max_size=6))))
    return [data[start:end] for start, end in pairwise([0, *places, len(data)])]


def check(line: Line, got: list[tuple[int, bytes]]) -> None:
    for opcode, message in got:
        assert opcode == frames.TEXT
        read = readings(message)
        if message not in line.judged:
            assert all(_is_audio(event) for event in read), "only audio goes on without judgement"
        for event in read:
            assert isinstance(event, dict)
            for holder in ("session", "response"):
                inner = event.get(holder)
                if isinstance(inner, dict):
                    assert inner.get("model", OWN) == OWN
    kinds = {
        json.dumps(event.get("type")) for _, message in got for event in readings(message) if isinstance(event, dict)
    }
    if line.relay.ending is None:  # otherwise the upstream may be gone, and nothing is waited for
        assert line.session.unsettled == ('"response.create"' in kinds), "each response that is asked for is known"


def _is_audio(event: object) -> bool:
    return isinstance(event, dict) and event["type"] == APPEND and event.keys() <= {"type", "audio", "event_id"}


@settings(deadline=None, max_examples=400)
@given(st.data())
def test_no_event_slips_past(data: st.DataObject) -> None:
    line = Line()
    stream = b"".join(data.draw(sent(payload)) for payload in data.draw(st.lists(evil(), min_size=1, max_size=3)))
    check(line, line.send(data.draw(cut(stream))))


KNOWN = {
    "type last": b'{"session":{"model":"gpt-secret"},"type":"session.update"}',
    "escaped type": b'{"\\u0074ype":"session.update","session":{"model":"gpt-secret"}}',
    "escaped model": b'{"type":"session.update","session":{"\\u006dodel":"gpt-secret"}}',
    "escaped value": b'{"type":"session.update","session":{"model":"gpt-secre\\u0074"}}',
    "model twice": b'{"type":"session.update","session":{"model":"gpt-secret","model":"gpt-realtime"}}',
    "session twice": b'{"type":"session.update","session":{},"session":{"model":"gpt-secret"}}',
    "other case": b'{"type":"session.update","Session":{"Model":"gpt-secret"}}',
    "other case inside": b'{"type":"session.update","session":{"MODEL":"gpt-secret"}}',
    "long s": '{"type":"\u017fession.update","\u017fession":{"model":"gpt-secret"}}'.encode(),
    "any event": b'{"type":"who.knows","session":{"model":"gpt-secret"}}',
    "no type": b'{"session":{"model":"gpt-secret"}}',
    "strange type": b'{"type":["session.update"],"session":{"model":"gpt-secret"}}',
    "model is a list": b'{"type":"session.update","session":{"model":["gpt-secret"]}}',
    "model is null": b'{"type":"session.update","session":{"model":null}}',
    "in a response": b'{"type":"response.create","response":{"model":"gpt-secret"}}',
    "beta": b'{"type":"transcription_session.update","session":{"model":"gpt-secret"}}',
    "beside audio": b'{"type":"input_audio_buffer.append","audio":"AA","session":{"model":"gpt-secret"}}',
    "behind audio": b'{"type":"input_audio_buffer.append","audio":"AA"}{"session":{"model":"gpt-secret"}}',
}


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("payload", KNOWN.values(), ids=KNOWN)
def test_known_ways_to_name_another_model_are_refused(payload: bytes, binary: bool) -> None:
    line = Line()
    opcode = frames.BINARY if binary else frames.TEXT
    assert line.send([wire(Frame(opcode, payload), masked=True)]) == []
    assert line.told, "the client is told"


@pytest.mark.parametrize("depth", range(960, 1000))
def test_depth_that_can_be_read_but_hardly_written_harms_nobody(depth: int) -> None:
    line = Line()
    nested = b"[" * depth + b"]" * depth
    for payload in (
        b'{"type":"session.update","session":{"type":"realtime","model":"voice","x":%s}}' % nested,
        b'{"type":"session.update","event_id":%s,"session":{"model":"gpt-secret"}}' % nested,
    ):
        check(line, line.send([wire(Frame(frames.TEXT, payload), masked=True)]))
    assert line.relay.ending is None


# -- honest audio --------------------------------------------------------------------------------------------------


def written(sound: str, style: str) -> bytes:
    """One audio event as clients of many languages write it."""
    event = {"type": APPEND, "audio": sound}
    match style:
        case "openai-python":
            return json.dumps(event).encode()
        case "javascript":
            return json.dumps(event, separators=(",", ":")).encode()
        case "event_id first":
            return json.dumps({"event_id": "evt_1", **event}).encode()
        case "event_id last":
            return json.dumps({**event, "event_id": "evt_1"}, separators=(",", ":")).encode()
        case "type last":
            return json.dumps({"audio": sound, "type": APPEND}).encode()
        case "php":
            return json.dumps(event, separators=(",", ":")).replace("/", "\\/").encode()
    return json.dumps(event, indent=2).encode()


STYLES = ["openai-python", "javascript", "event_id first", "event_id last", "type last", "php", "indented"]
SIZES = st.sampled_from([0, 1, 4800, HOLD // 4 * 3 - 60, HOLD // 4 * 3, HOLD, 150_000])


@settings(deadline=None, max_examples=150)
@given(SIZES, st.binary(min_size=1, max_size=48), st.sampled_from(STYLES), st.data())
def test_honest_audio_passes_byte_for_byte(size: int, seed: bytes, style: str, data: st.DataObject) -> None:
    sound = base64.b64encode((seed * (size // len(seed) + 1))[:size]).decode()
    payload = written(sound, style)
    line = Line()
    piece = wire(Frame(frames.TEXT, payload), masked=True)
    assert line.send(data.draw(cut(piece * 2))) == [(frames.TEXT, payload)] * 2
    assert line.told == []
    assert line.relay.ending is None
    assert line.judged == ([payload] * 2 if style == "type last" else [])


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=200), st.sampled_from(STYLES), st.data())
@example(b"", "javascript", None)
def test_honest_audio_in_fragments_passes_whole(sound: bytes, style: str, data: st.DataObject | None) -> None:
    payload = written(base64.b64encode(sound).decode(), style)
    pieces = [Frame(frames.TEXT, payload[:20], False), Frame(frames.PING), Frame(frames.CONTINUATION, payload[20:])]
    stream = b"".join(wire(piece, masked=True) for piece in pieces)
    line = Line()
    assert line.send(data.draw(cut(stream)) if data else [stream]) == [(frames.TEXT, payload)]
    assert line.relay.ending is None
