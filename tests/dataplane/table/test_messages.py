"""What is said arrives as it was said; everything else is refused, and not quoted."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from dataplane.table import CallerKey, CallerSet, Route, Table, delta, messages, sealed
from dataplane.table.messages import (
    BadMessage,
    Done,
    Failing,
    HealthMessage,
    Hello,
    Holds,
    Offer,
    PartsMessage,
    Refuse,
    SecretsMessage,
    Stale,
    Want,
)
from dataplane.table.watermark import Watermark
from tests.dataplane.rig import SECRETS, backend, provider, table

ONE = "1" * 64
AT = Watermark(epoch=2, versions={"backends": 7})
OUTLINE, PARTS = delta.outlined(table(backend(provider("https://a.test/v1"))))
TABLE = delta.table_hash(OUTLINE)
OFFER = Offer(schema_number=2, table=TABLE, watermark=AT, outline=OUTLINE)


@pytest.mark.parametrize(
    "message",
    [
        Hello(schemas=(2, 1), table=ONE, watermark=AT, pod="p", version="v"),
        Hello(schemas=(2,)),
        Want(table=ONE, parts=(ONE,), secrets=("a@1",)),
        Holds(table=ONE, watermark=AT),
        Refuse(table=ONE, reasons=("no",)),
        Stale(table=ONE, watermark=AT),
        HealthMessage(unhealthy={"ai/voice": {"eu": Failing(reason="lost", why="gone")}}, healthy=("ai/chat",)),
        HealthMessage(healthy=None),
    ],
)
def test_what_a_data_plane_says(message: messages.FromDataPlane) -> None:
    assert messages.read_by_controller(messages.encode(message)) == message


@pytest.mark.parametrize(
    "message",
    [
        OFFER,
        Offer(schema_number=2, table=TABLE, watermark=AT, hears=("health",)),
        PartsMessage(table=ONE, parts=(("route", ONE, {"name": "r"}),)),
        SecretsMessage(table=ONE, values={"a@1": SecretStr("sk-1")}),
        Done(table=ONE),
    ],
)
def test_what_a_controller_says(message: messages.FromController) -> None:
    assert messages.read_by_data_plane(messages.encode(message)) == message


def test_fields_of_a_later_version_are_passed_over() -> None:
    said = orjson.loads(messages.encode(Done(table=ONE))) | {"colour": "red"}
    assert messages.read_by_data_plane(orjson.dumps(said).decode()) == Done(table=ONE)


def test_an_answer_in_pieces() -> None:
    big = CallerSet(id="big", namespace="ai", keys=tuple(CallerKey(name=f"k{n}", sha256=ONE) for n in range(5000)))
    routes = [sealed(Route(name=f"route-{number}")) for number in range(10_000)]
    _, parts = delta.outlined(Table(routes=tuple(routes), callers=(big,)))
    texts = list(messages.in_pieces(ONE, delta.written(parts), {**SECRETS, "t": SecretStr('"ü\n')}))
    said = [messages.read_by_data_plane(text) for text in texts]
    assert [each.type for each in said].count("parts") > 3
    assert [len(text) > messages.PIECE + 200 for text in texts].count(True) == 1, "the one part that is larger"
    come = {part.hash: delta.read(part) for each in said if isinstance(each, PartsMessage) for part in each.written()}
    assert come == parts
    assert said[-2] == SecretsMessage(table=ONE, values={**SECRETS, "t": SecretStr('"ü\n')})
    assert said[-1] == Done(table=ONE)


def test_nothing_in_pieces() -> None:
    assert list(messages.in_pieces(ONE, (), {})) == [messages.encode(Done(table=ONE))]


def test_reasons_are_as_many_and_as_long_as_fit() -> None:
    refusal = Refuse.because(ONE, ["x" * 5000] * 100)
    assert (len(refusal.reasons), len(refusal.reasons[0])) == (messages.REASONS, messages.REASON)
    assert messages.read_by_controller(messages.encode(refusal)) == refusal


def test_an_outline_of_another_table() -> None:
    said = orjson.loads(messages.encode(OFFER))
    for changed in (said | {"table": ONE}, said | {"schema": 1}):
        with pytest.raises(BadMessage, match="its outline is that of another table"):
            messages.read_by_data_plane(orjson.dumps(changed).decode())


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"{}", "is binary"),
        ("", "is no JSON"),
        ("[]", "cannot be read"),
        ('{"type":"offer"}', "does not match any of the expected tags"),
        ('{"type":"want","table":"sk-1"}', "want.table: String should match pattern"),
        ('{"type":"hello","schemas":[]}', "hello.schemas"),
        ('{"type":"hello","schemas":["sk-1"]}', "hello.schemas.0"),
        (f'{{"type":"want","table":"{ONE}","parts":[{",".join(["1"] * 2001)}]}}', "want.parts"),
        (f'{{"type":"holds","table":"{ONE}","watermark":{{"epoch":-1}}}}', "holds.watermark.epoch"),
        ('{"type":"hello","pod":"' + "x" * (1024 * 1024) + '"}', "more than 1,048,576 characters"),
        (f'{{"type":"refuse","table":"{ONE}","reasons":["{"x" * 1025}"]}}', "refuse.reasons.0"),
    ],
)
def test_what_a_controller_does_not_understand(said: str | bytes, words: str) -> None:
    with pytest.raises(BadMessage, match=words) as raised:
        messages.read_by_controller(said)
    assert "sk-1" not in str(raised.value)


VALUES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8"), max_size=9)
NAMES = st.sampled_from(["type", "table", "parts", "schemas", "offer", "want", "holds"])


@given(st.recursive(VALUES | NAMES, lambda each: st.lists(each, max_size=3) | st.dictionaries(NAMES, each)))
def test_whatever_is_said_is_refused(said: object) -> None:
    text = orjson.dumps(said).decode()
    for read in (messages.read_by_controller, messages.read_by_data_plane):
        with pytest.raises(BadMessage):
            read(text)


def test_no_text_shows_a_secret() -> None:
    said = SecretsMessage(table=ONE, values={"a@1": SecretStr("sk-1")})
    assert "sk-1" not in repr(said) + str(said)
    with pytest.raises(BadMessage) as raised:
        messages.read_by_data_plane(messages.encode(said).replace('"sk-1"', '["sk-1"]'))
    assert "sk-1" not in str(raised.value)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("two\nlines,\tand  more\u2028", "two lines, and more"),
        ("\x1b[31mred\u202e \ud800", "?[31mred? ?"),
        ("x" * messages.WHY, "x" * messages.WHY),
        ("x" * 9999, "x" * (messages.WHY - 1) + "…"),
    ],
)
def test_what_a_provider_says_is_one_short_line(said: str, told: str) -> None:
    assert Failing.because("lost", said) == Failing(reason="lost", why=told)


@pytest.mark.parametrize("letter", ["x", '"', "\u20ac", "\U0001f600"])
def test_however_much_is_unhealthy_a_controller_reads_what_is_said_of_it(letter: str) -> None:
    failing = {f"p{number:062}": Failing.because("credential", letter * 999) for number in range(32)}
    many = {f"{'n' * 63}/{number:0253}": failing for number in range(3000)}
    said = HealthMessage.of(many, list(many)[:1000])
    text = messages.encode(said)
    assert len(text.encode()) < messages.LARGEST_ASKED
    assert messages.read_by_controller(text) == said
    assert 0 < len(said.unhealthy) < 100
    few = {name: {"eu": Failing(reason="lost", why="gone")} for name in many}
    assert list(HealthMessage.of(few, ()).unhealthy) == sorted(few)[: messages.BACKENDS]
    assert HealthMessage.of({}, list(many)).healthy is None
