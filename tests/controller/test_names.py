"""What is said of names that lead nowhere."""

from __future__ import annotations

import pytest

from controller import compile as compiler
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


def httproute(namespace: str, *names: str) -> dict[str, object]:
    refs = [{"group": "tidegate.dev", "kind": "Backend", "name": name} for name in names]
    rules = [{"backendRefs": refs[first : first + 16]} for first in range(0, len(refs), 16)]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "r", "namespace": namespace},
        "spec": {"rules": rules},
    }


def test_whoever_has_names_without_end_that_lead_nowhere_keeps_nobody_waiting() -> None:
    """To look for those that are near takes a millisecond each: of 300 routes of one tenant that was 90 seconds."""
    many = [f"x{number}" for number in range(256)]
    found = compiler.compile([httproute("a-tenant", *many), httproute("b-tenant", "y")])
    hostile, other = (each.conditions[1].message.split("; ") for each in found.statuses)
    assert hostile.count("there is none here") == 200
    assert hostile.count("more than 200 names in a-tenant lead nowhere, so what exists is not listed here") == 56
    assert other == ["spec.rules[0].backendRefs[0].name: there is no Backend b-tenant/y", "there is none here"]
