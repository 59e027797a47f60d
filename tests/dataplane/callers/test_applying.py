"""Which blocks of Policies are for a caller."""

from __future__ import annotations

import pytest

from dataplane.callers import applies, applying
from dataplane.metering.usage import ANONYMOUS, Caller
from dataplane.table import ModelAllow, Subject


@pytest.mark.parametrize(
    ("subjects", "expected"),
    [
        ((), True),
        ((Subject(namespace="ai", key="ci"),), True),
        ((Subject(namespace="ai", team="support"),), True),
        ((Subject(namespace="ai", team="other"), Subject(namespace="ai", key="ci")), True),
        ((Subject(namespace="ai", key="ci", team="other"),), False),
        ((Subject(namespace="other", key="ci"),), False),
        ((Subject(namespace="ai", key="x"),), False),
    ],
)
def test_subjects(subjects: tuple[Subject, ...], expected: bool) -> None:
    assert applies(subjects, Caller("ai", "ci", "support")) == expected
    assert applies(subjects, ANONYMOUS) == (not subjects)


def test_those_that_apply_come_in_their_order() -> None:
    ours, theirs = (Subject(namespace="ai", team=team) for team in ("support", "sales"))
    blocks = [
        ModelAllow(policy=policy, subjects=subjects, patterns=("*",))
        for policy, subjects in (("a", (theirs,)), ("b", (ours,)), ("c", (theirs, ours)), ("d", ()))
    ]
    assert [block.policy for block in applying(blocks, Caller("ai", "ci", "support"))] == ["b", "c", "d"]
    assert [block.policy for block in applying(blocks, ANONYMOUS)] == ["d"]
