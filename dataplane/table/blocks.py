"""What all blocks of Policies have in common: who says so, and for whom."""

from __future__ import annotations

from dataplane.table.entry import Frozen


class Subject(Frozen):
    """Callers that a part of a Policy is for: one key, or one team, of the callers that `namespace` knows."""

    namespace: str
    key: str = ""
    team: str = ""


class Block(Frozen):
    """A block of a Policy, for some callers or for all."""

    policy: str
    """`namespace/name` of the Policy that says so, for `explain` and logs."""
    subjects: tuple[Subject, ...] = ()
    """Empty: for everyone."""
