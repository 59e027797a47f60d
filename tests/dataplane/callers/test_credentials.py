"""The key of a request, wherever real clients put one."""

from __future__ import annotations

import pytest

from dataplane.callers import Credentials, credentials
from dataplane.callers.credentials import at, without, words
from dataplane.http.head import Headers
from dataplane.table import Location


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ([("Authorization", "Bearer k")], ""),
        ([("authorization", "bearer  k ")], ""),
        ([("Authorization", "Token k")], ""),
        ([("Api-Key", "k")], ""),
        ([("x-api-key", "k")], ""),
        ([("X-Goog-Api-Key", "k")], ""),
        ([("Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key.k, openai-beta.realtime-v1")], ""),
        ([("Sec-WebSocket-Protocol", "xai-client-secret.k")], ""),
        ([], "api-key=k"),
        ([], "x=1&key=%6B"),
        ([], "access_token=k"),
        ([("Authorization", "Bearer k"), ("api-key", "k"), ("Authorization", "Bearer k")], "key=k"),
    ],
)
def test_one_key_however_it_is_sent(headers: list[tuple[str, str]], query: str) -> None:
    assert credentials([(name.lower(), value) for name, value in headers], query).keys == ("k",)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "Basic k")],
        [("Authorization", "Bearer ")],
        [("api-key", " ")],
        [("x-key", "k")],
        [("Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key.")],
    ],
)
def test_no_key(headers: list[tuple[str, str]]) -> None:
    assert credentials([(name.lower(), value) for name, value in headers], "model=x").keys == ()


def test_keys_are_in_no_repr() -> None:
    assert "key-1" not in repr(Credentials(("key-1",)))


# -- a place of its own


HEADER, QUERY = Location(kind="header", name="x-gateway-key"), Location(kind="query", name="gw_key")
ELSEWHERE = [("authorization", "Bearer sk-provider"), ("api-key", "sk-other"), ("x-gateway-keys", "no")]


@pytest.mark.parametrize(
    ("place", "headers", "query", "expected"),
    [
        (HEADER, [("x-gateway-key", "k")], "", ("k",)),
        (HEADER, [("x-gateway-key", " Bearer  k ")], "", ("k",)),
        (HEADER, [("x-gateway-key", "token k")], "", ("k",)),
        (HEADER, [("x-gateway-key", "k"), ("x-gateway-key", "Bearer k")], "", ("k",)),
        (HEADER, [("x-gateway-key", "k"), ("x-gateway-key", "other")], "", ("k", "other")),
        (HEADER, [("x-gateway-key", "")], "gw_key=k&x-gateway-key=k", ()),
        (HEADER, [("x-gateway-key", "Bearer ")], "", ()),
        (HEADER, [], "", ()),
        (QUERY, [("gw_key", "no")], "a=1&gw%5Fkey=%6B", ("k",)),
        (QUERY, [], "gw_key=k&gw_key=other", ("k", "other")),
        (QUERY, [], "GW_KEY=k&key=k", ()),
        (Location(kind="header", name="authorization"), [], "", ("sk-provider",)),
    ],
)
def test_it_is_looked_for_there_alone(
    place: Location, headers: list[tuple[str, str]], query: str, expected: tuple[str, ...]
) -> None:
    assert at(place, Headers([*ELSEWHERE, *headers]), query).keys == expected


def test_what_is_there_is_taken_out_and_nothing_else() -> None:
    headers = Headers([("a", "1"), ("x-gateway-key", "k"), *ELSEWHERE, ("x-gateway-key", "k")])
    left, query = without(HEADER, headers, "gw_key=k&a=%2F")
    assert (left.fields, query) == ([("a", "1"), *ELSEWHERE], "gw_key=k&a=%2F")
    assert "x-gateway-key" not in left.first
    assert without(QUERY, headers, "b=&gw%5Fkey=k&a=%2F&gw_key=o") == (headers, "b=&a=%2F")
    bare = Headers(ELSEWHERE)
    assert without(HEADER, bare, "") == (bare, "")


def test_in_words() -> None:
    assert (words(HEADER), words(QUERY)) == ("the header x-gateway-key", "the query parameter gw_key")
