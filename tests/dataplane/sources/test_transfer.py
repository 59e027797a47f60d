"""What is asked for of an offer, in which steps; and the table that comes of it."""

from __future__ import annotations

import pytest

from dataplane.slices import at_once
from dataplane.sources.building import Building, Built
from dataplane.sources.transfer import Delivery, Transfer
from dataplane.table import Route, Table, delta, sealed
from dataplane.table.messages import BadMessage, Done, PartsMessage, SecretsMessage, Want, read_by_data_plane
from tests.dataplane.rig import SECRETS, backend, provider, table
from tests.dataplane.sources.double import Published, published

FIRST = table(backend(provider("https://a.test/v1")))
ONE = "1" * 64


def fetched(publication: Published, served: Built | None = None) -> tuple[Delivery, list[Want]]:
    """All that comes, and what was asked for."""
    transfer = Transfer(publication.offer, served.parts if served else (), served.secrets if served else ())
    wants: list[Want] = []
    while want := transfer.want():
        wants.append(want)
        said = [read_by_data_plane(text) for text in publication.answers(want)]
        ended = [transfer.take(each) for each in said if isinstance(each, PartsMessage | SecretsMessage | Done)]
        assert ended == [False] * (len(said) - 1) + [True]
    return transfer.delivery(), wants


def built(delivery: Delivery, served: Built | None = None) -> Built:
    grown: list[int] = []
    building = Building(served, grown.append)
    at_once(building.take(delivery.parts, delivery.secrets))
    assert sum(grown) == len(list(delivery.parts))
    return at_once(building.built(delivery.outline))


def test_all_of_it_and_then_nothing() -> None:
    delivery, wants = fetched(published(FIRST, SECRETS, 1))
    assert len(wants) == 1
    first = built(delivery)
    assert (first.table, first.secrets) == (FIRST, SECRETS)
    again, wants = fetched(published(FIRST, SECRETS, 2), first)
    assert wants == []
    assert built(again, first).table == FIRST
    assert "sk-simulator" not in repr(delivery) + repr(first)


def test_only_what_is_new_and_only_what_is_named_stays() -> None:
    first = built(fetched(published(FIRST, SECRETS, 1))[0])
    changed = Table(routes=(sealed(Route(name="other")),), callers=FIRST.callers)
    delivery, (want,) = fetched(published(changed, {}, 2), first)
    assert len(want.parts) == 1
    second = built(delivery, first)
    assert second.table == changed
    assert second.table.callers[0] is first.table.callers[0]
    assert (len(second.parts), second.secrets) == (2, {})


def test_many_are_asked_for_in_steps() -> None:
    names = [f"secret-{number}@1" for number in range(3000)]
    routes = tuple(sealed(Route(name=f"route-{number}")) for number in range(2500))
    many = Table(routes=routes, secrets=tuple(sorted(names)))
    values = dict.fromkeys(names, SECRETS["upstream@1"])
    delivery, wants = fetched(published(many, values, 1))
    assert [(len(want.parts), len(want.secrets)) for want in wants] == [(2000, 0), (500, 1500), (0, 1500)]
    assert built(delivery).table == many


def test_what_did_not_come() -> None:
    delivery, _ = fetched(published(FIRST, SECRETS, 1))
    with pytest.raises(KeyError):
        built(Delivery(delivery.outline, (), delivery.secrets))
    with pytest.raises(KeyError):
        built(Delivery(delivery.outline, delivery.parts))


def test_what_was_not_asked_for() -> None:
    publication = published(FIRST, SECRETS, 1)
    transfer = Transfer(publication.offer, (), ())
    want = transfer.want()
    assert want
    (part,) = delta.written({ONE: Route(name="r")})
    cases: dict[str, PartsMessage | SecretsMessage | Done] = {
        "of a table that is not being fetched": Done(table=ONE),
        "done, and 4 of what was asked for": Done(table=want.table),
        "a part that was not asked for": PartsMessage(table=want.table, parts=((part.kind, part.hash, {}),)),
        "a secret that was not asked for": SecretsMessage(table=want.table, values={"x": SECRETS["upstream@1"]}),
    }
    for words, message in cases.items():
        with pytest.raises(BadMessage, match=words):
            transfer.take(message)
    for text in publication.answers(want):
        if isinstance(parts := read_by_data_plane(text), PartsMessage):
            transfer.take(parts)
            with pytest.raises(BadMessage, match="a part that was not asked for"):
                transfer.take(parts)
