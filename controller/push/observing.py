"""What the server of tables tells whoever counts. Called in its loop, often: it must not wait."""

from __future__ import annotations

from typing import Protocol

from controller.push.channel import Answer


class Observer(Protocol):
    """Whoever counts."""

    def turned_away(self, status: int) -> None:
        """Somebody who dialled was answered this HTTP status."""

    def connections(self, number: int) -> None:
        """So many gateways are connected now."""

    def ended(self, fault: bool) -> None:
        """A connection ended, by a fault of the gateway, or because somebody closed it."""

    def sent(self, characters: int) -> None:
        """A message was sent."""

    def answered(self, answer: Answer) -> None:
        """A gateway took an offer, or refused it, or has a newer table."""


class Unobserved:
    """Nobody counts."""

    def turned_away(self, status: int) -> None: ...

    def connections(self, number: int) -> None: ...

    def ended(self, fault: bool) -> None: ...

    def sent(self, characters: int) -> None: ...

    def answered(self, answer: Answer) -> None: ...
