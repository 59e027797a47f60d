"""Imports against goldens: `cases/<case>.in.yaml` is another gateway's configuration, `<case>.out.yaml` what is
written, `<case>.report.txt` what is said of the rest.

After a wanted change: `UPDATE_GOLDENS=1 pytest tests/importing/test_goldens.py`, then read the diff.
"""

from __future__ import annotations

import os

import pytest

from tests.importing.cases import CASES, FOLDER, OPEN, case, problems
from tidegate.importing import writing


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    found = case(name)
    report = "".join(f"{line}\n" for line in [*map(str, found.findings), *problems(found)])
    for path, text in ((f"{name}.out.yaml", writing.text(found.objects)), (f"{name}.report.txt", report)):
        if os.environ.get("UPDATE_GOLDENS"):
            (FOLDER / path).write_text(text)
        assert text == (FOLDER / path).read_text()


@pytest.mark.parametrize("name", [name for name in CASES if name not in OPEN])
def test_it_is_accepted_as_it_is_written(name: str) -> None:
    assert problems(case(name)) == []


@pytest.mark.parametrize("name", CASES)
def test_what_is_written_depends_on_nothing_else(name: str) -> None:
    first, second = case(name), case(name)
    assert (writing.text(first.objects), first.findings) == (writing.text(second.objects), second.findings)
