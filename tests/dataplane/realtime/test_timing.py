"""How long users wait and turns take: each turn is timed from what prompted it, and from nothing else."""

from __future__ import annotations

from dataplane.realtime.timing import MOST, Course, Timings


def test_a_spoken_turn() -> None:
    it = Timings()
    it.prompted(10.0, "voice")
    it.began(10.2, "r1", "voice", asked=0)
    course = it.spoke(10.5, "r1")
    assert course is not None
    assert course.waited == 0.5
    assert it.ended("r1") == Course(10.2, "voice", 10.0, 10.5)
    assert it.ended("r1") is None


def test_the_last_time_that_the_user_fell_silent_counts() -> None:
    it = Timings()
    it.prompted(1.0, "voice")
    it.prompted(3.0, "voice")
    it.began(3.5, "r1", "voice", asked=0)
    it.began(9.0, "r2", "voice", asked=0)
    assert it.ended("r1") == Course(3.5, "voice", 3.0)
    assert it.ended("r2") == Course(9.0, "voice", None)


def test_who_cut_a_turn_off_is_known_of_those_that_are_under_way() -> None:
    it = Timings()
    it.began(1.0, "r1", "client", asked=0)
    it.began(2.0, "r2", "client", asked=0)
    it.interrupted("r1", "voice")
    it.interrupted("nobody knows", "client")
    assert it.ended("r1") == Course(1.0, "client", None, interrupted_by="voice")
    assert it.ended("r2") == Course(2.0, "client", None)
    assert it.ended("nobody knows") is None


def test_a_turn_that_nobody_prompted_has_no_figure() -> None:
    it = Timings()
    it.began(5.0, "r1", "client", asked=0)
    course = it.spoke(6.0, "r1")
    assert course is not None
    assert course.waited is None


def test_a_turn_without_audio_has_no_figure() -> None:
    assert Course(1.0, "client", 0.5).waited is None


def test_only_the_first_audio_counts_and_only_of_turns_that_are_known() -> None:
    it = Timings()
    it.prompted(0.0, "client")
    it.began(1.0, "r1", "client", asked=0)
    it.spoke(2.0, "r1")
    it.spoke(3.0, "r1")
    assert it.ended("r1") == Course(1.0, "client", 0.0, 2.0)
    assert it.spoke(3.0, "r2") is None


def test_turns_begin_in_the_order_that_they_were_asked_for() -> None:
    it = Timings()
    for now in (1.0, 2.0, 3.0):
        it.prompted(now, "client")
    it.began(4.0, "r1", "client", asked=2)
    it.began(5.0, "r2", "client", asked=1)
    it.began(6.0, "r3", "client", asked=0)
    assert [it.ended(name) for name in ("r3", "r1", "r2")] == [
        Course(6.0, "client", 3.0),
        Course(4.0, "client", 1.0),
        Course(5.0, "client", 2.0),
    ]


def test_one_that_was_refused_is_not_taken_for_another() -> None:
    it = Timings()
    it.prompted(1.0, "client")  # the upstream refuses it
    it.prompted(9.0, "client")
    it.began(9.5, "r1", "client", asked=0)
    assert it.ended("r1") == Course(9.5, "client", 9.0)


def test_what_never_ends_is_bounded() -> None:
    it = Timings()
    for number in range(3 * MOST):
        it.prompted(number, "client")
        it.began(number, f"r{number}", "client", asked=0)
    for number in range(3 * MOST):
        it.prompted(number, "client")
    assert len(it._open) == len(it._asked) == MOST
    assert it.ended("r0") is None
    assert it.ended(f"r{3 * MOST - 1}") is not None
    it.began(1e6, "r", "client", asked=3 * MOST - 1)  # of those before the ones that are remembered
    assert it.ended("r") == Course(1e6, "client", None)
