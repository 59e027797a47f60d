"""What kopf's thread tells: the newest of each object, however much comes before anybody looks."""

from __future__ import annotations

from controller.kinds import BACKEND, POLICY
from controller.watching import Mailbox
from tests.controller.cluster import thing


def test_it_rings_once_for_all_that_comes_before_it_is_emptied() -> None:
    rings: list[int] = []
    mailbox = Mailbox(lambda: rings.append(1))
    for version in range(1, 1001):
        mailbox.put(BACKEND, thing(BACKEND, "a", version), deleted=False, listed=False)
    mailbox.put(POLICY, thing(POLICY, "p", 7), deleted=True, listed=False)
    assert len(rings) == 1
    events, listed = mailbox.empty()
    assert events == [(BACKEND, thing(BACKEND, "a", 1000), False), (POLICY, thing(POLICY, "p", 7), True)]
    assert listed == set()
    mailbox.put(BACKEND, thing(BACKEND, "a", 1001), deleted=False, listed=False)
    assert len(rings) == 2


def test_the_newest_of_an_object_stays() -> None:
    mailbox = Mailbox(lambda: None)
    mailbox.put(BACKEND, thing(BACKEND, "a", 5), deleted=True, listed=False)
    mailbox.put(BACKEND, thing(BACKEND, "a", 4), deleted=False, listed=True)
    assert mailbox.empty() == ([(BACKEND, thing(BACKEND, "a", 5), True)], {BACKEND})
    assert mailbox.empty() == ([], set())
