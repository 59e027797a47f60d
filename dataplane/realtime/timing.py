"""When the turns of one session went through their stages: how long the user waited, how long each took."""

from __future__ import annotations

from dataclasses import dataclass

from dataplane.realtime.effects import Trigger

MOST = 256
"""Turns that are timed at once. Of one that never ends nothing is known, and it must not cost for ever."""


@dataclass(slots=True)
class Course:
    """One turn; moments by the clock that `Timings` is told."""

    began: float
    trigger: Trigger
    prompted: float | None
    """None: nobody was seen to ask for it."""
    first_audio: float | None = None
    interrupted_by: Trigger | None = None

    @property
    def waited(self) -> float | None:
        """Seconds that the user waited for the first audio."""
        if self.prompted is None or self.first_audio is None:
            return None
        return self.first_audio - self.prompted


class Timings:
    """Of one session. `now` is any clock that never goes back, in seconds."""

    __slots__ = ("_asked", "_fell_silent", "_open")

    def __init__(self) -> None:
        self._asked: list[float] = []
        """When the client asked for turns that have not begun."""
        self._fell_silent: float | None = None
        """When the user last fell silent without having been answered yet."""
        self._open: dict[str, Course] = {}

    def prompted(self, now: float, trigger: Trigger) -> None:
        if trigger == "voice":
            self._fell_silent = now
        else:
            self._asked.append(now)
            del self._asked[:-MOST]

    def began(self, now: float, response_id: str, trigger: Trigger, *, asked: int) -> None:
        """`asked`: how many of those that the client asked for are still to begin. Turns begin in the order that they
        were asked for, and some are refused: so this is the one before those."""
        self._open[response_id] = Course(now, trigger, self._prompt(trigger, asked))
        if len(self._open) > MOST:
            del self._open[next(iter(self._open))]

    def _prompt(self, trigger: Trigger, asked: int) -> float | None:
        if trigger == "voice":
            since, self._fell_silent = self._fell_silent, None
            return since
        count = max(0, len(self._asked) - asked)
        begun, self._asked = self._asked[:count], self._asked[count:]
        return begun[-1] if begun else None

    def spoke(self, now: float, response_id: str) -> Course | None:
        """The first audio of a turn has come: what is known of it."""
        course = self._open.get(response_id)
        if course is not None and course.first_audio is None:
            course.first_audio = now
        return course

    def interrupted(self, response_id: str, by: Trigger) -> None:
        """A turn was cut off; it ends next. Where its beginning was never said, nothing is known of it."""
        course = self._open.get(response_id)
        if course is not None:
            course.interrupted_by = by

    def ended(self, response_id: str) -> Course | None:
        """What is known of a turn that is over."""
        return self._open.pop(response_id, None)
