"""Who may have the table, and what others are told."""

from __future__ import annotations

import pytest

from controller.push import door
from controller.push.door import Pod, Refusal, Review

ACCOUNT = "tidegate:tidegate-dataplane"
USER = f"system:serviceaccount:{ACCOUNT}"


def knows(name: str, uid: str) -> bool:
    return (name, uid) == ("dp-0", "u0")


def test_a_gateway_of_this_install() -> None:
    assert door.admitted(Review("", USER, "dp-0", "u0"), ACCOUNT, knows) == Pod("dp-0", "u0")


@pytest.mark.parametrize(
    ("review", "status", "reason"),
    [
        (Review("expired"), 401, "expired"),
        (Review("", "system:serviceaccount:tidegate:default", "dp-0", "u0"), 403, "not of the ServiceAccount"),
        (Review("", "system:serviceaccount:other:tidegate-dataplane", "dp-0", "u0"), 403, "not of the ServiceAccount"),
        (Review("", USER), 403, "bound to no pod"),
        (Review("", USER, "dp-0", "u1"), 403, "not known as a gateway"),
        (Review("", USER, "other", "u0"), 403, "the pod other is not known"),
    ],
)
def test_anybody_else(review: Review, status: int, reason: str) -> None:
    answer = door.admitted(review, ACCOUNT, knows)
    assert isinstance(answer, Refusal)
    assert answer.status == status
    assert reason in answer.reason


@pytest.mark.parametrize(
    ("header", "token"),
    [("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Basic abc", ""), ("Bearer", ""), ("", "")],
)
def test_the_token_of_a_header(header: str, token: str) -> None:
    assert door.token_of(header) == token
