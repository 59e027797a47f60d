"""How text is searched: from left to right, each finding behind the one before.

Text also comes in pieces. So that it makes no difference how it is cut, a finding depends on nothing but its own
characters and the one on either side (or a few more, where `opening` matches them too), and a scan can tell up to where
what is still to come changes nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from typing import NamedTuple, Protocol

import re2

from dataplane.guardrails.folding import Folded, continues, is_usual, plain

_MEMORY, _LARGEST = 8 * 1024 * 1024, 16 * 1024
"""Bytes for RE2, of many patterns at once; and of these patterns, which takes some 10 ms to make."""
_BEGINS = bytes(not 0x80 <= byte < 0xC0 for byte in range(256))
"""Of UTF-8: whether a character begins with the byte."""


class Finding(NamedTuple):
    start: int
    """In characters of the text."""
    end: int
    rule: str
    """What was found, in words of the Policy; nothing of the text."""


def place(finding: Finding) -> tuple[int, int]:
    """By which findings are in order."""
    return finding.start, finding.end


class Found(Protocol):
    """RE2's match in bytes."""

    def span(self, group: int = 0) -> tuple[int, int]: ...


class Options(Protocol):
    """Of RE2."""

    case_sensitive: bool


class Compiled(Protocol):
    """RE2's compiled pattern."""

    @property
    def pattern(self) -> bytes: ...
    @property
    def options(self) -> Options: ...
    def search(self, text: bytes, pos: int | None = None) -> Found | None: ...
    def fullmatch(self, text: bytes) -> Found | None: ...


def compiled(pattern: str, memory: int = 1024 * 1024, **options: bool) -> Compiled:
    """A pattern of RE2 on UTF-8. Raises re2.error."""
    chosen = re2.Options()
    chosen.log_errors = False
    chosen.max_mem = memory
    for name, value in options.items():
        setattr(chosen, name, value)
    made: Compiled = re2.compile(pattern.encode(), options=chosen)
    return made


