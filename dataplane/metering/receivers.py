"""Addresses of receivers, of usage records and of telemetry, as people write them."""

from __future__ import annotations

from urllib.parse import urlsplit


def fault(url: str) -> str:
    """What is wrong with the URL of a receiver, as the end of a sentence that begins with its name; empty where
    nothing is. Quotes nothing of it: it may hold a key."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "is no URL"
    if not url.isprintable() or " " in url:
        return "is no URL: it holds blanks or control characters"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "is no URL of a receiver: write http://HOST:PORT/PATH or https://HOST/PATH"
    try:
        usable = parts.port != 0
    except ValueError:
        usable = False
    return "" if usable else "has a port that is none: write a number from 1 to 65535"
