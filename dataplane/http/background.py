"""Responses that are made in the background: nobody waits for their end, so their usage is counted when somebody asks
for them later. Pure.

Another gateway process may be asked. It counts a response that it does not know of as well, once, by the same id.
"""

from __future__ import annotations

from collections import OrderedDict

from dataplane.upstreams.choose import Destination

REMEMBERED = 10_000
"""Responses; the oldest is forgotten for one more."""


class Background:
    """What this process knows of them, by the provider's ids."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._known: OrderedDict[str, Destination | None] = OrderedDict()
        """Where it was begun; None: it is counted."""

    def begun(self, response: str, destination: Destination) -> None:
        """It goes on, and is to be counted when its end is heard of."""
        self._put(response, destination)

    def ended(self, response: str, otherwise: Destination) -> Destination | None:
        """Its end is heard of: where it was begun, or `otherwise` where that is not known; None if it was counted."""
        destination = self._known.get(response, otherwise)
        self._put(response, None)
        return destination

    def _put(self, response: str, destination: Destination | None) -> None:
        self._known[response] = destination
        self._known.move_to_end(response)
        if len(self._known) > self._most:
            self._known.popitem(last=False)
