"""What webhooks and moderations are asked, and what they say. Pure.

docs/guardrails-webhook.md is the contract with webhooks. Moderations speak OpenAI's API:
https://platform.openai.com/docs/api-reference/moderations
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import orjson

from dataplane.guardrails.folding import joined
from dataplane.guardrails.judge import Answer, Direction
from dataplane.judges.about import About
from dataplane.table.guardrails import Guardrail, Moderation

LONGEST = 1024 * 1024
"""Characters of a text that a webhook is asked about."""
PART, OVERLAP, PARTS = 8000, 200, 32
"""Characters of one input of a moderation, and those that it has in common with the next: longer texts are several
inputs of one request, of which there are so many at most. A model takes some 32,000 tokens, and a character is up to
three."""
LONGEST_RULE = 64


class Nonsense(Exception):
    """What came is no answer. The message says why, and repeats nothing of it."""


class TooLarge(Exception):
    """A text of such a length is not asked about. The message says how long it may be."""


class Question(Protocol):
    """One text, ready to be asked about."""

    url: str
    secret: str
    networks: tuple[str, ...]
    endpoints: str
    retries: int
    body: bytes

    def read(self, body: bytes) -> Answer:
        """What the body of an answer with status 200 says. Raises Nonsense."""
        ...


class WebhookQuestion:
    """Raises TooLarge. `said`, `place`: which way the text goes, and where it stood."""

    def __init__(self, guardrail: Guardrail, text: str, about: About, said: Direction, place: str) -> None:
        webhook = guardrail.webhook
        assert webhook is not None
        if len(text) > LONGEST:
            raise TooLarge(f"webhooks are asked about at most {LONGEST} characters")
        self.url, self.secret, self.networks = webhook.url, webhook.secret, webhook.networks
        self.endpoints, self.retries = webhook.endpoints, webhook.retries
        self._text = _sendable(text)
        caller = about.caller
        self.body = orjson.dumps(
            {
                "text": self._text,
                "direction": said,
                "guardrail": guardrail.name,
                "policy": guardrail.policy,
                "place": place,
                "model": about.model,
                "route": about.route,
                "backend": about.backend,
                "caller": {"namespace": caller.namespace, "key": caller.key, "team": caller.team},
                "id": about.id,
                "realtime": about.realtime,
            }
        )

    def read(self, body: bytes) -> Answer:
        """A mask that changes nothing says that there is nothing."""
        said = _mapping(_json(body))
        action, text = said.get("action"), said.get("text")
        if action == "pass":
            return Answer()
        rule = _rule(said.get("rule"), "webhook")
        if action == "block":
            return Answer(rule)
        if action != "mask":
            raise Nonsense('it has no "action" that is pass, block or mask')
        if not isinstance(text, str):
            raise Nonsense('its "action" is mask, and it has no "text"')
        return Answer() if text == self._text else Answer(rule, text)


class ModerationQuestion:
    """Raises TooLarge."""

    endpoints, retries = "", 0

    def __init__(self, moderation: Moderation, text: str) -> None:
        if len(text) > _MODERATED:
            raise TooLarge(f"moderations are asked about at most {_MODERATED} characters")
        self.url, self.secret = f"{moderation.url}/moderations", moderation.secret
        self.networks = moderation.networks
        self._categories = moderation.categories
        parts = list(_parts(_sendable(text)))
        self._count = len(parts)
        self.body = orjson.dumps({"model": moderation.model, "input": parts if len(parts) > 1 else parts[0]})

    def read(self, body: bytes) -> Answer:
        """Its rule is the first category that is flagged, of those that the guardrail names."""
        results = _mapping(_json(body)).get("results")
        if not isinstance(results, list) or len(results) != self._count:
            raise Nonsense(f'it has no "results" of {self._count}')
        rules = [self._found(_mapping(result)) for result in results]
        return Answer(next(filter(None, rules), ""))

    def _found(self, result: Mapping[str, object]) -> str:
        categories = _mapping(result.get("categories"))
        # One that is written wrongly would be a guardrail that never finds anything.
        if unknown := [name for name in self._categories if not isinstance(categories.get(name), bool)]:
            raise Nonsense(f"it does not judge the category {unknown[0]}")
        if self._categories:
            return next((name for name in self._categories if categories[name]), "")
        flagged = result.get("flagged")
        if not isinstance(flagged, bool):
            raise Nonsense('a result of it has no "flagged"')
        first = next((name for name, is_so in categories.items() if is_so is True), None)
        return _rule(first, "flagged") if flagged else ""


_MODERATED = OVERLAP + PARTS * (PART - OVERLAP)


def longest_answer(asked: bytes) -> int:
    """Bytes of an answer that are read: a masked text may be as long as the text, with each character escaped."""
    return 64 * 1024 + 3 * len(asked)


def _parts(text: str) -> Iterator[str]:
    step = PART - OVERLAP
    for start in range(0, max(1, len(text) - OVERLAP), step):
        yield text[start : start + PART]


def _sendable(text: str) -> str:
    """Half a character is none, and becomes one `?`."""
    return joined(text).encode("utf-8", "replace").decode()


def _json(body: bytes) -> object:
    try:
        found: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Nonsense("it is not JSON") from None
    return found


def _mapping(found: object) -> Mapping[str, object]:
    if not isinstance(found, dict):
        raise Nonsense("it is not the JSON object that it should be")
    return found


def _rule(name: object, default: str) -> str:
    """As logs and clients are told it."""
    if name is None:
        return default
    if not isinstance(name, str):
        raise Nonsense('its "rule" is no text')
    return "".join(filter(str.isprintable, name))[:LONGEST_RULE].strip() or default
