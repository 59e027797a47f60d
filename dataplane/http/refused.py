"""Responses that guardrails blocked: providers have stored them, and clients may know their ids, but nobody goes on
from them here. Pure.

It is known to the process that blocked them, and while it runs.
"""

from __future__ import annotations

from collections import OrderedDict

REMEMBERED = 10_000
"""Responses; the oldest is forgotten for one more."""


class Refused:
    """By the providers' ids."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._known: OrderedDict[str, None] = OrderedDict()

    def add(self, response: str) -> None:
        """It was blocked; an empty id says nothing."""
        if response:
            self._known[response] = None
            self._known.move_to_end(response)
            if len(self._known) > self._most:
                self._known.popitem(last=False)

    def passed(self, response: str) -> None:
        """It was judged once more, whole, and nothing was wrong with it: somebody could not be asked before, or other
        guardrails hold now."""
        self._known.pop(response, None)

    def __contains__(self, response: str) -> bool:
        return response in self._known
