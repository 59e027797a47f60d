"""What an upstream request looks like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from dataplane.errors import Refusal
from dataplane.table import Credential, Provider
from dataplane.upstreams.request import address, shown, subprotocols


def at(url: str, path: str, query: str = "", credential: str = "secret") -> str:
    kind = Credential.model_validate({"kind": credential, "secret": "s"})
    return address(Provider(name="a", kind="openai", url=url, credential=kind), path, query)


@pytest.mark.parametrize(
    ("url", "path", "expected"),
    [
        ("https://a.test/v1", "/v1/models", "https://a.test/v1/models"),
        ("https://a.test/v1", "/models", "https://a.test/v1/models"),
        ("https://a.test", "/v1/models", "https://a.test/v1/models"),
        ("https://a.test/openai/v1", "/v1/models", "https://a.test/openai/v1/models"),
        ("https://a.test/v1", "/v1/v1/models", "https://a.test/v1/v1/models"),
        ("https://a.test/v1", "//v1//models/", "https://a.test/v1//models/"),
        ("https://a.test/v1", "/%761/a%2Eb", "https://a.test/v1/a%2Eb"),
        ("https://a.test/v1", "/v10/models", "https://a.test/v1/v10/models"),
        ("https://a.test/v1beta", "/v1beta/models", "https://a.test/v1beta/models"),
        ("https://a.test/v1beta", "/v1/models", "https://a.test/v1beta/v1/models"),
        ("https://a.test/base", "/base/models", "https://a.test/base/base/models"),
        ("http://[::1]:8000", "/", "http://[::1]:8000/"),
        ("https://v1", "/v1/models", "https://v1/v1/models"),
    ],
)
def test_the_path_is_joined_and_its_version_never_doubled(url: str, path: str, expected: str) -> None:
    assert at(url, path) == expected


@pytest.mark.parametrize(
    ("credential", "expected"), [("secret", "?a=%2F&b"), ("none", "?a=%2F&b"), ("passthrough", "?a=%2F&key=k&b")]
)
def test_the_query_is_kept_but_for_keys(credential: str, expected: str) -> None:
    assert at("https://a.test", "/x", "a=%2F&key=k&b", credential) == "https://a.test/x" + expected


parts = st.lists(st.sampled_from(["v1", "models", "a%20b", "x"]), max_size=4)


@given(parts, st.sampled_from(["", "/v1", "/openai/v1", "/base"]), st.text("ab=&%2F+", max_size=10))
def test_nothing_but_one_version_is_ever_taken_away(segments: list[str], base: str, query: str) -> None:
    path = "/" + "/".join(segments)
    whole = at("https://a.test" + base, path, query, "passthrough")
    merged = base.endswith("/v1") and segments[:1] == ["v1"]
    rest = segments[1:] if merged else segments
    assert whole == f"https://a.test{base}/{'/'.join(rest)}" + (f"?{query}" if query else "")


@pytest.mark.parametrize("text", ["sk-1", "Bearer sk-1", "bearer  sk-1\n", " sk-1 "])
def test_the_secret_may_or_may_not_begin_with_bearer(text: str) -> None:
    secrets = {"s": SecretStr(text)}
    assert shown(secrets, Credential(kind="secret", secret="s")) == "Bearer sk-1"
    assert shown(secrets, Credential(kind="secret", secret="s", header="api-key")) == "sk-1"


@pytest.mark.parametrize("text", ["", "Bearer ", "sk\r\nX: 1", "sk-é", "sk\0"])
def test_secrets_that_no_header_can_carry(text: str) -> None:
    with pytest.raises(Refusal) as refused:
        shown({"ai/s@1": SecretStr(text)}, Credential(kind="secret", secret="ai/s@1"))
    assert refused.value.code == "configuration_error"
    assert "ai/s@1" in refused.value.message
    assert "sk" not in refused.value.message


def test_keys_in_subprotocols_stay_here() -> None:
    offered = "realtime, openai-insecure-api-key.k,xai-client-secret.k , other"
    assert subprotocols(offered, credential="secret") == "realtime, other"
    assert subprotocols("openai-insecure-api-key.k", credential="none") == ""
    assert "openai-insecure-api-key.k" in subprotocols(offered, credential="passthrough")
