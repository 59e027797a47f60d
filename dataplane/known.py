"""Names (of header fields, models, routes) come again with every request. What one means is found out once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

_MOST = 1024
_LONGEST = 128
"""Names, and characters of one, that are remembered: anybody may make some up."""
Name = TypeVar("Name", bound=str | bytes)
Meaning = TypeVar("Meaning")


class Known(dict[Name, Meaning], Generic[Name, Meaning]):
    """By name, what `find` says of it."""

    def __init__(self, find: Callable[[Name], Meaning]) -> None:
        self._find: Callable[[Name], Meaning] = find

    def __missing__(self, name: Name) -> Meaning:
        meaning = self._find(name)
        if len(name) <= _LONGEST:
            if len(self) >= _MOST:
                self.clear()
            self[name] = meaning
        return meaning
