"""What tables are made of is kept away from collections of garbage, and garbage is still collected."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from dataplane.process.garbage import MANY, OVERDUE, Garbage


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


class Knot:
    """Garbage that only a collection frees."""

    def __init__(self) -> None:
        self.itself = self


def test_many_parts_are_set_aside_and_nothing_is_collected_while_they_are_made() -> None:
    frozen = gc.get_freeze_count()
    with Garbage(lambda: False).kept_away() as growing:
        growing(1)
        assert gc.isenabled()
        growing(MANY)
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > frozen


def test_few_parts_are_left_to_collections() -> None:
    frozen = gc.get_freeze_count()
    with Garbage(lambda: True).kept_away() as growing:
        growing(MANY)
        assert gc.isenabled()
    assert gc.get_freeze_count() == frozen


def test_what_was_set_aside_and_has_become_garbage_goes_once_nobody_is_served() -> None:
    serving = True
    garbage = Garbage(lambda: not serving)
    session = Knot()
    alive = weakref.ref(session)
    with garbage.kept_away() as growing:
        growing(MANY + 1)
    del session
    gc.collect()
    garbage.look()
    assert alive(), "a full collection would hold up those who are served"
    serving = False
    garbage.look()
    assert alive() is None


def test_what_survives_a_full_collection_is_set_aside_and_garbage_of_it_goes_in_the_end() -> None:
    """Nobody is ever idle here."""
    now = 0.0
    garbage = Garbage(lambda: False, lambda: now)
    garbage.start()
    try:
        session = Knot()
        alive = weakref.ref(session)
        gc.collect()
        del session
        gc.collect()
        assert alive(), "a full collection looks at what is new"
        now = OVERDUE - 1
        garbage.look()
        assert alive()
        now = OVERDUE
        garbage.look()
        assert alive() is None
    finally:
        garbage.stop()


def test_new_garbage_is_collected_as_ever() -> None:
    garbage = Garbage(lambda: False)
    garbage.start()
    try:
        gc.collect()
        session = Knot()
        alive = weakref.ref(session)
        del session
        gc.collect()
        assert alive() is None
    finally:
        garbage.stop()


def test_a_table_that_could_not_be_made_leaves_collections_on() -> None:
    def make() -> None:
        with Garbage(lambda: False).kept_away() as growing:
            growing(MANY + 1)
            raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        make()
    assert gc.isenabled()
