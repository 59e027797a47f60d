"""Which objects are programmed: served, in the generation that the cluster has, by every gateway that is ready. Pure.

Tables are published one after the other; each object's generation is in them from some number on. A gateway has
confirmed a number when it says that it holds a table of that number or a later one: by the table's hash, or, where
another replica of the controller made what it holds, by its watermark, which then has reached the publication's.

Nothing flaps: gateways that are not ready are not asked, one that has just become ready has GRACE to catch up, and of
one whose connection is lost the last word counts for that long. Until then nothing is said of what it is behind with:
what was said of it stays, and what was not confirmed before is not programmed for that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, Literal, NamedTuple, TypeVar

from controller.push.channel import Holding
from dataplane.table.watermark import Watermark, reached

GRACE: Final = 30.0
"""Seconds."""
REMEMBERED: Final = 512
"""Publications. A gateway that holds an older one than these is far behind."""
NAMED: Final = 5
"""Gateways that a message names."""
LONGEST: Final = 1024
"""Characters of a message."""

SubjectT = TypeVar("SubjectT", bound=Hashable)
"""Names an object."""
Version = Hashable
"""Of an object: its uid and generation."""


class Gateway(NamedTuple):
    """A pod of the data plane that is ready, and not about to go."""

    name: str
    uid: str
    since: float
    """When it became ready, in seconds of the clock that `verdicts` is asked with."""


class Verdict(NamedTuple):
    """The condition Programmed."""

    status: bool
    reason: Literal["Programmed", "Pending", "Refused", "NoGateways"]
    message: str


SERVED: Final = Verdict(True, "Programmed", "Served by every ready gateway.")
"""Without their number, which changes with every one that comes or goes: each status would be written anew."""


class _Word(NamedTuple):
    """The last that was heard of a gateway."""

    holding: Holding
    confirmed: int
    heard: float


class _Standing(NamedTuple):
    """Where a gateway stands now."""

    name: str
    confirmed: int
    refused: int
    """The newest publication that it refused; 0: none."""
    reasons: tuple[str, ...]
    silent: bool
    """Is there no word of it?"""
    excused: bool
    """Does it have time to catch up, since it has just become ready?"""


@dataclass(slots=True)
class Programmed(Generic[SubjectT]):
    """`pods`: how to list the gateways' pods with kubectl, for whoever has none that is ready. `begun`: when this
    controller began to listen to gateways."""

    pods: str
    begun: float
    _since: dict[SubjectT, tuple[Version, int]] = field(default_factory=dict)
    """The version of each object, and the publication that had it first."""
    _numbers: dict[str, int] = field(default_factory=dict)
    """The newest publication with each table, by hash; the newest last."""
    _marks: deque[tuple[int, Watermark]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _words: dict[str, _Word] = field(default_factory=dict)
    """By the pod's uid."""
    _ready: dict[str, float] = field(default_factory=dict)
    """Since when each pod is seen to be ready, by uid: by our clock, since that of its node may be ahead."""

    def published(
        self, number: int, tables: Collection[str], watermark: Watermark, objects: Mapping[SubjectT, Version]
    ) -> None:
        """A publication was made of these objects; its table has these hashes, one by schema. Numbers grow from 1."""
        for table in tables:
            self._numbers.pop(table, None)
            self._numbers[table] = number
        while len(self._numbers) > REMEMBERED:
            del self._numbers[next(iter(self._numbers))]
        self._marks.append((number, watermark))
        before, self._since = self._since, {}
        for subject, version in objects.items():
            known = before.get(subject)
            self._since[subject] = known if known and known[0] == version else (version, number)

    def verdicts(
        self, ready: Sequence[Gateway], holdings: Mapping[str, Holding], now: float
    ) -> dict[SubjectT, Verdict]:
        """About every object of the last publication of which something can be said.

        `holdings`: of the gateways that are connected, by the pods' uids."""
        self._listen(holdings, now)
        self._ready = {gateway.uid: min(gateway.since, self._ready.get(gateway.uid, now)) for gateway in ready}
        standings = [self._standing(gateway, now) for gateway in ready]
        unheard = now - self.begun < GRACE and any(each.silent for each in standings)
        numbers = {number for _, number in self._since.values()}
        found = {number: self._verdict(standings, number, unheard) for number in numbers}
        return {
            subject: verdict for subject, (_, number) in self._since.items() if (verdict := found[number]) is not None
        }

    def _listen(self, holdings: Mapping[str, Holding], now: float) -> None:
        for uid, holding in holdings.items():
            self._words[uid] = _Word(holding, self._confirmed(holding, self._words.get(uid)), now)
        for uid in [uid for uid, word in self._words.items() if now - word.heard >= GRACE]:
            del self._words[uid]

    def _confirmed(self, holding: Holding, before: _Word | None) -> int:
        by_hash = self._numbers.get(holding.table, 0)
        by_mark = next(
            (
                number
                for number, mark in reversed(self._marks)
                if holding.watermark and reached(holding.watermark, mark)
            ),
            0,
        )
        same = before.confirmed if before and before.holding.table == holding.table else 0
        return max(by_hash, by_mark, same)

    def _standing(self, gateway: Gateway, now: float) -> _Standing:
        excused = now - self._ready[gateway.uid] < GRACE
        word = self._words.get(gateway.uid)
        if word is None:
            return _Standing(gateway.name, 0, 0, (), True, excused)
        refused = word.holding.refused
        number = self._numbers.get(refused.table, 0) if refused else 0
        reasons = refused.reasons if refused else ()
        return _Standing(gateway.name, word.confirmed, number, reasons, False, excused)

    def _verdict(self, standings: Sequence[_Standing], number: int, unheard: bool) -> Verdict | None:
        if not standings:
            return Verdict(False, "NoGateways", f"No gateway is ready to serve it; see: {self.pods}")
        behind = [each for each in standings if each.confirmed < number]
        late = [each for each in behind if not each.excused and not (unheard and each.silent)]
        if refusing := [each for each in behind if each.refused >= number]:
            return _refused(refusing, [each for each in late if each not in refusing])
        if late:
            return _pending(late, len(standings) - len(behind), len(standings))
        return None if behind else SERVED


def _refused(refusing: Sequence[_Standing], late: Sequence[_Standing]) -> Verdict:
    reasons = "; ".join(dict.fromkeys(reason for each in refusing for reason in each.reasons))
    text = (
        f"Refused by {_names(refusing)}, which go on with what they served before: {reasons or 'they do not say why'}"
    )
    others = f". Not yet served by {_names(late)} either.{_unconnected(late)}" if late else ""
    room = LONGEST - len(others)
    return Verdict(False, "Refused", (text if len(text) <= room else f"{text[: room - 1]}…") + others)


def _pending(late: Sequence[_Standing], serving: int, of: int) -> Verdict:
    text = f"Served by {serving} of {_counted(of)}; not yet by {_names(late)}.{_unconnected(late)}"
    return Verdict(False, "Pending", text)


def _unconnected(late: Sequence[_Standing]) -> str:
    silent = [each for each in late if each.silent]
    return f" No connection to the controller: {_names(silent)}; see its log." if silent else ""


def _counted(number: int) -> str:
    return f"{number} gateway{'' if number == 1 else 's'}"


def _names(standings: Iterable[_Standing]) -> str:
    names = sorted(each.name for each in standings)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
