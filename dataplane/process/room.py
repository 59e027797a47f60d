"""The room that unfinished messages may take, and unfinished bodies: of all sessions and requests together.

Each has a limit of its own (`SessionLimits.max_message`, `Limits.body`), generous enough for the largest that makes
sense: many sessions of one caller that all send half of one would still use the memory up. So there is a limit for all,
and when it is reached, whoever holds most must let go. Pure.
"""

from __future__ import annotations

from collections.abc import Callable

SHARE = 0.25
"""Of the memory that there is."""


class Room:
    """`size` bytes; None: any number."""

    def __init__(self, size: int | None = None) -> None:
        self.size = size
        self.held = 0
        """Bytes that are held by all."""
        self._holders: set[Holder] = set()

    def fit(self, memory: int | None) -> None:
        """Make it a share of so many bytes; None: nobody knows how many there are."""
        self.size = None if memory is None else int(memory * SHARE)

    def changed(self, holder: Holder, by: int) -> None:
        """A holder holds so much more, or less."""
        self.held += by
        if holder.held:
            self._holders.add(holder)
        else:
            self._holders.discard(holder)
        while by > 0 and self.size is not None and self.held > self.size:
            max(self._holders, key=lambda each: each.held).give_up()


class Holder:
    """What one session or request holds. `end` is called, at most once and inside of a `hold`, where it must give that
    up; it gets the number of bytes."""

    def __init__(self, room: Room, end: Callable[[int], None]) -> None:
        self.held = 0
        """Bytes; 0 once it was told to give them up."""
        self._room = room
        self._end: Callable[[int], None] | None = end

    @property
    def told(self) -> bool:
        """Was it told to give up what it held?"""
        return self._end is None

    def hold(self, by: int) -> None:
        """Hold so many bytes more; fewer, if it is negative."""
        if self._end is not None:
            self.held += by
            self._room.changed(self, by)

    def give_up(self) -> None:
        """It must let go, and from now on does not count."""
        end, held = self._end, self.held
        self.leave()
        if end is not None:
            end(held)

    def leave(self) -> None:
        """It is over, and holds nothing any more."""
        self._end = None
        held, self.held = self.held, 0
        self._room.changed(self, -held)
