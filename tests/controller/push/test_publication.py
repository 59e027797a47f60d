"""A publication holds the whole table in each schema, and of the one before it all that has not changed."""

from __future__ import annotations

import gc

import pytest

from controller.push.publication import Offered, Publication
from dataplane.table import SCHEMA, Table, delta, messages
from dataplane.table.messages import Offer
from tests.controller.push.tables import SECRET, mark, publication, table


def offer_of(text: str) -> Offer:
    message = messages.read_by_data_plane(text)
    assert isinstance(message, Offer)
    return message


def arrived(offered: Offered) -> Table:
    """The table, from nothing but what is offered."""
    outline = offer_of(offered.whole).outline
    assert outline
    return delta.assembled(outline, {name: delta.read(part) for name, part in offered.parts.items()})


def test_the_whole_table_is_offered_in_the_newest_schema() -> None:
    first = publication("a", "b")
    offered = first.offered[SCHEMA]
    assert arrived(offered) == table("a", "b")
    assert offer_of(offered.whole).table == offer_of(offered.known).table == offered.table
    assert offer_of(offered.known).outline is None
    assert offer_of(offered.known).watermark == mark(1)
    assert first.number == 1


def test_the_schema_before_is_offered_without_what_it_does_not_know() -> None:
    offered = publication("a").offered[SCHEMA - 1]
    lowered = arrived(offered)
    assert lowered.schema_number == offer_of(offered.whole).schema_number == SCHEMA - 1
    assert lowered.endpoints == ()
    assert "upgrade" in lowered.backends[0].providers[0].error
    assert lowered.routes == table("a").routes


def test_every_replica_names_the_same_table_alike() -> None:
    one, other = publication("a", "b"), publication("a", "b", version=2, before=publication("c"))
    assert one.tables == other.tables
    assert len(one.tables) == 2
    assert not one.tables & publication("b", "a").tables


@pytest.mark.parametrize("schema", [SCHEMA, SCHEMA - 1])
def test_what_has_not_changed_is_not_written_again(schema: int, monkeypatch: pytest.MonkeyPatch) -> None:
    first = publication("a", "b")
    monkeypatch.setattr(delta, "content", lambda part: pytest.fail(f"{part.name} was written again"))
    second = publication("b", version=2, before=first)
    before, after = first.offered[schema].parts, second.offered[schema].parts
    assert len(after) == len(before) - 1
    assert all(before[name] is part for name, part in after.items())
    assert second.number == 2


def publications() -> int:
    """So many are in memory."""
    gc.collect()
    return sum(isinstance(each, Publication) for each in gc.get_objects())


def test_publications_do_not_pile_up() -> None:
    before = publications()
    newest: Publication | None = None
    for version in range(1, 100):
        newest = publication("same", f"changing-{version}", version=version, before=newest)
        assert len(newest.offered[SCHEMA].parts) == 4
    assert publications() == before + 1


def test_secrets_are_in_no_repr_and_no_offer() -> None:
    first = publication("a")
    assert SECRET not in repr(first)
    assert SECRET not in "".join(each.whole + each.known for each in first.offered.values())
