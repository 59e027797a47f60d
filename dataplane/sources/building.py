"""A table from what has come and what is served. Parts that are as they were are the same objects as before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr

from dataplane.slices import SLICE, Slices
from dataplane.table import Part, Table, delta
from dataplane.table.delta import Outline, Parts, Written


@dataclass(frozen=True, slots=True)
class Built:
    """A table with what it is made of."""

    table: Table
    secrets: Mapping[str, SecretStr] = field(repr=False)
    parts: Parts = field(repr=False)


class Building:
    """What comes, on top of what is served. `growing` is told of new parts, how many each time."""

    def __init__(self, served: Built | None, growing: Callable[[int], None]) -> None:
        self._growing = growing
        self._parts: dict[str, Part] = {**served.parts} if served else {}
        self._secrets = {**served.secrets} if served else {}

    def take(self, parts: Iterable[Written], secrets: Mapping[str, SecretStr]) -> Slices[None]:
        """Read them. Raises delta.Unreadable."""
        self._secrets.update(secrets)
        for count, part in enumerate((each for each in parts if each.hash not in self._parts), 1):
            self._growing(1)
            self._parts[part.hash] = delta.read(part)
            if count % SLICE == 0:
                yield

    def built(self, outline: Outline) -> Slices[Built]:
        """With what the outline names, and nothing that only the one before had. Raises delta.Unreadable, and KeyError
        where something did not come."""
        parts: dict[str, Part] = {}
        for count, name in enumerate(outline.names(), 1):
            parts[name] = self._parts[name]
            if count % (SLICE * 20) == 0:
                yield
        secrets = {name: self._secrets[name] for name in outline.secrets}
        yield
        table = delta.assembled(outline, parts)
        yield
        return Built(table, secrets, parts)
