"""What guardrails say of a text: what is wrong with it, and how much of that may be shown.

Masks lie on the text as it was, and where two overlap, one lies on both, named for the wider: no guardrail judges the
labels of another, and nothing of either shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from dataplane.guardrails import keywords, pii, regex
from dataplane.guardrails.detection import Detector, Finding, Views, place
from dataplane.guardrails.folding import joined
from dataplane.slices import Slices, at_once
from dataplane.table.guardrails import Guardrail

Direction = Literal["input", "output"]


class Guard(NamedTuple):
    """A guardrail, made ready."""

    rule: Guardrail
    detector: Detector | None
    """None: somebody else is asked, a webhook or a moderation."""

    @property
    def enforces(self) -> bool:
        return self.rule.enforces


class Hit(NamedTuple):
    """What one guardrail found in a text, by one of its rules."""

    guardrail: Guardrail
    rule: str
    action: Literal["block", "mask", "flag"]
    shadow: bool
    findings: int = 1


class Answer(NamedTuple):
    """What a webhook or a moderation said of a whole text."""

    rule: str = ""
    """What it found; empty: nothing."""
    text: str | None = None
    """With masks, where it was asked for them and has put some."""
    failed: str = ""
    """Why it did not judge, in a word (see the metric `tidegate.guardrail.failures`); empty: it did."""


FAILED = "not_judged"
"""The rule of a hit that says that nobody judged the text."""
TOO_LARGE = "too_large"
"""Why nobody did who could have, or the rule of a hit that says so: the text is larger than what is judged."""


class Verdict(NamedTuple):
    text: str | None = None
    """With masks, where there is something to mask."""
    blocked: Hit | None = None
    """The one that begins first, of those that block."""
    hits: tuple[Hit, ...] = ()


class Mark(NamedTuple):
    """A finding, and whose it is."""

    finding: Finding
    guard: Guard


def passes(guardrail: Guardrail, failed: str) -> bool:
    """Does a text go on that was not judged, for this reason? Of one that enforces and fails open all may that was not
    the doing of who wrote it."""
    return not guardrail.enforces or (guardrail.open and failed != TOO_LARGE)


def answered(guardrail: Guardrail, answer: Answer) -> Verdict:
    """The verdict that an answer amounts to."""
    if answer.failed:
        failed = Hit(guardrail, TOO_LARGE if answer.failed == TOO_LARGE else FAILED, "block", shadow=False)
        return Verdict() if passes(guardrail, answer.failed) else Verdict(None, failed, (failed,))
    if not answer.rule:
        return Verdict()
    masks = guardrail.action == "mask" and answer.text is not None
    action = "block" if guardrail.action == "mask" and not masks else guardrail.action
    hit = Hit(guardrail, answer.rule, action, guardrail.shadow)
    if guardrail.enforces and masks:
        return Verdict(answer.text, None, (hit,))
    return Verdict(None, hit if guardrail.enforces else None, (hit,))


def why(hit: Hit) -> str:
    """What a client is told of a block. Which of the keywords it was tells nothing to who does not have the Policy."""
    rule = "keywords" if _is_word(hit) else hit.rule
    return f"Guardrail blocked this request: {hit.guardrail.reason or f'{hit.guardrail.name}: {rule}'}"


def _is_word(hit: Hit) -> bool:
    return hit.guardrail.keywords is not None and hit.rule.startswith(keywords.RULE)


def ready(guardrail: Guardrail) -> Guard:
    """To be made once for each table. Raises ValueError, which says what is wrong, for what cannot be searched."""
    return at_once(making(guardrail))


def making(guardrail: Guardrail) -> Slices[Guard]:
    """`ready` in slices."""
    detector = None
    if guardrail.keywords is not None:
        detector = yield from keywords.detector(guardrail.keywords, guardrail.name)
    elif guardrail.regex is not None:
        detector = yield from regex.detector(guardrail.regex, guardrail.name)
    elif guardrail.pii is not None:
        detector = pii.detector(guardrail.pii)
    return Guard(guardrail, detector)


class Judge:
    """Guardrails that hold in one direction."""

    def __init__(self, guards: Sequence[Guard], direction: Direction) -> None:
        held = [guard for guard in guards if (guard.rule.input if direction == "input" else guard.rule.output)]
        self.local = tuple([guard for guard in held if guard.detector is not None])
        self.remote = tuple([guard.rule for guard in held if guard.detector is None])
        """Those that somebody else must be asked about, once the text is whole."""
        self.waits = any(guard.detector is None and guard.enforces for guard in held)
        """May nothing be shown before they answered?"""

    def whole(self, text: str, most: int | None = None) -> Verdict:
        """By those that are judged here. Where one finds more than `most`, all that follows is one finding."""
        text = joined(text)
        views = Views(text, most)
        marks = [
            Mark(finding, guard) for guard in self.local if guard.detector for finding in guard.detector.find(views)
        ]
        blocked = first_block(marks)
        masks = masks_of(marks)
        shown = None if blocked or not masks else masked(text, 0, len(text), masks)
        return Verdict(shown, blocked and hit_of(blocked), hits_of(marks))


class Mask(NamedTuple):
    start: int
    end: int
    label: str


def first_block(marks: Iterable[Mark]) -> Mark | None:
    blocking = [mark for mark in marks if mark.guard.enforces and mark.guard.rule.action == "block"]
    return min(blocking, key=lambda mark: place(mark.finding), default=None)


def masks_of(marks: Iterable[Mark]) -> list[Mask]:
    """In order, and apart from each other."""
    masking = [mark for mark in marks if mark.guard.enforces and mark.guard.rule.action == "mask"]
    masks: list[Mask] = []
    widest = 0
    for finding, guard in sorted(masking, key=lambda mark: place(mark.finding)):
        label = guard.detector.label(finding.rule) if guard.detector else ""
        width = finding.end - finding.start
        if masks and finding.start < masks[-1].end:
            last = masks[-1]
            masks[-1] = Mask(last.start, max(last.end, finding.end), label if width > widest else last.label)
            widest = max(widest, width)
        else:
            masks.append(Mask(finding.start, finding.end, label))
            widest = width
    return masks


def masked(text: str, start: int, end: int, masks: Sequence[Mask]) -> str:
    """A part of the text with those masks that lie in it whole."""
    parts = []
    for mask in masks:
        if start <= mask.start and mask.end <= end:
            parts += [text[start : mask.start], mask.label]
            start = mask.end
    return "".join([*parts, text[start:end]])


def hit_of(mark: Mark, findings: int = 1) -> Hit:
    rule = mark.guard.rule
    return Hit(rule, mark.finding.rule, rule.action, rule.shadow, findings)


def hits_of(marks: Iterable[Mark]) -> tuple[Hit, ...]:
    """One for each guardrail and rule; what two patterns or views find at one place counts once."""
    hits: dict[tuple[str, str, str], Hit] = {}
    seen: set[tuple[str, str, Finding]] = set()
    for mark in marks:
        policy, name, rule = mark.guard.rule.policy, mark.guard.rule.name, mark.finding.rule
        if (policy, name, mark.finding) not in seen:
            seen.add((policy, name, mark.finding))
            before = hits.get((policy, name, rule))
            hits[policy, name, rule] = hit_of(mark, before.findings + 1 if before else 1)
    return tuple(hits.values())
