"""Names with one `*`, as Backends and Policies write them for models. Everything else is literal."""

from __future__ import annotations


def matched(pattern: str, name: str) -> str | None:
    """What the `*` stands for in `name` (empty for an exact name); None where the name does not match.

    >>> matched("gpt-*", "gpt-realtime")
    'realtime'
    """
    head, star, tail = pattern.partition("*")
    if not star:
        return "" if pattern == name else None
    if len(name) < len(head) + len(tail) or not name.startswith(head) or not name.endswith(tail):
        return None
    return name[len(head) : len(name) - len(tail)]
