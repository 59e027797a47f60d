"""Text that comes in pieces and is shown in pieces, under guardrails.

    text   …shown, forgotten… │ context │ held: what something to come may decide │
                              └ as much as a finding depends on

Nothing is shown that could still be part of a finding; what was shown is never judged again. However a text is cut,
together the same is shown of it, the same is found, and the same finding blocks, as if it were judged whole.
"""

from __future__ import annotations

from itertools import chain
from typing import NamedTuple

from dataplane.guardrails.detection import Detector, Finding, Scan, Views, segment_at
from dataplane.guardrails.folding import continues, joined
from dataplane.guardrails.judge import (
    Guard,
    Judge,
    Mark,
    Verdict,
    first_block,
    hit_of,
    hits_of,
    masked,
    masks_of,
)

_OFTEN = 512
"""Characters held up to which every piece is looked at; beyond, when a quarter is new, so that work stays linear."""


_NOTHING = Verdict()


class Out(NamedTuple):
    shown: str
    """What may be shown now, behind what was shown before; with masks."""
    verdict: Verdict
    """Only of what was decided now."""


class _Track:
    """How far one guardrail's scans have come."""

    def __init__(self, guard: Guard, detector: Detector) -> None:
        self.guard, self._detector = guard, detector
        self.at = 0
        """Nothing begins before this but what was found."""
        self._ahead: list[int] = []
        """The same for each scan, where some have come further."""
        self.found: list[Finding] = []
        """In what is not shown yet."""

    def go_on(self, views: Views, end: int, *, last: bool) -> None:
        settled = views.settled(self._detector, self.at, end, last=last)
        if settled is not None:
            self._stand([max(at, settled) for at in self._ahead] or [settled])
            return
        come = self._ahead or [self.at] * len(self._detector.scans)
        for place, scan in enumerate(self._detector.scans):
            found, come[place] = views.searched(scan, come[place], end, last=last)
            self.found += found
        self._stand(come)

    def _stand(self, come: list[int]) -> None:
        self.at = min(come)
        self._ahead = come if max(come) > self.at else []

    def forget(self, cut: int, until: int) -> None:
        """What lies before `cut`, and what begins before `until` of what was found."""
        self.at -= cut
        self._ahead = [at - cut for at in self._ahead]
        self.found = [Finding(start - cut, end - cut, rule) for start, end, rule in self.found if start >= until]


class Window:
    """One text under a judge. `add` and `end` say what may be shown; after a block, nothing."""

    def __init__(self, judge: Judge) -> None:
        self._tracks: list[_Track] = []
        self._watching: list[Guard] = []
        """Those that only look on: they see the whole text at its end."""
        scans: list[Scan] = []
        for guard in judge.local:
            if guard.detector is not None and guard.enforces:
                self._tracks.append(_Track(guard, guard.detector))
                scans += guard.detector.scans
            else:
                self._watching.append(guard)
        self._waits = judge.waits or any(scan.unbounded for scan in scans)
        self._often = max([_OFTEN, *[2 * (scan.longest or 0) for scan in scans]])
        self._watched: list[str] = []
        self._text = ""
        """Context, and what is held."""
        self._shown = 0
        """Characters of it that were shown."""
        self._new: list[str] = []
        """What nobody has looked at yet."""
        self._fresh = 0
        """Characters of that."""
        self.blocked = False

    def add(self, piece: str) -> Out:
        """More of the text."""
        if self.blocked:
            return Out("", _NOTHING)
        if self._watching:
            self._watched.append(piece)
        if not self._tracks and not self._waits:
            return Out(piece, _NOTHING)
        self._new.append(piece)
        self._fresh += len(piece)
        held = len(self._text) - self._shown
        if self._waits or self._fresh < (held // 4 if held > self._often else 1):
            return Out("", _NOTHING)
        return self._look(last=False)

    def end(self) -> Out:
        """There is no more."""
        if self.blocked:
            return Out("", _NOTHING)
        shown, verdict = self._look(last=True)
        watched = Views(joined("".join(self._watched)))
        marks = [
            Mark(finding, guard)
            for guard in self._watching
            if guard.detector
            for finding in guard.detector.find(watched)
        ]
        return Out(shown, verdict._replace(hits=(*verdict.hits, *hits_of(marks))))

    def _look(self, *, last: bool) -> Out:
        text = self._text + joined("".join(self._new))
        self._new.clear()
        if not last and "\ud800" <= text[-1:] <= "\udbff":  # half of a character
            self._new.append(text[-1])
            text = text[:-1]
        self._text, self._fresh = text, len(self._new)
        views = Views(text)
        for track in self._tracks:
            track.go_on(views, len(text), last=last)
        certain = min([track.at for track in self._tracks], default=len(text))
        return self._shows(certain if last else segment_at(text, certain) if certain < len(text) else certain)

    def _shows(self, certain: int) -> Out:
        """Show and forget what lies before `certain`, but for a mask that may become longer."""
        text, begun = self._text, self._shown
        if not any(track.found for track in self._tracks):
            self._forget(certain)
            return Out(text[begun:certain], _NOTHING)
        marks = [Mark(finding, track.guard) for track in self._tracks for finding in track.found]
        decided = [mark for mark in marks if mark.finding.start < certain]
        blocked = first_block(decided)
        masks = masks_of(decided)
        until = blocked.finding.start if blocked else certain
        until = min(chain([until], [mask.start for mask in masks if mask.start < until < mask.end]))
        shown = masked(text, begun, until, masks)
        told = hits_of([mark for mark in decided if blocked or mark.finding.start < until])
        if blocked:
            self.blocked = True
            self._watched.clear()
        self._forget(until)
        return Out(shown, Verdict(None, blocked and hit_of(blocked), told))

    def _forget(self, until: int) -> None:
        """All before `until` but what a finding behind it depends on: the last character that can be seen, and the one
        before it."""
        seen = until - 1
        while seen > 0 and continues(self._text, seen):
            seen -= 1
        seen = max(seen, 0)
        self._text, self._shown = self._text[seen:], until - seen
        for track in self._tracks:
            track.forget(seen, until)
