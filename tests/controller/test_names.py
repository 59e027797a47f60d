"""What is said of names that lead nowhere."""

from __future__ import annotations

import pytest

from controller.compile.names import nearest, some, what_exists

MANY = [f"{letter}{number:04}" for letter in ("ab", "cd") for number in range(1500)]


@pytest.mark.parametrize(
    ("name", "names", "told"),
    [
        ("helpdesc", ["lab", "helpdesk"], 'did you mean "helpdesk"?'),
        ("HELPDESK", ["lab", "Helpdesk"], 'did you mean "Helpdesk"?'),
        ("zzz", ["lab", "helpdesk"], ""),
        ("x", [], ""),
        ("ab0042x", MANY, 'did you mean "ab0042"?'),
    ],
)
def test_the_nearest(name: str, names: list[str], told: str) -> None:
    assert nearest(name, names) == told


def test_what_exists_begins_with_what_is_near_and_stays_short() -> None:
    assert what_exists("x", []) == "there is none here"
    assert what_exists("labb", ["a", "lab"]) == "there is: lab, a"
    assert what_exists("cd0042x", MANY).startswith("there is: cd0042, ")
    assert what_exists("cd0042x", MANY).endswith(" and 2990 more")
    assert some(["a", "b"]) == "a, b"
