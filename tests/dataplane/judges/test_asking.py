"""What webhooks and moderations are sent, and how their answers are read."""

from __future__ import annotations

from itertools import pairwise

import orjson
import pytest

from dataplane.guardrails.judge import Answer
from dataplane.judges import asking
from dataplane.judges.asking import ModerationQuestion, Nonsense, TooLarge, WebhookQuestion, longest_answer
from dataplane.table import Moderation
from tests.dataplane.judges.cases import ABOUT, TEXT, asks_moderation, asks_webhook


def webhook(text: str = TEXT) -> WebhookQuestion:
    return WebhookQuestion(asks_webhook(), text, ABOUT, "input", "messages[0].content")


def moderation(text: str = TEXT, *categories: str) -> ModerationQuestion:
    asked = asks_moderation("http://api.test/v1", *categories).moderation
    assert isinstance(asked, Moderation)
    return ModerationQuestion(asked, text)


def test_a_webhook_is_told_the_text_and_what_it_is_part_of() -> None:
    question = webhook()
    assert question.url == "http://guard.test/judge"
    assert orjson.loads(question.body) == {
        "text": TEXT,
        "direction": "input",
        "guardrail": "ours",
        "policy": "ai/guards",
        "place": "messages[0].content",
        "model": "gpt-realtime",
        "route": "ai/voice",
        "backend": "ai/voice",
        "caller": {"namespace": "ai", "key": "ci-bot", "team": "support"},
        "id": "r-1",
        "realtime": False,
    }


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ({"action": "pass"}, Answer()),
        ({"action": "pass", "rule": "x", "more": 1}, Answer()),
        ({"action": "block"}, Answer("webhook")),
        ({"action": "block", "rule": "secrets"}, Answer("secrets")),
        ({"action": "block", "rule": None}, Answer("webhook")),
        ({"action": "block", "rule": " \n\x00"}, Answer("webhook")),
        ({"action": "block", "rule": "a\r\nb" + "c" * 100}, Answer("ab" + "c" * 62)),
        ({"action": "mask", "text": "Say nothing of [it]."}, Answer("webhook", "Say nothing of [it].")),
        ({"action": "mask", "text": "", "rule": "all"}, Answer("all", "")),
        ({"action": "mask", "text": TEXT, "rule": "all"}, Answer()),
    ],
)
def test_answers_of_webhooks(said: object, answer: Answer) -> None:
    assert webhook().read(orjson.dumps(said)) == answer


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b'{"action": "pass"', "not JSON"),
        (b'"pass"', "not the JSON object"),
        (b"[]", "not the JSON object"),
        (b"{}", '"action"'),
        (b'{"action": "allow"}', '"action"'),
        (b'{"action": ["pass"]}', '"action"'),
        (b'{"action": "mask"}', 'no "text"'),
        (b'{"action": "mask", "text": null}', 'no "text"'),
        (b'{"action": "block", "rule": 5}', '"rule"'),
    ],
)
def test_what_is_no_answer_of_a_webhook(said: bytes, why: str) -> None:
    with pytest.raises(Nonsense, match=why):
        webhook().read(said)


def test_halves_of_characters_can_be_asked_about() -> None:
    question = webhook("a\ud83d\ude00b\ud83d")
    assert orjson.loads(question.body)["text"] == "a😀b?"
    assert question.read(orjson.dumps({"action": "mask", "text": "a😀b?"})) == Answer()


def test_an_escaped_answer_may_be_as_long_as_the_text() -> None:
    question = webhook("😀" * 10_000)
    escaped = b'{"action": "mask", "text": "' + b"\\ud83d\\ude00" * 10_000 + b'"}'
    assert len(escaped) < longest_answer(question.body)


def test_a_moderation_is_asked_as_openai_is() -> None:
    question = moderation()
    assert question.url == "http://api.test/v1/moderations"
    assert orjson.loads(question.body) == {"model": "omni-moderation-latest", "input": TEXT}


def flagged(**categories: bool | None) -> dict[str, object]:
    return {"flagged": any(categories.values()), "categories": categories}


@pytest.mark.parametrize(
    ("categories", "result", "rule"),
    [
        ((), flagged(hate=False, violence=False), ""),
        ((), flagged(hate=False, violence=True), "violence"),
        ((), {"flagged": True, "categories": {}}, "flagged"),
        ((), flagged(illicit=None, hate=True), "hate"),
        (("hate",), flagged(hate=False, violence=True), ""),
        (("violence", "hate"), flagged(hate=True, violence=True), "violence"),
        (("hate",), {"categories": {"hate": True}}, "hate"),
    ],
)
def test_answers_of_moderations(categories: tuple[str, ...], result: object, rule: str) -> None:
    assert moderation(TEXT, *categories).read(orjson.dumps({"results": [result]})) == Answer(rule)


@pytest.mark.parametrize(
    ("categories", "said", "why"),
    [
        ((), b"", "not JSON"),
        ((), {"error": {}}, '"results"'),
        ((), {"results": []}, '"results"'),
        ((), {"results": [flagged(), flagged()]}, '"results"'),
        ((), {"results": [5]}, "not the JSON object"),
        ((), {"results": [{"flagged": True}]}, "not the JSON object"),
        ((), {"results": [{"categories": {}}]}, '"flagged"'),
        (("harrassment",), {"results": [flagged(harassment=True)]}, "category harrassment"),
        (("illicit",), {"results": [flagged(illicit=None)]}, "category illicit"),
    ],
)
def test_what_is_no_answer_of_a_moderation(categories: tuple[str, ...], said: object, why: str) -> None:
    with pytest.raises(Nonsense, match=why):
        moderation(TEXT, *categories).read(said if isinstance(said, bytes) else orjson.dumps(said))


def parts(text: str) -> list[str]:
    found = orjson.loads(moderation(text).body)["input"]
    return [found] if isinstance(found, str) else list(found)


@pytest.mark.parametrize("length", [0, 1, asking.PART, asking.PART + 1, 3 * asking.PART, 200_000])
def test_a_long_text_is_several_that_overlap(length: int) -> None:
    text = "".join(map(chr, range(0x4E00, 0x9000))) * (length // 0x4200 + 1)
    found = parts(text[:length])
    assert all(len(each) <= asking.PART for each in found)
    assert all(one[-asking.OVERLAP :] == next_one[: asking.OVERLAP] for one, next_one in pairwise(found))
    assert found[0] + "".join(each[asking.OVERLAP :] for each in found[1:]) == text[:length]


def test_any_part_of_a_long_text_can_be_flagged() -> None:
    question = moderation("x" * 20_000)
    results = [flagged(hate=False), flagged(hate=True), flagged(violence=True)]
    assert question.read(orjson.dumps({"results": results})) == Answer("hate")


def test_some_texts_are_too_long_to_be_asked_about() -> None:
    most = asking.OVERLAP + asking.PARTS * (asking.PART - asking.OVERLAP)
    assert len(parts("x" * most)) == asking.PARTS
    with pytest.raises(TooLarge, match=f"{most} characters"):
        moderation("x" * (most + 1))
    webhook("x" * asking.LONGEST)
    with pytest.raises(TooLarge, match="1048576 characters"):
        webhook("x" * (asking.LONGEST + 1))
