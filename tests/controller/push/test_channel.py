"""Dialogues on one connection: `>>` is what the gateway says, `<<` what it is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from controller.push import channel
from controller.push.channel import Answer, Channel, Ended, Holding, Refused
from controller.push.publication import Publication, published
from dataplane.table import SCHEMA, delta, messages
from dataplane.table.messages import Failing, HealthMessage, PartsMessage, SecretsMessage
from tests.controller.push.tables import SECRET, SECRETS, mark, parsed, publication, table

FIRST = publication("a", version=1)
SECOND = publication("a", "b", version=2, before=FIRST)
THIRD = publication("a", "b", "c", version=3, before=SECOND)


def name_of(publication: Publication, schema: int = SCHEMA) -> str:
    return publication.offered[schema].table


class Dialogue:
    """A channel, with a clock."""

    def __init__(self, newest: Publication | None = FIRST) -> None:
        self.now = 100.0
        self.channel = Channel(self.now)
        if newest:
            self.channel.publish(newest, self.now)

    def says(self, type_: str, **fields: object) -> Answer | None:
        return self.channel.receive(json.dumps({"type": type_, **fields}), self.now)

    def hello(self, table: str = "", **fields: object) -> None:
        self.says("hello", **{"schemas": [2, 1], "table": table, "watermark": None, **fields})

    def holds(self, publication: Publication) -> Answer | None:
        return self.says("holds", table=name_of(publication), watermark=publication.watermark.model_dump())

    def is_sent(self) -> list[Mapping[str, object]]:
        texts = []
        while (text := self.channel.next_text(self.now)) is not None:
            texts.append(parsed(text))
        return texts

    def is_offered(self) -> str:
        """The table that the only message offers, with its outline."""
        (message,) = self.is_sent()
        assert message["type"] == "offer"
        assert message["outline"]
        return str(message["table"])


def test_a_gateway_that_has_nothing_gets_all_of_it() -> None:
    dialogue = Dialogue()
    assert dialogue.is_sent() == []
    dialogue.hello(version="1.2")
    (offer,) = dialogue.is_sent()
    outline = delta.Outline.model_validate(offer["outline"])
    dialogue.says("want", table=offer["table"], parts=list(outline.names()), secrets=list(outline.secrets))
    parts, secrets, done = (messages.read_by_data_plane(json.dumps(each)) for each in dialogue.is_sent())
    assert isinstance(parts, PartsMessage)
    assert isinstance(secrets, SecretsMessage)
    read = {part.hash: delta.read(part) for part in parts.written()}
    assert delta.assembled(outline, read) == table("a")
    assert dict(secrets.values) == dict(SECRETS)
    assert done.type == "done"
    dialogue.now += 2
    assert dialogue.holds(FIRST) == Answer("holds", 2.0)
    assert dialogue.channel.holding == Holding(name_of(FIRST), FIRST.watermark)
    assert dialogue.channel.version == "1.2"
    assert dialogue.is_sent() == []
    assert dialogue.channel.due() is None


def test_a_gateway_that_has_it_from_another_replica_is_not_sent_it() -> None:
    dialogue = Dialogue()
    dialogue.hello(name_of(FIRST), watermark=mark(7).model_dump())
    (offer,) = dialogue.is_sent()
    assert offer["outline"] is None
    assert offer["table"] == name_of(FIRST)
    assert dialogue.channel.holding == Holding(name_of(FIRST), mark(7))
    assert dialogue.says("holds", table=name_of(FIRST), watermark=mark(7).model_dump())
    assert dialogue.is_sent() == []


def test_a_gateway_of_the_version_before_gets_its_schema() -> None:
    dialogue = Dialogue()
    dialogue.hello(schemas=[1])
    assert dialogue.is_offered() == name_of(FIRST, 1)


def test_a_gateway_of_another_age_is_told_to_be_upgraded() -> None:
    with pytest.raises(Ended, match="no common schema: this controller serves 2 and 1; upgrade the data plane"):
        Dialogue().hello(schemas=[99, 98])


def test_only_the_newest_is_offered_to_who_was_busy() -> None:
    dialogue = Dialogue()
    dialogue.hello()
    assert dialogue.is_offered() == name_of(FIRST)
    newest = THIRD
    for version in range(4, 1004):
        newest = published(table("a"), SECRETS, mark(version), newest)
        dialogue.channel.publish(newest, dialogue.now)
    assert dialogue.is_sent() == []
    dialogue.holds(FIRST)
    (offer,) = dialogue.is_sent()
    assert offer["watermark"] == mark(1003).model_dump()


def test_what_is_on_offer_can_be_had_after_others_were_published() -> None:
    dialogue = Dialogue()
    dialogue.hello()
    outline = delta.Outline.model_validate(dialogue.is_sent()[0]["outline"])
    dialogue.channel.publish(SECOND, dialogue.now)
    dialogue.says("want", table=name_of(FIRST), parts=list(outline.names()))
    assert [each["type"] for each in dialogue.is_sent()] == ["parts", "done"]


def test_what_was_refused_is_offered_again_after_ten_seconds_or_when_something_changes() -> None:
    dialogue = Dialogue()
    dialogue.hello()
    assert dialogue.is_offered() == name_of(FIRST)
    assert dialogue.says("refuse", table=name_of(FIRST), reasons=["no memory"]) == Answer("refuse", 0.0)
    assert dialogue.channel.holding == Holding(refused=Refused(name_of(FIRST), ("no memory",)))
    dialogue.channel.publish(published(table("a"), SECRETS, mark(9), FIRST), dialogue.now)
    assert dialogue.is_sent() == [], "nothing has changed"
    assert dialogue.channel.due() == dialogue.now + 10
    dialogue.now += 10
    dialogue.channel.tick(dialogue.now)
    assert dialogue.is_offered() == name_of(FIRST)
    dialogue.says("refuse", table=name_of(FIRST), reasons=["no memory"])
    dialogue.channel.publish(THIRD, dialogue.now)
    assert dialogue.is_offered() == name_of(THIRD)
    assert dialogue.holds(THIRD)
    assert dialogue.channel.holding.refused is None
    assert dialogue.channel.due() is None


def test_what_was_refused_is_no_more_once_it_is_held() -> None:
    dialogue = Dialogue()
    dialogue.hello()
    dialogue.says("refuse", table=name_of(FIRST), reasons=["no memory"])
    dialogue.holds(THIRD)
    assert dialogue.channel.holding.refused
    dialogue.holds(FIRST)
    assert dialogue.channel.holding == Holding(name_of(FIRST), FIRST.watermark)


def test_a_replica_that_lags_is_told_and_offers_again_once_it_has_moved() -> None:
    dialogue = Dialogue()
    dialogue.hello(name_of(THIRD), watermark=mark(3).model_dump())
    assert dialogue.is_offered() == name_of(FIRST)
    assert dialogue.says("stale", table=name_of(FIRST), watermark=mark(3).model_dump()) == Answer("stale", 0.0, mark(3))
    dialogue.now += 1000
    dialogue.channel.tick(dialogue.now)
    assert dialogue.is_sent() == []
    dialogue.channel.publish(SECOND, dialogue.now)
    assert dialogue.is_offered() == name_of(SECOND)
    assert dialogue.channel.holding == Holding(name_of(THIRD), mark(3))


def test_what_another_replica_brought_is_no_answer() -> None:
    dialogue = Dialogue()
    dialogue.hello()
    assert dialogue.is_offered() == name_of(FIRST)
    assert dialogue.holds(THIRD) is None
    assert dialogue.channel.holding.table == name_of(THIRD)
    dialogue.channel.publish(SECOND, dialogue.now)
    assert dialogue.is_sent() == [], "the first offer is still open"
    assert dialogue.says("refuse", table=name_of(THIRD), reasons=[]) is None
    assert dialogue.says("stale", table=name_of(FIRST), watermark=mark(3).model_dump())
    assert dialogue.is_offered() == name_of(SECOND)


def test_a_gateway_that_let_the_table_go_while_it_was_offered_gets_its_outline() -> None:
    dialogue = Dialogue()
    dialogue.hello(name_of(FIRST))
    assert dialogue.is_sent()[0]["outline"] is None
    assert dialogue.holds(THIRD) is None
    assert dialogue.is_offered() == name_of(FIRST)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "no JSON"),
        (b"\x00", "binary"),
        ('{"type": "offer"}', "cannot be read"),
        ('{"type": "hello"}', "cannot be read"),
        ('{"type": "hello", "schemas": []}', "cannot be read"),
        (json.dumps({"type": "hello", "schemas": [2], "version": "x" * 600}), "cannot be read"),
        (json.dumps({"type": "hello", "schemas": [2], "extra": "x" * 2**20}), "more than 1,048,576 characters"),
        (json.dumps({"type": "holds", "table": "0" * 64}), "holds is out of order: hello comes first, and once"),
    ],
)
def test_a_first_word_that_is_none(text: str | bytes, reason: str) -> None:
    dialogue = Dialogue()
    with pytest.raises(Ended, match=reason) as ended:
        dialogue.channel.receive(text, dialogue.now)
    assert len(ended.value.reason.encode()) <= 123, "it has to fit into a Close frame"


A_PART = next(iter(FIRST.offered[SCHEMA].parts))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"type": "hello", "schemas": [2]}, "out of order"),
        ({"type": "want", "table": name_of(THIRD)}, "wants a table that is not on offer"),
        ({"type": "want", "table": name_of(FIRST), "parts": ["0" * 64]}, "not part of the table"),
        ({"type": "want", "table": name_of(FIRST), "parts": [A_PART, A_PART]}, "asked for before"),
        ({"type": "want", "table": name_of(FIRST), "secrets": ["other/secret@1"]}, "not part of the table"),
        ({"type": "want", "table": name_of(FIRST), "parts": [A_PART] * 2001}, "cannot be read"),
        ({"type": "refuse", "table": name_of(FIRST), "reasons": ["x"] * 21}, "cannot be read"),
    ],
)
def test_whoever_breaks_the_dialogue_is_ended(message: Mapping[str, object], reason: str) -> None:
    dialogue = Dialogue()
    dialogue.hello()
    dialogue.is_sent()
    with pytest.raises(Ended, match=reason):
        dialogue.channel.receive(json.dumps(message), dialogue.now)


def test_a_part_is_sent_once_in_an_offer() -> None:
    dialogue = Dialogue()
    dialogue.hello()
    dialogue.says("want", table=name_of(FIRST), parts=[A_PART])
    with pytest.raises(Ended, match="asked for before"):
        dialogue.says("want", table=name_of(FIRST), parts=[A_PART])


def test_a_flood_is_ended_and_a_busy_gateway_is_not() -> None:
    dialogue = Dialogue()
    dialogue.hello()
    for _ in range(1000):
        dialogue.now += 0.1
        dialogue.holds(THIRD)
    for _ in range(channel.BURST - 1):
        dialogue.holds(THIRD)
    with pytest.raises(Ended, match="more than 20 messages a second"):
        dialogue.holds(THIRD)


def test_a_gateway_that_says_nothing() -> None:
    dialogue = Dialogue()
    assert dialogue.channel.due() == dialogue.now + 10
    dialogue.now += 9
    dialogue.channel.tick(dialogue.now)
    with pytest.raises(Ended, match="no hello for 10 s"):
        dialogue.channel.tick(dialogue.now + 1)


def test_a_gateway_that_does_not_answer_an_offer() -> None:
    dialogue = Dialogue()
    dialogue.hello()
    dialogue.is_sent()
    dialogue.now += 59
    dialogue.channel.tick(dialogue.now)
    dialogue.says("want", table=name_of(FIRST), parts=[A_PART])
    assert dialogue.channel.due() == dialogue.now + 60, "it is at it"
    dialogue.now += 30
    dialogue.is_sent()
    assert dialogue.channel.due() == dialogue.now + 60, "it takes what it is sent"
    with pytest.raises(Ended, match="no answer to an offer for 60 s"):
        dialogue.channel.tick(dialogue.now + 60)


def test_large_tables_come_in_pieces_that_are_made_when_they_can_be_sent() -> None:
    names = [f"{number:04}-{'x' * 1000}" for number in range(1000)]
    big = publication(*names)
    dialogue = Dialogue(big)
    dialogue.hello()
    dialogue.is_sent()
    dialogue.says("want", table=name_of(big), parts=list(big.offered[SCHEMA].parts))
    texts = []
    while (text := dialogue.channel.next_text(dialogue.now)) is not None:
        texts.append(text)
    assert len(texts) > 4
    assert max(map(len, texts)) < 300 * 1024


def test_a_secret_is_in_nothing_but_its_message() -> None:
    dialogue = Dialogue()
    dialogue.hello()
    dialogue.is_sent()
    dialogue.says("want", table=name_of(FIRST), secrets=list(SECRETS))
    assert SECRET not in repr(dialogue.channel)
    assert SECRET in str(dialogue.is_sent())


@given(st.lists(st.binary(max_size=200) | st.text(max_size=200) | st.sampled_from([
    json.dumps({"type": "hello", "schemas": [2]}),
    json.dumps({"type": "want", "table": name_of(FIRST), "parts": [A_PART]}),
    json.dumps({"type": "holds", "table": name_of(FIRST), "watermark": None}),
    json.dumps({"type": "stale", "table": name_of(FIRST), "watermark": mark(1).model_dump()}),
    json.dumps({"type": "refuse", "table": name_of(FIRST), "reasons": []}),
])))  # fmt: skip
def test_whatever_is_said_ends_in_order(texts: list[str | bytes]) -> None:
    dialogue = Dialogue()
    with suppress(Ended):
        for text in texts:
            dialogue.channel.receive(text, dialogue.now)
            dialogue.is_sent()


def test_secrets_may_be_many() -> None:
    many = {f"ai/s{number}@1": SecretStr("x" * 1000) for number in range(1000)}
    big = published(table("a").model_copy(update={"secrets": tuple(many)}), many, mark(1))
    dialogue = Dialogue(big)
    dialogue.hello()
    dialogue.is_sent()
    dialogue.says("want", table=name_of(big), secrets=list(many))
    values: dict[str, object] = {}
    for message in dialogue.is_sent():
        found = message.get("values", {})
        assert isinstance(found, dict)
        values |= found
    assert values.keys() == many.keys()


def test_how_providers_are_doing_is_the_last_that_was_said() -> None:
    dialogue = Dialogue()
    dialogue.hello()
    (offer,) = dialogue.is_sent()
    assert offer["hears"] == ["health"]
    failing = {"eu": {"reason": "lost", "why": "gone", "since": "a field of a later version"}}
    assert dialogue.says("health", unhealthy={"ai/voice": failing}) is None
    told = HealthMessage(unhealthy={"ai/voice": {"eu": Failing(reason="lost", why="gone")}})
    assert dialogue.channel.health == told
    assert dialogue.channel.holding == Holding()
    dialogue.says("health", healthy=["ai/voice"])
    assert dialogue.channel.health == HealthMessage(healthy=("ai/voice",))
