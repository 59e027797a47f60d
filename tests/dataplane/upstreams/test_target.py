"""Where an upstream request goes."""

from __future__ import annotations

import pytest

from dataplane.upstreams.target import parted


@pytest.mark.parametrize(
    ("url", "authority", "target"),
    [
        ("https://a.example/v1/models?x=%2F&y", "a.example", "/v1/models?x=%2F&y"),
        ("https://a.example:443/v1", "a.example", "/v1"),
        ("http://a.example:443/v1", "a.example:443", "/v1"),
        ("http://a.example:8080//b//", "a.example:8080", "//b//"),
        ("http://A.Example/B", "a.example", "/B"),
        ("http://[::1]:8080/v1", "[::1]:8080", "/v1"),
        ("http://[::ffff:10.0.0.1]/v1", "[::ffff:10.0.0.1]", "/v1"),
        ("http://a.example", "a.example", "/"),
        ("http://a.example?q=/", "a.example", "/?q=/"),
        ("http://a.example/x?u=http://b/", "a.example", "/x?u=http://b/"),
        ("http://user:secret@a.example/v1", "a.example", "/v1"),
    ],
)
def test_parted(url: str, authority: str, target: str) -> None:
    origin, rest = parted(url)
    assert (origin.authority, rest) == (authority, target)
    assert origin.url == f"{url.partition('://')[0]}://{authority}"


def test_origins_are_told_apart() -> None:
    urls = ("http://a/", "https://a/", "http://a:443/", "http://b/", "http://a:81/")
    assert len({parted(url)[0] for url in urls}) == len(urls)
    assert parted("https://a/x")[0] == parted("https://A:443/y?z")[0]
