"""Whether what is wanted is stored: names make lists comparable, and others may have added theirs."""

from __future__ import annotations

import pytest

from controller.conditions import same

READY, ACCEPTED, THEIRS = {"type": "Ready", "n": 1}, {"type": "Accepted", "n": 2}, {"type": "example.com/Cool"}


@pytest.mark.parametrize(
    ("wanted", "stored", "is_same"),
    [
        ([READY, ACCEPTED], [ACCEPTED, READY], True),
        ([READY], [READY, THEIRS], True),
        ([READY], [READY, ACCEPTED], False),
        ([READY, ACCEPTED], [READY], False),
        ([READY], [{**READY, "n": 2}], False),
        ([{"name": "http", "conditions": [READY]}], [{"name": "http", "conditions": [READY], "more": 1}], True),
        ([{"name": "http"}], [{"name": "http"}, {"name": "gone"}], False),
        ([{"kind": "a"}], [{"kind": "b"}], False),
        ([1, 2], [2, 1], False),
        ([], [THEIRS], True),
        ({"addresses": []}, {}, True),
        ({"addresses": []}, {"addresses": [{"value": "a"}]}, False),
        ({"addresses": [{"value": "a"}]}, {}, False),
        ({"conditions": [READY]}, {"conditions": [READY], "more": 1}, True),
        ("a", "a", True),
        ({}, [], False),
    ],
)
def test_same(wanted: object, stored: object, is_same: bool) -> None:
    assert same(wanted, stored) is is_same
