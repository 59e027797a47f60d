"""Which label sets a metric has. There is room for so many, and callers cannot take that of others.

A metric has room for `LABEL_SETS` without the name of a caller, and for as many with one. Names of keys and teams may
come from tokens, so that whoever issues these makes names up. So the second room is shared: the callers of one tenant
(the namespace of the Backend that they use) may take as many sets as are still free, and so there always is something
left for the next tenant, however many came before: a half to the first, of what is left a half to the second. Sets with
a key may take half of that. Who finds no room is counted with `_OTHER` in the place of the key, or of both names: what
a team used stays right while its keys are too many, and what a Backend used whoever uses it.

Nothing is ever removed, since counters must not go backwards. Labels are text that every reader takes, whatever comes
in: that is seen to when a set is new, so that it costs the others nothing. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from dataplane.metering.names import clean

Labels = tuple[str, ...]
"""Values, in the order of `Definition.labels`; a value is empty where its label does not apply. A metric of the
process has no labels, and one label set: `()`."""

LABEL_SETS = 1000
LONGEST_LABEL = 512
"""Characters: Kubernetes' names of two objects fit."""
OVERFLOW: Labels = ("overflow",) * 32
"""Stands for all label sets that find no room. No metric has as many labels, so it is not one of theirs."""
OTHER = "_OTHER"
"""Stands for names that are not told apart."""

BACKEND = "backend"
CALLER = ("tidegate.caller.team", "tidegate.caller.key")
"""The names of a caller, in this order wherever they are, behind the Backend's."""


class Room:
    """What is left for label sets of a metric with these labels."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._team = labels.index(CALLER[0]) if CALLER[0] in labels else None
        self._backend = labels.index(BACKEND) if BACKEND in labels else 0
        self._with_names: Counter[str] = Counter()
        """By tenant."""
        self._all_with_names = 0

    def admitted(self, labels: Labels, known: Collection[Labels]) -> Labels:
        """A label set that is not among those that are known, as it is counted."""
        labels = tuple(clean(each, LONGEST_LABEL) for each in labels)
        while labels not in known:
            if self._takes(labels, known):
                return labels
            labels = self._with_fewer_names(labels)
        return labels

    def _takes(self, labels: Labels, known: Collection[Labels]) -> bool:
        team, key = self._names(labels)
        if not (team or key):
            return labels is OVERFLOW or len(known) - self._all_with_names < LABEL_SETS
        tenant = labels[self._backend].partition("/")[0]
        free = LABEL_SETS - self._all_with_names
        if self._with_names[tenant] >= (free // 2 if key else free):
            return False
        self._with_names[tenant] += 1
        self._all_with_names += 1
        return True

    def _names(self, labels: Labels) -> tuple[bool, bool]:
        """Whether it has the name of a team, and of a key."""
        if self._team is None or labels is OVERFLOW:
            return False, False
        team, key = labels[self._team : self._team + 2]
        return team not in ("", OTHER), key not in ("", OTHER)

    def _with_fewer_names(self, labels: Labels) -> Labels:
        team, key = self._names(labels)
        if self._team is None or not (team or key):
            return OVERFLOW
        at = self._team + (1 if key else 0)
        return (*labels[:at], OTHER, *labels[at + 1 :])
