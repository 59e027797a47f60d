"""The README's promises: the tests that it names are there, by that name."""

import re

import pytest

from tests.docs.pages import ROOT

PROOFS = re.findall(r"\[`(test_\w+)`\]\((\S+?)\)", (ROOT / "README.md").read_text("utf-8"))


def test_there_are_promises() -> None:
    assert len(PROOFS) >= 8


@pytest.mark.parametrize(("name", "file"), PROOFS)
def test_the_proof_is_there(name: str, file: str) -> None:
    assert re.search(rf"def {name}\(", (ROOT / file).read_text("utf-8"))
