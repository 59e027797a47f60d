"""One table of objects, held against both readers: crds.parse and the schema that the API server gets."""

from pathlib import Path

import pytest
import yaml

from crds import Invalid, parse
from crds.generate import schema
from crds.structural import as_mapping
from tests.crds.server import refusals

CASES = [
    pytest.param(kind, case, id=f"{kind}: {case['name']}")
    for kind in ("Backend", "Policy")
    for case in yaml.safe_load((Path(__file__).parent / "cases" / f"{kind.lower()}.yaml").read_text("utf-8"))
]


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_parse_says_what_is_wrong(kind: str, case: dict[str, object]) -> None:
    said: list[str] = []
    try:
        parse({"apiVersion": "tidegate.dev/v1alpha1", "kind": kind, "metadata": {"name": "x"}, "spec": case["spec"]})
    except Invalid as invalid:
        said = [str(error) for error in invalid.errors]
    assert said == case.get("errors", [])


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_the_api_server_agrees(kind: str, case: dict[str, object]) -> None:
    spec = as_mapping(as_mapping(schema(kind)["properties"])["spec"])
    found = refusals(spec, case["spec"], "spec")
    accepts = "errors" not in case or case.get("server") == "accepts"
    assert bool(found) is not accepts, found
