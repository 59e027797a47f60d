"""Where a request wants to go."""

from __future__ import annotations

import pytest

from dataplane.errors import Refusal
from dataplane.http.accept import Target, accept
from dataplane.http.head import Head, Headers


def head(target: str, method: str = "GET") -> Head:
    fields = Headers([("host", "gateway.example")])
    return Head(method, target, "1.1", fields, goes_on=True, switches=False)


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        ("/v1/models", Target("gateway.example", "/v1/models", "")),
        ("/v1/models?a=b?c", Target("gateway.example", "/v1/models", "a=b?c")),
        ("/http://other.example/", Target("gateway.example", "/http://other.example/", "")),
        ("http://other.example/v1?a=b", Target("other.example", "/v1", "a=b")),
        ("HTTPS://other.example:8443", Target("other.example:8443", "/", "")),
        ("http://other.example?a=b", Target("other.example", "/", "a=b")),
    ],
)
def test_the_host_of_an_absolute_target_rules(target: str, meant: Target) -> None:
    assert accept(head(target)) == meant


@pytest.mark.parametrize("target", ["*", "v1/models", "?a=b", "ftp://other.example/"])
def test_a_target_that_is_no_path(target: str) -> None:
    with pytest.raises(Refusal) as refused:
        accept(head(target, "OPTIONS"))
    assert refused.value.code == "invalid_path"


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_methods_that_are_not_relayed(method: str) -> None:
    with pytest.raises(Refusal) as refused:
        accept(head("/v1/models", method))
    assert refused.value.code == "method_not_allowed"
    assert "POST" in refused.value.headers["Allow"]