@dataclass(eq=False)
class View:
    """A text to be searched, as it is or folded: RE2 takes bytes, and positions are of the text's characters."""

    source: str
    folded: Folded
    data: bytes = field(init=False)
    _same: bool = field(init=False)
    """Is each byte a character of the text?"""
    _listed: dict[Every, list[Finding]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        # A lone surrogate is no text, and becomes one `?`.
        self.data = self.folded.text.encode("utf-8", "replace")
        self._same = len(self.data) == len(self.source) and isinstance(self.folded.starts, range)

    @cached_property
    def _bytes(self) -> Sequence[int]:
        """Where each character of the folded text begins."""
        if len(self.data) == len(self.folded.text):
            return range(len(self.data))
        return list(compress(range(len(self.data)), self.data.translate(_BEGINS)))

    @cached_property
    def last_segment(self) -> int:
        """Where the text's last segment begins, which may yet become another."""
        return segment_at(self.source, len(self.source) - 1)

    def byte(self, at: int) -> int:
        """Where in `data` the text's character `at` begins, or what follows it where it cannot be seen."""
        if self._same:
            return min(at, len(self.data))
        index = self.index(at)
        return self._bytes[index] if index < len(self._bytes) else len(self.data)

    def index(self, at: int) -> int:
        """Where in the folded text the text's character `at` is, or what follows it where it cannot be seen."""
        return min(at, len(self.source)) if self._same else bisect_left(self.folded.starts, at)

    def source_of(self, byte: int) -> int:
        """The text's character that is seen at `byte`; its length at the end."""
        index = bisect_left(self._bytes, byte)
        return self.folded.starts[index] if index < len(self.folded.starts) else len(self.source)

    def finding(self, begin: int, end: int, rule: str) -> Finding:
        """Of bytes that are not none."""
        if self._same:
            return Finding(begin, end, rule)
        first = bisect_left(self._bytes, begin)
        last = bisect_left(self._bytes, end) - 1
        return Finding(self.folded.starts[first], self.folded.ends[last], rule)

    def seen(self, begin: int, end: int, rule: str) -> Finding:
        """Of characters of the folded text that are not none."""
        return Finding(self.folded.starts[begin], self.folded.ends[end - 1], rule)

    def listed(self, every: Every, rule: str) -> list[Finding]:
        """All that is to be found, made once."""
        if every not in self._listed:
            self._listed[every] = [self.seen(begin, end, rule) for begin, end in every(self.folded.text)]
        return self._listed[every]

    def back(self, count: int) -> int:
        """The text's character behind which `count` are seen that nothing to come can change; 0 if there are fewer."""
        stable = len(self.folded.starts)
        if not isinstance(self.folded.starts, range) or not is_usual(self.source):
            stable = bisect_left(self.folded.starts, self.last_segment)
        elif stable:
            stable -= 1  # a mark may follow the last one
        return self.folded.starts[stable - count] if stable > count else 0


def segment_at(text: str, at: int) -> int:
    """Where the segment begins that holds the character."""
    while at > 0 and continues(text, at):
        at -= 1
    return max(at, 0)


Kind = Callable[[str], Folded]
"""How a text is looked at."""
Accept = Callable[[View, Found], tuple[int, int, str] | int]
"""Bytes and rule of the finding that a match is; where it is none, the byte where the next may begin."""
Seek = Callable[[View, int], Finding | None]
"""The first finding that begins at or behind a character of the text."""
Every = Callable[[str], Iterable[tuple[int, int]]]
"""Where in a text all findings begin and end that there may be, in order of where they begin. They may overlap."""


def by_pattern(pattern: Compiled, accept: Accept) -> Seek:
    """By RE2."""

    def seek(view: View, at: int) -> Finding | None:
        here = view.byte(at)
        while here <= len(view.data) and (found := pattern.search(view.data, here)) is not None:
            begin, end = found.span()
            accepted = accept(view, found) if begin < end else begin + 1
            if not isinstance(accepted, int):
                return view.finding(*accepted)
            here = accepted
        return None

    return seek


def by_expression(pattern: re.Pattern[str], rule: str) -> Seek:
    """By an expression of Python's, whose work must grow with the text no faster than it does."""

    def seek(view: View, at: int) -> Finding | None:
        found = pattern.search(view.folded.text, view.index(at))
        return view.seen(*found.span(), rule) if found else None

    return seek


def by_list(every: Every, rule: str) -> Seek:
    """One of those that are found all at once."""

    def seek(view: View, at: int) -> Finding | None:
        listed = view.listed(every, rule)
        index = bisect_left(listed, (at,))
        return listed[index] if index < len(listed) else None

    return seek


@dataclass(frozen=True, eq=False)
class Scan:
    """One thing to look for, in one view of the text."""

    kind: Kind
    seek: Seek
    longest: int | None = None
    """Characters, as seen, that a finding can have; None: any number, unless `opening` tells."""
    opening: Compiled | None = None
    """Matches, to the end of the text, whatever could be or become a finding."""
    hint: Callable[[bytes], object] | None = None
    """Cheap: a text of which this is nothing has no finding, and no beginning of one."""
    sign: Compiled | None = None
    """Matches in every finding."""

    @property
    def unbounded(self) -> bool:
        """Is nothing certain before the text is whole?"""
        return self.longest is None and self.opening is None

    def settled(self, view: View, at: int) -> int:
        """Up to where, from a character on, nothing begins that what is still to come decides."""
        if self.opening is not None:
            found = self.opening.search(view.data, view.byte(at))
            start = view.source_of(found.span()[0]) if found else len(view.source)
            return max(at, min(start, view.last_segment))
        return at if self.longest is None else max(at, view.back(self.longest))


@dataclass(frozen=True, eq=False)
class Sieve:
    """Tells by one search whether any of many scans has anything to find: most texts have not."""

    sign: Compiled
    """Any of theirs."""
    opening: Compiled | None
    longest: int

    def settled(self, view: View, at: int, until: int, *, last: bool) -> int | None:
        """Up to where, from a character on, nothing begins and nothing that is still to come decides; None: something
        may be found."""
        begin = view.byte(at)
        if self.sign.search(view.data, begin) is not None:
            return None
        if last:
            return until
        settled = view.last_segment
        if self.opening is not None and (found := self.opening.search(view.data, begin)) is not None:
            settled = min(settled, view.source_of(found.span()[0]))
        if self.longest:
            settled = min(settled, view.back(self.longest))
        return max(at, settled)


def sieve(scans: Sequence[Scan]) -> Sieve | None:
    """For these, if all have signs and something bounds them, and RE2 takes their patterns as one."""
    signs = [scan.sign for scan in scans if scan.sign is not None]
    openings = [scan.opening for scan in scans if scan.opening is not None]
    if len(signs) < len(scans) or any(scan.unbounded for scan in scans):
        return None
    try:
        opening = _any(openings, end=r"\z") if openings else None
        return Sieve(_any(signs), opening, max(scan.longest or 0 for scan in scans))
    except (re2.error, ValueError):
        return None


def _any(patterns: Sequence[Compiled], end: str = "") -> Compiled:
    """`end`: what all end with; so RE2 knows it, and begins there. Raises re2.error, or ValueError for what takes long
    to make, or may not end where it seems to."""
    if len({id(each) for each in patterns}) == 1:
        return patterns[0]
    alternatives = {(b"(?:%b)" if each.options.case_sensitive else b"(?i:%b)") % each.pattern for each in patterns}
    pattern = b"|".join(sorted(alternatives))
    if len(pattern) > _LARGEST or b"\\Q" in pattern:
        raise ValueError("too large, or with a quotation that ends with its pattern")
    return compiled(f"(?:{pattern.decode()}){end}", _MEMORY, never_capture=True)


@dataclass(frozen=True, eq=False)
class Detector:
    """What one guardrail looks for."""

    scans: tuple[Scan, ...]
    label: Callable[[str], str]
    """What is shown in place of what was found, by its rule."""
    sieve: Sieve | None = None

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """How it looks at a text."""
        return tuple(dict.fromkeys(scan.kind for scan in self.scans))

    def find(self, text: str | Views) -> list[Finding]:
        """All findings of a whole text, in order of where they begin. The same may be found in several views."""
        views = Views(text) if isinstance(text, str) else text
        if views.settled(self, 0, views.size, last=True) is not None:
            return []
        found = [each for scan in self.scans for each in views.whole(scan)]
        return sorted(dict.fromkeys(found), key=place)


class Views:
    """One text, as all scans see it. Where two see the same, it is searched once."""

    def __init__(self, text: str, most: int | None = None) -> None:
        self._text = text
        self.size = len(text)
        self._most = most
        """Findings of one scan; what is behind them is then one more."""
        self._views: dict[Kind, View] = {plain: View(text, plain(text))}
        self._done: dict[tuple[Seek, View, int], tuple[list[Finding], int]] = {}

    def whole(self, scan: Scan) -> list[Finding]:
        """All of a text that is whole."""
        return self.searched(scan, 0, self.size, last=True)[0]

    def settled(self, detector: Detector, at: int, until: int, *, last: bool) -> int | None:
        """Up to where, from a character on, the detector finds nothing; None: it has to be searched."""
        if detector.sieve is None:
            return None
        found = until
        for view in {self._views.get(kind) or self._seen(kind) for kind in detector.kinds}:
            settled = detector.sieve.settled(view, at, until, last=last)
            if settled is None:
                return None
            found = min(found, settled)
        return found

    def searched(self, scan: Scan, at: int, until: int, *, last: bool) -> tuple[list[Finding], int]:
        """What begins from `at` on and before `until`, so far as it is certain, and up to where that is."""
        view = self._views.get(scan.kind) or self._seen(scan.kind)
        key = scan.seek, view, at
        if key not in self._done:
            self._done[key] = _searched(scan, view, at, until, last=last, most=self._most)
        return self._done[key]

    def _seen(self, kind: Kind) -> View:
        seen = kind(self._text)
        view = self._views[plain] if seen.text == self._text else View(self._text, seen)
        self._views[kind] = view
        return view


def _searched(
    scan: Scan, view: View, at: int, until: int, *, last: bool, most: int | None = None
) -> tuple[list[Finding], int]:
    findings: list[Finding] = []
    if scan.hint is not None and not scan.hint(view.data):
        return findings, until if last else max(at, view.last_segment)
    settled = until if last else scan.settled(view, at)
    while at < settled and (finding := scan.seek(view, at)) and finding.start < settled:
        if len(findings) == most:
            return [*findings, finding._replace(end=until)], until
        findings.append(finding)
        at = finding.end
        if at > settled:
            settled = scan.settled(view, at)
    return findings, max(at, settled)


def as_matched(rule: str) -> Accept:
    """Every match is a finding."""
    return lambda _view, found: (*found.span(), rule)
