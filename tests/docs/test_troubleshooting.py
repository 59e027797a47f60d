"""The page on troubleshooting has a line for every reason that a condition can give, with what it means in the code."""

import re

from controller.compile.reasons import REASONS
from tests.docs.pages import ROOT

LINES = re.findall(
    r"^\| `(\w+)` \| (.+?) \| (.+) \|$", (ROOT / "docs" / "troubleshooting.md").read_text("utf-8"), re.MULTILINE
)


def test_every_reason_has_its_line_and_every_line_its_reason() -> None:
    assert {reason for reason, _, _ in LINES} == REASONS.keys()


def test_the_page_says_what_the_code_says() -> None:
    assert [reason for reason, means, _ in LINES if means != REASONS.get(reason)] == []


def test_a_reason_has_one_remedy() -> None:
    remedies = {(reason, remedy) for reason, _, remedy in LINES}
    assert len(remedies) == len(REASONS)
    assert all(remedy.endswith(".") for _, remedy in remedies)
