"""How text is searched: from left to right, each finding behind the one before.

Text also comes in pieces. So that it makes no difference how it is cut, a finding depends on nothing but its own
characters and the one on either side, and a scan can tell up to where what is still to come changes nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Protocol

import re2

from dataplane.guardrails.folding import Folded, continues, is_usual, plain

_SIEVE = 8 * 1024 * 1024
"""Bytes for RE2, of many patterns at once."""
_character = re.compile(rb"[^\x80-\xbf]").finditer


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

    def __post_init__(self) -> None:
        # A lone surrogate is no text, and becomes one `?`.
        self.data = self.folded.text.encode("utf-8", "replace")

    @cached_property
    def _bytes(self) -> Sequence[int]:
        """Where each character of the folded text begins."""
        if len(self.data) == len(self.folded.text):
            return range(len(self.data))
        return [found.start() for found in _character(self.data)]

    @cached_property
    def last_segment(self) -> int:
        """Where the text's last segment begins, which may yet become another."""
        return segment_at(self.source, len(self.source) - 1)

    def byte(self, at: int) -> int:
        """Where in `data` the text's character `at` begins, or what follows it where it cannot be seen."""
        index = bisect_left(self.folded.starts, at)
        return self._bytes[index] if index < len(self._bytes) else len(self.data)

    def source_of(self, byte: int) -> int:
        """The text's character that is seen at `byte`; its length at the end."""
        index = bisect_left(self._bytes, byte)
        return self.folded.starts[index] if index < len(self.folded.starts) else len(self.source)

    def finding(self, begin: int, end: int, rule: str) -> Finding:
        """Of bytes that are not none."""
        first = bisect_left(self._bytes, begin)
        last = bisect_left(self._bytes, end) - 1
        return Finding(self.folded.starts[first], self.folded.ends[last], rule)

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


@dataclass(frozen=True, eq=False)
class Scan:
    """One pattern, in one view of the text."""

    kind: Kind
    pattern: Compiled
    accept: Accept
    longest: int | None = None
    """Characters, as seen, that a finding can have; None: any number, unless `opening` tells."""
    opening: Compiled | None = None
    """Matches, to the end of the text, whatever could be or become a finding."""
    hint: Callable[[bytes], object] | None = None
    """Cheap: a text of which this is nothing has no finding, and no beginning of one."""

    @property
    def unbounded(self) -> bool:
        """Is nothing certain before the text is whole?"""
        return self.longest is None and self.opening is None

    def first(self, view: View, at: int) -> Finding | None:
        """The first finding that begins at or behind a character of the text."""
        here = view.byte(at)
        while here <= len(view.data) and (found := self.pattern.search(view.data, here)) is not None:
            begin, end = found.span()
            accepted = self.accept(view, found) if begin < end else begin + 1
            if not isinstance(accepted, int):
                return view.finding(*accepted)
            here = accepted
        return None

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

    pattern: Compiled
    """Any of theirs."""
    opening: Compiled | None
    longest: int

    def settled(self, view: View, at: int, until: int, *, last: bool) -> int | None:
        """Up to where, from a character on, nothing begins and nothing that is still to come decides; None: something
        may be found."""
        begin = view.byte(at)
        if self.pattern.search(view.data, begin) is not None:
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
    """For these, if something bounds them, and RE2 takes their patterns as one."""
    if any(scan.unbounded for scan in scans):
        return None
    openings = [scan.opening for scan in scans if scan.opening is not None]
    try:
        pattern = _any([scan.pattern for scan in scans])
        opening = _any(openings, end=r"\z") if openings else None
        return Sieve(pattern, opening, max(scan.longest or 0 for scan in scans))
    except (re2.error, ValueError):
        return None


def _any(patterns: Sequence[Compiled], end: str = "") -> Compiled:
    """`end`: what all end with; so RE2 knows it, and begins there. Raises re2.error, or ValueError for what may not end
    where it seems to."""
    if len({id(each) for each in patterns}) == 1:
        return patterns[0]
    each = {(b"(?:%b)" if one.options.case_sensitive else b"(?i:%b)") % one.pattern for one in patterns}
    if any(b"\\Q" in one for one in each):
        raise ValueError("a quotation ends with the pattern")
    return compiled(f"(?:{b'|'.join(sorted(each)).decode()}){end}", _SIEVE, never_capture=True)


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

    def find(self, text: str) -> list[Finding]:
        """All findings of a whole text, in order of where they begin. The same may be found in several views."""
        views, end = Views(text), len(text)
        if views.settled(self, 0, end, last=True) is not None:
            return []
        found = [each for scan in self.scans for each in views.searched(scan, 0, end, last=True)[0]]
        return sorted(dict.fromkeys(found), key=place)


class Views:
    """One text, as all scans see it. Where two see the same, it is searched once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._views: dict[Kind, View] = {plain: View(text, plain(text))}
        self._done: dict[tuple[Compiled, Accept, View, int], tuple[list[Finding], int]] = {}

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
        key = scan.pattern, scan.accept, view, at
        if key not in self._done:
            self._done[key] = _searched(scan, view, at, until, last=last)
        return self._done[key]

    def _seen(self, kind: Kind) -> View:
        seen = kind(self._text)
        view = self._views[plain] if isinstance(seen.starts, range) else View(self._text, seen)
        self._views[kind] = view
        return view


def _searched(scan: Scan, view: View, at: int, until: int, *, last: bool) -> tuple[list[Finding], int]:
    findings: list[Finding] = []
    if scan.hint is not None and not scan.hint(view.data):
        return findings, until if last else max(at, view.last_segment)
    settled = until if last else scan.settled(view, at)
    while at < settled and (finding := scan.first(view, at)) and finding.start < settled:
        findings.append(finding)
        at = finding.end
        if at > settled:
            settled = scan.settled(view, at)
    return findings, max(at, settled)


def as_matched(rule: str) -> Accept:
    """Every match is a finding."""
    return lambda _view, found: (*found.span(), rule)
