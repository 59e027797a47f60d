"""The key of a request, wherever real clients put one."""

from __future__ import annotations

import pytest

from dataplane.callers import Credentials, credentials


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
