"""What `tidegate explain` says of several providers: who is asked first, and how each is doing."""

from __future__ import annotations

import pytest

from controller import compile as compiler
from dataplane.table import Balance
from dataplane.upstreams.health import Standing
from tests.dataplane.upstreams.test_health import FULL, fails
from tidegate.explain import Request, explain
from tidegate.explain_pools import balance_words, doing, doing_words


def told(request: Request, state: dict[tuple[str, str], dict[str, object]] | None = None, **spec: object) -> list[str]:
    providers = [
        {"name": "spare", "custom": {}, "url": "http://spare/v1", "priority": 1},
        {"name": "big", "custom": {}, "url": "http://big/v1", "weight": 3, "maxSessions": 7},
        {"name": "small", "custom": {}, "url": "http://small/v1"},
        {"name": "none", "custom": {}, "url": "http://none/v1", "weight": 0},
    ]
    backend = {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "Backend",
        "metadata": {"name": "voice", "namespace": "ai"},
        "spec": {"providers": providers, **spec},
    }
    found = explain(compiler.compile([backend], open_by_default=True), request, None, state)
    assert found.served
    wanted = ("Provider", "Balance", "Sessions", "                ")
    return [line.strip() for line in found.text.splitlines() if line.startswith(tuple(f"  {each}" for each in wanted))]


def test_who_is_asked_first() -> None:
    assert told(
        Request("/v1/audio", method="POST", model="m"),
        routes={"/v1/audio": "Completions"},
        balance={"sticky": {"caller": {}}},
    ) == [
        "Provider        big (3 of 4 requests): http://big/v1/audio, as m",
        "Provider        small (1 of 4 requests): http://small/v1/audio, as m",
        "Provider        none (0 of 4 requests): http://none/v1/audio, as m",
        "Provider        spare (1 of 1 requests, where none of priority 0 takes it): http://spare/v1/audio, as m",
        "Balance         the caller's key decides, by weight; without one Weighted: by chance and weight",
    ]


def test_what_a_gateway_says_of_them() -> None:
    state = {("ai/voice", "big"): {"state": "healthy", "sessions": 7, "requests": 0}}
    lines = told(Request("/v1/realtime?model=m"), {**state, ("ai/other", "small"): {"state": "ejected"}})
    assert lines[1] == "big is healthy there, with 7 sessions and 0 requests"
    assert lines[-2:] == [
        "Balance         LeastActive: the fewest sessions under way, by weight",
        "Sessions        at most 7 at a time in each gateway process (maxSessions of the provider big)",
    ]


def test_one_that_is_out() -> None:
    standing = Standing(sessions=2)
    for _ in range(3):
        fails(standing)
    standing.rest("gpt", FULL, "429", now=0.0)
    count = "with 2 sessions and 0 requests"
    assert doing_words(standing.shown(1.0)) == (
        f"ejected there, {count}; tried again in 4.0 s; not asked for gpt for 19.0 s: it broke off"
    )


def test_what_is_read_of_a_table() -> None:
    known = {"name": "a", "state": "healthy"}
    table = {"backends": [{"name": "ai/voice", "providers": [known, {"name": "b"}, 5]}, {"name": "ai/x"}, None]}
    assert doing(table) == {("ai/voice", "a"): known}
    assert doing({}) == {}


@pytest.mark.parametrize(
    ("balance", "words"),
    [
        (Balance(), "Weighted: by chance and weight"),
        (Balance(strategy="LeastActive"), "LeastActive: the fewest requests under way, by weight"),
        (
            Balance(sticky="header", header="x-user"),
            "the header x-user decides, by weight; without one Weighted: by chance and weight",
        ),
    ],
)
def test_how_requests_are_shared(balance: Balance, words: str) -> None:
    assert balance_words(balance, sessions=False) == words
