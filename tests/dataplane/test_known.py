"""What names mean is found out once, and not remembered without bounds."""

from __future__ import annotations

from dataplane.known import Known


def test_a_name_is_looked_up_once() -> None:
    asked: list[str] = []
    known: Known[str, int] = Known(lambda name: asked.append(name) or len(name))  # type: ignore[func-returns-value]
    assert [known["a"], known["ab"], known["a"]] == [1, 2, 1]
    assert asked == ["a", "ab"]


def test_neither_long_names_nor_many_are_remembered() -> None:
    known: Known[str, int] = Known(len)
    assert known["x" * 1000] == 1000
    assert len(known) == 0
    for number in range(5000):
        assert known[str(number)] == len(str(number))
        assert len(known) <= 1024
