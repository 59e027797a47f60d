"""Keys are kept fresh: when they are fetched, and what an outage does not do."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
import structlog

from dataplane.callers import refresh
from dataplane.callers.fetch import NotFetched
from dataplane.callers.keys import KeySource
from dataplane.callers.refresh import Refresher
from dataplane.jwks import KeysRead
from tests.dataplane.callers.issuers import jwk, public_keys

URL, OTHER = "https://idp.example.com/jwks.json", "https://other.example.com/jwks.json"
GOOD = KeysRead(public_keys(jwk("P-256", kid="a")), ())


class Idp:
    """Answers what it is told to, when it is let; every fetch is heard of."""

    def __init__(self) -> None:
        self.answer: KeysRead | Exception = GOOD
        self.asked: Counter[str] = Counter()
        self.told: list[tuple[str, str]] = []
        self.free = asyncio.Event()
        self.free.set()
        self._heard = asyncio.Condition()

    async def fetch(self, url: str) -> KeysRead:
        async with self._heard:
            self.asked[url] += 1
            self._heard.notify_all()
        await self.free.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def heard(self, times: int, url: str = URL) -> None:
        async with asyncio.timeout(10), self._heard:
            await self._heard.wait_for(lambda: self.asked[url] >= times)

    async def heard_back(self, times: int) -> None:
        """Wait until so many fetches have ended."""
        async with asyncio.timeout(10):
            while len(self.told) < times:
                await asyncio.sleep(0.001)


@pytest.fixture
def idp() -> Idp:
    return Idp()


def of_one(urls: Iterable[str]) -> dict[str, set[str]]:
    """All are named by Policies of one namespace."""
    return {url: {"ai"} for url in urls}


@asynccontextmanager
async def following(idp: Idp, *urls: str) -> AsyncIterator[tuple[Refresher, dict[str, KeySource]]]:
    refresher = Refresher(idp.fetch, lambda url, result: idp.told.append((url, result)), lambda: 0.5)
    sources = {url: KeySource(url) for url in urls or (URL,)}
    refresher.follow(sources, of_one(sources))
    try:
        yield refresher, sources
    finally:
        await refresher.close()


async def test_keys_are_fetched_when_they_are_named(idp: Idp) -> None:
    async with following(idp, URL, OTHER) as (_, sources):
        assert not sources[URL].known
        await idp.heard_back(2)
        assert sources[URL].known
        assert sources[OTHER].known
    assert sorted(idp.told) == [(URL, "fetched"), (OTHER, "fetched")]


async def test_who_asks_meanwhile_waits_for_them(idp: Idp) -> None:
    idp.free.clear()
    async with following(idp) as (refresher, sources):
        await idp.heard(1)
        waiting = [asyncio.create_task(refresher.refreshed(URL)) for _ in range(100)]
        await asyncio.sleep(0)
        assert not any(each.done() for each in waiting)
        idp.free.set()
        await asyncio.gather(*waiting)
        assert sources[URL].known
    assert idp.asked[URL] == 1


async def test_nobody_waits_for_long(idp: Idp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "PATIENCE", 0.01)
    idp.free.clear()
    async with following(idp) as (refresher, sources):
        await refresher.refreshed(URL)
        assert not sources[URL].known


async def test_unknown_keys_cause_no_storm(idp: Idp) -> None:
    async with following(idp) as (refresher, _):
        await idp.heard_back(1)
        await asyncio.gather(*[refresher.refreshed(URL) for _ in range(1000)])
    assert idp.asked[URL] == 1


async def test_an_unknown_key_asks_for_newer_ones_after_a_while(idp: Idp, monkeypatch: pytest.MonkeyPatch) -> None:
    async with following(idp) as (refresher, sources):
        await idp.heard_back(1)
        monkeypatch.setattr(refresh, "SOONEST", 0.0)
        idp.answer = KeysRead(public_keys(jwk("P-256", kid="b")), ())
        await refresher.refreshed(URL)
        assert sources[URL].signer("b", "ES256")
        assert not sources[URL].signer("a", "ES256")
    assert idp.asked[URL] == 2


async def test_now_and_then_they_are_fetched_anew(idp: Idp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "EVERY", 0.01)
    async with following(idp):
        await idp.heard(3)


async def test_who_is_not_followed_is_not_asked(idp: Idp) -> None:
    async with following(idp) as (refresher, sources):
        await idp.heard_back(1)
        refresher.follow(sources, of_one(sources))
        await refresher.refreshed(OTHER)
        refresher.follow({OTHER: KeySource(OTHER)}, of_one([OTHER]))
        await idp.heard(1, OTHER)
        await refresher.refreshed(URL)
    refresher.follow(sources, of_one(sources))
    assert idp.asked == {URL: 1, OTHER: 1}


async def test_an_outage_keeps_the_keys_that_are_known(idp: Idp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "EVERY", 0.01)
    monkeypatch.setattr(refresh, "_RETRIES", (0.001,))
    with structlog.testing.capture_logs() as lines:
        async with following(idp) as (_, sources):
            await idp.heard_back(1)
            idp.answer = NotFetched("idp.example.com answered 500")
            await idp.heard(6)
            assert sources[URL].signer("a", "ES256")
            idp.answer = GOOD
            failed = len(idp.told)
            await idp.heard_back(failed + 2)
    first, last = lines
    assert first["log_level"] == "warning"
    assert (first["url"], first["error"]) == (URL, "idp.example.com answered 500")
    assert first["meanwhile"] == "the keys that are known stay in use"
    assert last["event"] == "keys of an issuer are fetched again"
    assert last["failures"] >= 4
    results = [result for _, result in idp.told]
    assert results.count("failed") == last["failures"]


@pytest.mark.parametrize("error", [NotFetched("away"), ValueError("what nobody foresaw")])
async def test_what_fails_at_first_is_tried_again(idp: Idp, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "_RETRIES", (0.001,))
    idp.answer = error
    with structlog.testing.capture_logs() as lines:
        async with following(idp) as (_, sources):
            await idp.heard(3)
            assert not sources[URL].known
            idp.answer = GOOD
            while not sources[URL].known:
                await asyncio.sleep(0.001)
    assert lines[0]["meanwhile"] == "its tokens are answered 503"
    assert str(error) in lines[0]["error"]


async def test_keys_that_cannot_be_used_are_told_once(idp: Idp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "EVERY", 0.001)
    idp.answer = KeysRead((), ("keys[0] is bad (skipped)", "keys[1] is bad (skipped)"))
    with structlog.testing.capture_logs() as lines:
        async with following(idp):
            await idp.heard(4)
    assert [line["error"] for line in lines] == ["keys[0] is bad (skipped)", "keys[1] is bad (skipped)"]


async def test_of_many_a_few_are_fetched_at_a_time(idp: Idp) -> None:
    idp.free.clear()
    urls = [f"https://idp-{number}.example.com/" for number in range(3 * refresh.AT_ONCE)]
    async with following(idp, *urls) as (_, sources):
        await idp.heard(1, urls[refresh.AT_ONCE - 1])
        await asyncio.sleep(0)
        assert idp.asked.total() == refresh.AT_ONCE
        idp.free.set()
        await idp.heard_back(len(urls))
        assert all(source.known for source in sources.values())


async def test_nothing_is_left_when_it_is_closed(idp: Idp) -> None:
    idp.free.clear()
    async with following(idp, URL, OTHER) as (refresher, _):
        await idp.heard(1)
        refresher.follow({}, {})
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_nobody_waits_for_a_neighbours_issuers() -> None:
    """A namespace may name any number of servers that take connections, and never answer."""
    answered = asyncio.Event()

    async def fetch(url: str) -> KeysRead:
        if url != URL:
            await asyncio.Event().wait()
        answered.set()
        return GOOD

    urls = [f"https://idp-{number}.example.com/" for number in range(3 * refresh.AT_ONCE)]
    sources = {url: KeySource(url) for url in (*urls, URL)}
    for mine in ({"ai"}, {"ai", "evil"}):
        refresher = Refresher(fetch, lambda *_: None, lambda: 0.5)
        refresher.follow(sources, {**{url: {"evil"} for url in urls}, URL: mine})
        async with asyncio.timeout(10):
            await answered.wait()
        answered.clear()
        await refresher.close()
