"""Responses that nobody goes on from."""

from __future__ import annotations

from dataplane.http.refused import Refused


def test_the_last_ones_are_known() -> None:
    refused = Refused(2)
    for each in ("a", "b", "", "a", "c"):
        refused.add(each)
    assert [each in refused for each in ("a", "b", "c", "")] == [True, False, True, False]
    refused.passed("a")
    refused.passed("x")
    assert "a" not in refused
