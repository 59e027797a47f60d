"""A table that travels is the same on the other side, and only what is new travels."""

from __future__ import annotations

import hashlib

import pytest

from controller import compile as compiler
from dataplane.table import CallerKey, Route, Table, delta
from dataplane.table.delta import Parts, Unreadable, Written
from tests.controller.test_compile_goldens import CASES, OPTIONS, documents
from tests.dataplane.rig import CALLERS, REQUIRED, backend, provider, table

SERVED = table(backend(provider("https://a.test/v1")), REQUIRED)


def sent(new: Table, known: Parts) -> tuple[Table, list[Written]]:
    """The table as it arrives, and what travelled."""
    outline, parts = delta.outlined(new)
    travelled = list(delta.written(parts, known))
    return delta.assembled(outline, {**known, **{each.hash: delta.read(each) for each in travelled}}), travelled


@pytest.mark.parametrize("case", CASES)
def test_every_table_arrives_as_it_was(case: str) -> None:
    compiled = compiler.compile(documents(case), **OPTIONS.get(case, {})).table
    arrived, _ = sent(compiled, {})
    assert arrived == compiled
    assert arrived.versions() == compiled.versions()


def test_only_what_is_new_travels_and_the_rest_stays_the_same_object() -> None:
    _, known = delta.outlined(SERVED)
    other = backend(provider("https://b.test/v1"), name="ai/other")
    arrived, travelled = sent(SERVED.model_copy(update={"backends": (*SERVED.backends, other)}), known)
    assert [(each.kind, delta.read(each)) for each in travelled] == [("backend", other)]
    assert arrived.backends[0] is SERVED.backends[0]
    assert arrived.routes[0] is SERVED.routes[0]
    assert arrived.callers[0] is SERVED.callers[0]


def test_keys_that_are_others_under_the_same_id_are_a_change() -> None:
    """An exported Secret has its resourceVersion in the file, and keeps it when somebody edits a value."""
    _, known = delta.outlined(SERVED)
    keys = (CallerKey(name="new", sha256="0" * 64),)
    arrived, travelled = sent(
        SERVED.model_copy(update={"callers": (CALLERS.model_copy(update={"keys": keys}),)}), known
    )
    assert [each.kind for each in travelled] == ["callers"]
    assert arrived.callers[0].keys == keys


def test_the_order_is_part_of_the_outline() -> None:
    first, second = Route(name="a"), Route(name="b")
    _, known = delta.outlined(Table(routes=(first, second)))
    arrived, travelled = sent(Table(routes=(second, first)), known)
    assert [route.name for route in arrived.routes] == ["b", "a"]
    assert not travelled


def test_a_part_that_did_not_arrive() -> None:
    outline, _ = delta.outlined(SERVED)
    with pytest.raises(KeyError):
        delta.assembled(outline, {})


def test_what_is_no_part_and_it_is_not_quoted() -> None:
    json = b'{"nmae":"sk-1"}'
    with pytest.raises(Unreadable, match=r"route cannot be read: name: Field required") as raised:
        delta.read(Written("route", hashlib.sha256(json).hexdigest(), json))
    assert "sk-1" not in str(raised.value)


def test_a_part_that_is_not_what_its_hash_says() -> None:
    (part,) = delta.written({"0" * 64: Route(name="a")})
    with pytest.raises(Unreadable, match="not what its hash 000000000000 says"):
        delta.read(part)


def test_a_part_of_another_section() -> None:
    outline, parts = delta.outlined(SERVED)
    with pytest.raises(Unreadable, match=r"routes\.0"):
        delta.assembled(outline.model_copy(update={"routes": outline.backends}), parts)
