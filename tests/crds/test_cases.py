"""One table of objects, held against both readers: crds.parse and the schema that the API server gets."""

import pytest

from crds import Invalid, parse
from tests.crds.server import defaulted, refusals
from tests.crds.table import Case, everything, spec_schema

Cases = tuple[Case, ...]
every_group = pytest.mark.parametrize("cases", everything().values(), ids=everything())


@every_group
def test_parse_says_what_is_wrong(cases: Cases) -> None:
    assert {str(case): _errors(case) for case in cases} == {str(case): case.errors for case in cases}


@every_group
def test_the_api_server_agrees(cases: Cases) -> None:
    found = {str(case): refusals(spec_schema(case.kind), case.spec, "spec") for case in cases}
    refused = {str(case): bool(case.errors) and not case.server_accepts for case in cases}
    assert {name: bool(each) for name, each in found.items()} == refused, found


@every_group
def test_defaults_are_the_same(cases: Cases) -> None:
    for case in cases:
        if case.stored is not None:
            assert defaulted(spec_schema(case.kind), case.spec) == case.stored
            assert parse(case.document) == parse({**case.document, "spec": case.stored})


def _errors(case: Case) -> tuple[str, ...]:
    try:
        parse(case.document)
    except Invalid as invalid:
        return tuple(map(str, invalid.errors))
    return ()
