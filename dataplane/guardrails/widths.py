"""How long a text can be that a pattern of RE2 matches: what must be held back while more of it may come.

Reads RE2's syntax as far as it matters here. Where it does not understand, it says that there is no bound: text is then
held until it is whole, and nothing passes for that.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_REPEAT = re.compile(r"\{(\d+)(,?)(\d*)\}\??")
_ESCAPE = re.compile(r"\\(?:[pP](?:\{[^}]*\}|.)|x(?:\{[0-9A-Fa-f]+\}|[0-9A-Fa-f]{2})|[0-7]{1,3}|.)", re.DOTALL)
_POSIX = re.compile(r"\[:\^?\w+:\]")
_GROUP = re.compile(r"\?(?:P?<\w+>|[imsU-]*:)")
_FLAGS = re.compile(r"\?[imsU-]+\)")
_EMPTY = frozenset("bBAz")
"""What follows a backslash and has no width."""


class Width(NamedTuple):
    """Characters of a match, at least and at most."""

    least: int
    most: int | None
    """None: any number."""


class _Unclear(Exception):
    """Something that is not understood."""


def width(pattern: str) -> Width:
    """Of a pattern that RE2 takes."""
    try:
        return _Reader(pattern).whole()
    except (_Unclear, IndexError, RecursionError):
        return Width(1, None)


class _Reader:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    def whole(self) -> Width:
        found = self._alternatives()
        if self._at != len(self._pattern):
            raise _Unclear
        return found

    def _alternatives(self) -> Width:
        found = self._sequence()
        while self._next() == "|":
            self._at += 1
            other = self._sequence()
            most = None if found.most is None or other.most is None else max(found.most, other.most)
            found = Width(min(found.least, other.least), most)
        return found

    def _sequence(self) -> Width:
        found = Width(0, 0)
        while self._next() not in ("", "|", ")"):
            one = self._repeated(self._atom())
            most = None if found.most is None or one.most is None else found.most + one.most
            found = Width(found.least + one.least, most)
        return found

    def _repeated(self, one: Width) -> Width:
        while True:
            most: int | None
            if repeat := _REPEAT.match(self._pattern, self._at):
                least = int(repeat[1])
                most = (int(repeat[3]) if repeat[3] else None) if repeat[2] else least
                self._at = repeat.end()
            elif (mark := self._next()) and mark in "*+?":
                least, most = int(mark == "+"), (1 if mark == "?" else None)
                self._at += 2 if self._pattern.startswith("?", self._at + 1) else 1
            else:
                return one
            one = Width(one.least * least, _times(one.most, most))

    def _atom(self) -> Width:
        mark = self._next()
        if mark == "(":
            return self._group()
        if mark == "[":
            return self._class()
        if mark == "\\":
            return self._escape()
        self._at += 1
        return Width(0, 0) if mark in "^$" else Width(1, 1)

    def _group(self) -> Width:
        self._at += 1
        if flags := _FLAGS.match(self._pattern, self._at):
            self._at = flags.end()
            if self._next() in ("*", "+", "?", "{"):  # it would be of what comes before the flags
                raise _Unclear
            return Width(0, 0)
        if opened := _GROUP.match(self._pattern, self._at):
            self._at = opened.end()
        elif self._next() == "?":
            raise _Unclear
        found = self._alternatives()
        if self._next() != ")":
            raise _Unclear
        self._at += 1
        return found

    def _class(self) -> Width:
        self._at += 2 if self._pattern.startswith("^", self._at + 1) else 1
        first = True
        while first or self._pattern[self._at] != "]":
            first = False
            known = _POSIX.match(self._pattern, self._at) or _ESCAPE.match(self._pattern, self._at)
            self._at = known.end() if known else self._at + 1
        self._at += 1
        return Width(1, 1)

    def _escape(self) -> Width:
        if self._pattern.startswith("\\Q", self._at):
            raise _Unclear
        found = _ESCAPE.match(self._pattern, self._at)
        if found is None:
            raise _Unclear
        self._at = found.end()
        return Width(0, 0) if found[0][1] in _EMPTY else Width(1, 1)

    def _next(self) -> str:
        return self._pattern[self._at : self._at + 1]


def _times(most: int | None, count: int | None) -> int | None:
    if 0 in (most, count):
        return 0
    return None if most is None or count is None else most * count
