"""Where redirects lead: the rules of Gateway API for scheme, host, port and path."""

from __future__ import annotations

import pytest

from dataplane.http.accept import Target
from dataplane.http.redirects import location
from dataplane.table import Listener, Match, Redirect, Route

PLAIN = Listener(name="ai/g/plain", port=10001, public_port=80)
ODD = Listener(name="ai/g/odd", port=10002, public_port=8080)
SECURE = Listener(name="ai/g/secure", port=10003, public_port=443, tls=True)
ODD_SECURE = Listener(name="ai/g/odd-secure", port=10004, public_port=8443, tls=True)


def sent(
    redirect: Redirect, listener: Listener | None = PLAIN, host: str = "a.test", path: str = "/p", match: str = "/"
) -> str:
    target = Target(host, path, "", listener.port if listener else 0, listener.tls if listener else False)
    return location(redirect, Route(name="r", matches=(Match(path=match),)), target, listener)


@pytest.mark.parametrize(
    ("redirect", "listener", "expected"),
    [
        (Redirect(), PLAIN, "http://a.test/p"),
        (Redirect(), ODD, "http://a.test:8080/p"),
        (Redirect(), SECURE, "https://a.test/p"),
        (Redirect(), ODD_SECURE, "https://a.test:8443/p"),
        (Redirect(scheme="https"), PLAIN, "https://a.test/p"),
        (Redirect(scheme="https"), ODD, "https://a.test/p"),
        (Redirect(scheme="http"), ODD_SECURE, "http://a.test/p"),
        (Redirect(scheme="https", port=8443), PLAIN, "https://a.test:8443/p"),
        (Redirect(scheme="https", port=443), PLAIN, "https://a.test/p"),
        (Redirect(scheme="http", port=80), ODD_SECURE, "http://a.test/p"),
        (Redirect(port=80), SECURE, "https://a.test:80/p"),
        (Redirect(port=443), PLAIN, "http://a.test:443/p"),
        (Redirect(hostname="b.test"), ODD, "http://b.test:8080/p"),
        (Redirect(hostname="b.test", scheme="https"), ODD, "https://b.test/p"),
    ],
)
def test_scheme_host_and_port(redirect: Redirect, listener: Listener, expected: str) -> None:
    assert sent(redirect, listener, host="a.test:9999") == expected


@pytest.mark.parametrize(
    ("asked", "prefix", "replacement", "expected"),
    [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"),
        ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/bar", "/foo", "", "/bar"),
        ("/foo/", "/foo", "", "/"),
        ("/foo", "/foo", "", "/"),
        ("/foo/", "/foo", "/", "/"),
        ("/foo", "/foo", "/", "/"),
        ("/foo", "/", "/xyz", "/xyz/foo"),
        ("//f%6fo//b%20r", "/foo", "/xyz", "/xyz//b%20r"),
    ],
)
def test_a_prefix_is_replaced(asked: str, prefix: str, replacement: str, expected: str) -> None:
    """The table of HTTPPathModifier, and what it does not say."""
    redirect = Redirect(path_kind="prefix", path=replacement)
    assert sent(redirect, path=asked, match=prefix) == f"http://a.test{expected}"


@pytest.mark.parametrize(("path", "expected"), [("/new", "/new"), ("", "/")])
def test_the_whole_path_is_replaced(path: str, expected: str) -> None:
    assert sent(Redirect(path_kind="full", path=path)) == f"http://a.test{expected}"


@pytest.mark.parametrize(
    ("host", "secure", "expected"),
    [
        ("a.test:8080", False, "http://a.test:8080/p?a=1"),
        ("a.test", True, "https://a.test/p?a=1"),
        ("[::1]:8080", False, "http://[::1]:8080/p?a=1"),
        ("[::1]", True, "https://[::1]/p?a=1"),
        ("a.test:", False, "http://a.test/p?a=1"),
        ("", False, "/p?a=1"),
    ],
)
def test_on_the_own_port_the_host_says_which_port_was_asked_at(host: str, secure: bool, expected: str) -> None:
    assert location(Redirect(), Route(name="r"), Target(host, "/p", "a=1", 0, secure), None) == expected
