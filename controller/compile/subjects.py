"""Subjects of Policies whom nobody can be, since no caller has that name: a slip of the pen that would stay unseen, as
such a Policy holds for nobody and harms nobody.

Nothing is said where not all callers are known here: where tokens name them, or where Secrets are missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from controller.compile.names import Instead, nearest, what_exists
from crds.policy import Subject

Names = frozenset[str] | None
"""None: there may be others, whose names nobody knows here."""


class Known(NamedTuple):
    """Who may come some way: names of callers and of teams, as Policies of this namespace have them."""

    namespace: str
    keys: Names
    teams: Names


NOBODY: Final = Known("", frozenset(), frozenset())
"""Nobody who has a name, since nobody is asked for one."""


def nobody(subjects: Sequence[Subject], ways: Sequence[Known], namespace: str, instead: Instead) -> Iterator[str]:
    """What is to be said of each subject, of a Policy of this namespace, that is nobody on any of these ways."""
    for index, subject in enumerate(subjects):
        names, others = [each.keys for each in ways], [each.teams for each in ways]
        field, name, what = "key", subject.key or "", "is called"
        if subject.team:
            names, others = others, names
            field, name, what = "team", subject.team, "is of team"
        if ways and all(each is not None and name not in each for each in names):
            at = f"spec.subjects[{index}].{field}"
            exists = instead.too_often(namespace) or _instead(name, field, _all(names), _all(others))
            yield f'{at}: nobody who comes here {what} "{name}"; {exists}'


def _all(names: Sequence[Names]) -> frozenset[str]:
    return frozenset(name for each in names for name in each or ())


def _instead(name: str, field: str, names: frozenset[str], others: frozenset[str]) -> str:
    """What to write."""
    if name in others:
        other = "team" if field == "key" else "key"
        return f"there is a {other} of that name: write {other}: {name}"
    exists = what_exists(name, names)
    return f"{hint} ({exists})" if (hint := nearest(name, names)) else exists
