"""What holds for every input: order is irrelevant, nothing raises, a bad object costs only itself."""

from __future__ import annotations

from dataclasses import asdict

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import compile as compiler
from controller.compile import ExposeRule, Install, LabelSelector
from dataplane.snapshot import Snapshot
from tests.controller.test_compile_goldens import CASES, OPTIONS, documents

INSTALLS = [
    None,
    Install(expose=(ExposeRule(LabelSelector(), hostnames=("*",)),), denied=frozenset(["ai"])),
]
EVERYTHING = [document for case in CASES for document in documents(case)]
NEIGHBOUR = {
    "apiVersion": "tidegate.dev/v1alpha1",
    "kind": "Backend",
    "metadata": {"name": "neighbour", "namespace": "untouched"},
    "spec": {"providers": [{"name": "a", "openai": {}}], "expose": {"hostnames": ["only.mine"]}},
}


def as_bytes(compiled: compiler.Compiled) -> bytes:
    secrets = {name: secret.get_secret_value() for name, secret in compiled.secrets.items()}
    statuses = [asdict(status) for status in compiled.statuses]
    table = compiled.table.model_dump(mode="json")
    return orjson.dumps([table, secrets, statuses, compiled.services, compiled.table.versions()])


@pytest.mark.parametrize("install", INSTALLS, ids=["files", "cluster"])
@given(st.permutations(EVERYTHING))
def test_order_is_irrelevant(install: Install | None, shuffled: list[dict[str, object]]) -> None:
    whole = compiler.compile(EVERYTHING, install=install)
    assert as_bytes(compiler.compile(shuffled, install=install)) == as_bytes(whole)


@pytest.mark.parametrize("case", CASES)
def test_the_data_plane_takes_every_table(case: str) -> None:
    compiled = compiler.compile(documents(case), **OPTIONS.get(case, {}))
    Snapshot.build(compiled.table, compiled.secrets)


@pytest.mark.parametrize("case", CASES)
def test_no_value_of_a_secret_is_in_table_or_statuses(case: str) -> None:
    compiled = compiler.compile(documents(case), **OPTIONS.get(case, {}))
    told = orjson.dumps([compiled.table.model_dump(mode="json"), [asdict(status) for status in compiled.statuses]])
    assert b"sk-" not in told
    assert b"sk-" not in repr(compiled).encode()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 70_000)
    | st.sampled_from(["", "a", "ai", "Backend", "*", "/", "..", "${a}"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "kind", "spec", "rules"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def broken(draw: st.DrawFn) -> dict[str, object]:
    """A document of a golden in which something is replaced by anything at all."""
    document = orjson.loads(orjson.dumps(draw(st.sampled_from(EVERYTHING))))
    here = document
    while True:
        key = draw(st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here))))
        if not isinstance(here[key], dict | list) or not here[key] or draw(st.booleans()):
            break
        here = here[key]
    here[key] = draw(JSON)
    return dict(document)


@pytest.mark.parametrize("install", INSTALLS, ids=["files", "cluster"])
@given(st.lists(broken(), min_size=1, max_size=4))
def test_broken_objects_cost_only_themselves(install: Install | None, documents_: list[dict[str, object]]) -> None:
    alone = compiler.compile([NEIGHBOUR], install=install)
    compiled = compiler.compile([*documents_, NEIGHBOUR], install=install)
    Snapshot.build(compiled.table, compiled.secrets)
    assert alone.table.backends[0] in compiled.table.backends
    assert alone.table.routes[0] in compiled.table.routes
    assert alone.statuses[0] in compiled.statuses
    assert as_bytes(compiler.compile([NEIGHBOUR, *reversed(documents_)], install=install)) == as_bytes(compiled)
    for status in compiled.statuses:
        assert all(condition.reason and condition.message for condition in status.conditions)


@pytest.mark.parametrize("case", CASES)
@given(st.data())
def test_what_was_read_before_changes_nothing(case: str, data: st.DataObject) -> None:
    """Whatever is left out, or replaced by something broken, the next time."""
    first = documents(case)
    before = compiler.compile(first, **OPTIONS.get(case, {}))
    kept = [each for each in first if data.draw(st.booleans())]
    new = [*kept, *data.draw(st.lists(broken(), max_size=2))]
    again = compiler.compile(new, before, **OPTIONS.get(case, {}))
    assert as_bytes(again) == as_bytes(compiler.compile(orjson.loads(orjson.dumps(new)), **OPTIONS.get(case, {})))
