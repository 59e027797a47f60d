"""`tidegate validate` says of every bad document of the table what crds.parse says: all of it, in its place."""

from __future__ import annotations

from pathlib import Path

import orjson

from tests.crds.table import everything
from tidegate.documents import Documents
from tidegate.validate import check


def test_every_bad_document_is_told_with_its_errors(tmp_path: Path) -> None:
    cases = [case for group in everything().values() for case in group if case.errors]
    documents = [{**case.document, "metadata": {"name": f"x{number}"}} for number, case in enumerate(cases)]
    file = tmp_path / "table.json"
    written = orjson.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
    file.write_bytes(written.replace(b"\x7f", b"\\u007f"))  # which YAML wants escaped
    report = check([file], Documents({}))
    assert report.errors == ()
    told = {each.status.name: each for each in report.objects}
    for number, case in enumerate(cases):
        checked = told[f"x{number}"]
        accepted = next(each for each in checked.status.conditions if each.type == "Accepted")
        said = " ".join(checked.problems(accepted))
        assert [error for error in case.errors if error not in said] == [], case
