"""Tokens: the API server decides whose they are, is asked seldom, and no message repeats one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from controller.push import door, reviews
from controller.push.door import Review
from controller.push.reviews import Reviews, Unavailable

AUDIENCE = "tidegate-controller"
ACCOUNT = "system:serviceaccount:tidegate:tidegate-dataplane"
TOKEN = "very-secret-token"


def token_review(
    pod: str = "dp-0", uid: str = "u0", user: str = ACCOUNT, audience: str = AUDIENCE
) -> dict[str, object]:
    """As the API server answers."""
    extra = {
        "authentication.kubernetes.io/pod-name": [pod],
        "authentication.kubernetes.io/pod-uid": [uid],
        "authentication.kubernetes.io/node-name": ["node-1"],
    }
    user_info = {"username": user, "uid": "a", "groups": ["system:serviceaccounts"], "extra": extra}
    return {"kind": "TokenReview", "status": {"authenticated": True, "audiences": [audience], "user": user_info}}


REFUSED: dict[str, object] = {"status": {"user": {}, "error": f"[invalid bearer token {TOKEN}]"}}


@dataclass
class Api:
    """An API server that knows some tokens."""

    tokens: dict[str, Mapping[str, object] | Exception] = field(default_factory=lambda: {TOKEN: token_review()})
    asked: list[tuple[str, str]] = field(default_factory=list)
    open: asyncio.Event | None = None
    now: float = 0.0

    async def create(self, token: str, audience: str) -> Mapping[str, object]:
        self.asked.append((token, audience))
        if self.open:
            await self.open.wait()
        answer = self.tokens.get(token, REFUSED)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def reviews(self) -> Reviews:
        return Reviews(self.create, AUDIENCE, lambda: self.now)


async def test_a_good_token_is_asked_for_once_in_five_minutes() -> None:
    api = Api()
    asking = api.reviews()
    for now in (0.0, 100.0, 299.0):
        api.now = now
        assert await asking.review(TOKEN) == Review("", ACCOUNT, "dp-0", "u0")
    assert api.asked == [(TOKEN, AUDIENCE)]
    api.now = 300.0
    api.tokens.clear()
    assert (await asking.review(TOKEN)).refusal


async def test_a_bad_token_is_asked_for_again_soon() -> None:
    api = Api({})
    asking = api.reviews()
    assert "does not accept the token" in (await asking.review(TOKEN)).refusal
    api.tokens[TOKEN] = token_review()
    assert (await asking.review(TOKEN)).refusal
    api.now = 10.0
    assert not (await asking.review(TOKEN)).refusal


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reviews, "REMEMBERED", 3)
    api = Api()
    asking = api.reviews()
    for token in (TOKEN, "b", "c", "d"):
        await asking.review(token)
    await asking.review("d")
    assert len(api.asked) == 4
    await asking.review(TOKEN)
    assert len(api.asked) == 5


async def test_a_flood_of_tokens_is_no_flood_of_reviews() -> None:
    api = Api(open=asyncio.Event())
    asking = api.reviews()
    async with asyncio.TaskGroup() as group:
        for number in range(100):
            group.create_task(asking.review(f"token-{number}"))
            group.create_task(asking.review("same"))
        await asyncio.sleep(0)
        assert len(api.asked) == reviews.AT_ONCE
        assert api.open
        api.open.set()
    assert [token for token, _ in api.asked].count("same") <= reviews.AT_ONCE
    assert len(api.asked) <= 100 + reviews.AT_ONCE


@pytest.mark.parametrize("error", [OSError(f"POST {TOKEN}"), ValueError(TOKEN)])
async def test_an_api_server_that_is_away(error: Exception) -> None:
    api = Api({TOKEN: error})
    with pytest.raises(Unavailable) as raised:
        await api.reviews().review(TOKEN)
    assert TOKEN not in str(raised.value)
    assert raised.value.__suppress_context__
    assert type(error).__name__ in str(raised.value)


async def test_an_api_server_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reviews, "TIMEOUT", 0.01)
    with pytest.raises(Unavailable, match="within"):
        await Api(open=asyncio.Event()).reviews().review(TOKEN)


async def test_a_token_that_is_too_long_is_not_even_asked_for() -> None:
    api = Api()
    assert "too long" in (await api.reviews().review("x" * 20_000)).refusal
    assert not api.asked


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        ({}, "does not accept"),
        ({"status": None}, "does not accept"),
        ({"status": {"authenticated": "true"}}, "does not accept"),
        (REFUSED, "does not accept"),
        (token_review(audience="https://kubernetes.default.svc"), "not for the audience tidegate-controller"),
        ({"status": {"authenticated": True, "user": {"username": ACCOUNT}}}, "not for the audience"),
    ],
)
def test_what_is_no_proof(answer: Mapping[str, object], refusal: str) -> None:
    """An API server that knows no audiences answers without them: such a token may be for anybody."""
    found = door.read(answer, AUDIENCE)
    assert refusal in found.refusal
    assert TOKEN not in found.refusal
    assert found.user == ""


def test_a_user_who_is_no_pod() -> None:
    status = {"authenticated": True, "audiences": [AUDIENCE], "user": {"username": "admin", "extra": None}}
    assert door.read({"status": status}, AUDIENCE) == Review("", "admin")


async def test_tokens_are_in_no_repr() -> None:
    asking = Api().reviews()
    await asking.review(TOKEN)
    assert TOKEN not in repr(asking)
