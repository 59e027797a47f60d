"""What is asked for of one offer, and what has come of it. No I/O.

It is asked for in steps, each answered before the next. What comes is kept as it is: reading it is the work of
`building`, in slices.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from pydantic import SecretStr

from dataplane.table.delta import Outline, Written
from dataplane.table.messages import NAMES, BadMessage, Done, Offer, PartsMessage, SecretsMessage, Want


@dataclass(frozen=True, slots=True)
class Delivery:
    """A table as it comes: what is new beside what is known already."""

    outline: Outline
    parts: Iterable[Written] = field(default=(), repr=False)
    secrets: Mapping[str, SecretStr] = field(default_factory=dict, repr=False)


class Transfer:
    """Of the table on offer. `parts` and `secrets` are known already, by their hashes and ids."""

    def __init__(self, offer: Offer, parts: Collection[str], secrets: Collection[str]) -> None:
        assert offer.outline
        self._outline = offer.outline
        self.table = offer.table
        self._parts = iter(dict.fromkeys(name for name in offer.outline.names() if name not in parts))
        self._secrets = iter([name for name in offer.outline.secrets if name not in secrets])
        self._wanted: set[str] = set()
        self._wanted_secrets: set[str] = set()
        self._come: list[Written] = []
        self._values: dict[str, SecretStr] = {}

    def want(self) -> Want | None:
        """What to ask for next; None: everything is there."""
        self._wanted = set(islice(self._parts, NAMES))
        self._wanted_secrets = set(islice(self._secrets, NAMES - len(self._wanted)))
        if not self._wanted and not self._wanted_secrets:
            return None
        return Want(table=self.table, parts=tuple(self._wanted), secrets=tuple(self._wanted_secrets))

    def take(self, message: PartsMessage | SecretsMessage | Done) -> bool:
        """Whether all that was asked for has come. Raises BadMessage for what was not."""
        if message.table != self.table:
            raise BadMessage(f"{message.type} of a table that is not being fetched")
        match message:
            case PartsMessage():
                self._take_parts(message)
            case SecretsMessage():
                self._take_secrets(message)
            case Done() if self._wanted or self._wanted_secrets:
                missing = len(self._wanted) + len(self._wanted_secrets)
                raise BadMessage(f"done, and {missing} of what was asked for did not come")
        return isinstance(message, Done)

    def delivery(self) -> Delivery:
        """All that has come."""
        return Delivery(self._outline, self._come, self._values)

    def _take_parts(self, message: PartsMessage) -> None:
        for part in message.written():
            if part.hash not in self._wanted:
                raise BadMessage(f"a part that was not asked for: {part.hash[:12]}")
            self._wanted.remove(part.hash)
            self._come.append(part)

    def _take_secrets(self, message: SecretsMessage) -> None:
        for name, value in message.values.items():
            if name not in self._wanted_secrets:
                raise BadMessage("a secret that was not asked for")
            self._wanted_secrets.remove(name)
            self._values[name] = value
