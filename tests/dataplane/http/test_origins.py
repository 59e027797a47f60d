"""Which pages may open WebSockets."""

from __future__ import annotations

import pytest

from dataplane.http.origins import canonical, matches, refused

ALLOWED = ("https://app.example.com", "https://*.example.org", "http://localhost:3000", "capacitor://localhost")


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("HTTPS://App.Example.COM", "https://app.example.com"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://app.example.com:80", "http://app.example.com"),
        ("http://app.example.com:443", "http://app.example.com:443"),
        ("https://app.example.com:08443", "https://app.example.com:8443"),
        ("https://[::1]:3000", "https://[::1]:3000"),
        ("app://localhost", "app://localhost"),
        (" https://app.example.com ", "https://app.example.com"),
        ("null", ""),
        ("", ""),
        ("https://", ""),
        ("https://app.example.com/", ""),
        ("https://app.example.com/path", ""),
        ("https://app.example.com@evil.test", ""),
        ("https://app.example.com evil.test", ""),
        ("https://app.example.com, https://evil.test", ""),
        ("https://app.example.com:x", ""),
        ("https://*.example.com", ""),
        ("https://äpp.example.com", ""),
        ("https://\u212aiosk.example.com", ""),
        ("\u00a0https://app.example.com", ""),
        ("https://app.example.com\n", "https://app.example.com"),
        ("https://app.example.com\\evil", ""),
        ("file://", ""),
    ],
)
def test_canonical(origin: str, expected: str) -> None:
    assert canonical(origin) == expected


@pytest.mark.parametrize(
    ("pattern", "origin", "expected"),
    [
        ("https://app.example.com", "https://app.example.com", True),
        ("https://app.example.com", "http://app.example.com", False),
        ("https://app.example.com", "https://app.example.com:8443", False),
        ("https://app.example.com", "https://app.example.com.evil.test", False),
        ("https://app.example.com", "https://app.example.com.", False),
        ("https://*.example.com", "https://a.example.com", True),
        ("https://*.example.com", "https://a.b.example.com", True),
        ("https://*.example.com", "https://example.com", False),
        ("https://*.example.com", "https://.example.com", False),
        ("https://*.example.com", "https://evilexample.com", False),
        ("https://*.example.com", "https://a.example.com.evil.test", False),
        ("https://*.example.com", "http://a.example.com", False),
        ("https://*.example.com", "https://a.example.com:8443", False),
        ("https://*.example.com:8443", "https://a.example.com:8443", True),
        ("https://*.example.com:8443", "https://a.example.com", False),
    ],
)
def test_matches(pattern: str, origin: str, expected: bool) -> None:
    assert matches(pattern, origin) is expected


@pytest.mark.parametrize(
    "origins", [[], ["https://app.example.com"], ["https://a.example.org:443"], ["http://LOCALHOST:3000"]]
)
def test_let_in(origins: list[str]) -> None:
    assert refused(origins, ALLOWED, "ai/p") == ""


@pytest.mark.parametrize(
    ("origins", "said"),
    [
        (["https://evil.test"], "add https://evil.test to its session.origins"),
        (["https://evil.test:443"], "add https://evil.test to its session.origins"),
        (["https://example.org"], "Policy ai/p"),
        (["http://localhost"], "add http://localhost to its session.origins"),
        (["null"], "no origin of its own"),
        ([""], "no origin of its own"),
        (["https://app.example.com", "https://app.example.com"], "more than one Origin"),
    ],
)
def test_refused(origins: list[str], said: str) -> None:
    assert said in refused(origins, ALLOWED, "ai/p")


def test_what_is_repeated_of_a_header_is_bounded() -> None:
    assert len(refused([f"https://{'a' * 20_000}.test"], ALLOWED, "ai/p")) < 1000
    assert len(refused(["\u00e9" * 20_000], ALLOWED, "ai/p")) < 2000
