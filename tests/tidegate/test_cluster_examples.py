"""The files of examples/cluster are in force together. e2e/test_install_page.py gives them to an API server."""

from __future__ import annotations

from pathlib import Path

import yaml

from tidegate.documents import Documents
from tidegate.validate import check

FOLDER = Path(__file__).parents[2] / "examples" / "cluster"


def test_together_they_are_accepted() -> None:
    for folders in ([FOLDER], [FOLDER, FOLDER / "gateway-api"]):
        report = check(folders, Documents({}))
        assert report.ok, report.text()


def test_a_folder_is_applied_from_its_first_file_to_its_last() -> None:
    kinds = [
        [document["kind"] for document in yaml.safe_load_all(path.read_text("utf-8"))]
        for path in sorted(FOLDER.glob("*.yaml"))
    ]
    assert kinds == [["Namespace", "RoleBinding"], ["Secret", "Secret"], ["Backend"], ["Policy"]]
