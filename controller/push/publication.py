"""A table as it is offered to gateways, in each shape that is served. Pure, and to be made beside the loop: of 5,000
routes it takes longer than a loop may stand still.

Parts are written once: a publication takes over from the one before it what has not changed, and while both are in use
they share it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dataplane.table import Secrets, Table, delta, messages, schemas
from dataplane.table.delta import Outline, Written
from dataplane.table.messages import Offer
from dataplane.table.watermark import Watermark


@dataclass(frozen=True, slots=True)
class Offered:
    """A table in one schema."""

    table: str
    """Its hash."""
    outline: Outline = field(repr=False)
    whole: str = field(repr=False)
    """The offer, as it travels."""
    known: str = field(repr=False)
    """The offer to those who have this table."""
    parts: Mapping[str, Written] = field(repr=False)
    """By their hashes."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What gateways are to serve."""

    number: int
    """Grows from one publication of this controller to the next, from 1."""
    watermark: Watermark
    offered: Mapping[int, Offered]
    """By schema."""
    secrets: Secrets = field(repr=False)

    @property
    def tables(self) -> frozenset[str]:
        """The hashes of the table, one by schema."""
        return frozenset(each.table for each in self.offered.values())


def published(table: Table, secrets: Secrets, watermark: Watermark, before: Publication | None = None) -> Publication:
    """The publication that comes after `before`; it is the first where there is none."""
    offered = {
        schema: _offered(schemas.lowered(table, schema), watermark, before.offered[schema].parts if before else {})
        for schema in schemas.SERVED
    }
    return Publication(before.number + 1 if before else 1, watermark, offered, dict(secrets))


def _offered(table: Table, watermark: Watermark, before: Mapping[str, Written]) -> Offered:
    outline, parts = delta.outlined(table)
    new = {each.hash: each for each in delta.written(parts, before.keys())}
    name = delta.table_hash(outline)
    known = Offer(schema_number=outline.schema_number, table=name, watermark=watermark, hears=messages.HEARD)
    return Offered(
        name,
        outline,
        messages.encode(known.model_copy(update={"outline": outline})),
        messages.encode(known),
        {name: before.get(name) or new[name] for name in parts},
    )
