"""What the meter was told, call by call, so that it can be told to another; and the records that it wrote."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from dataplane import services
from dataplane.metering.meter import Meter
from dataplane.metering.prices import Cost
from dataplane.metering.records import SessionSummary
from dataplane.metering.usage import Usage

MARK = ""
Call = tuple[str, tuple[object, ...], dict[str, object]]


@dataclass
class Written:
    """Records, as they were written."""

    turns: list[tuple[Usage, Cost]] = field(default_factory=list)
    sessions: list[SessionSummary] = field(default_factory=list)

    def turn(self, usage: Usage, cost: Cost, duration: float | None) -> None:
        self.turns.append((usage, cost))

    def session(self, summary: SessionSummary) -> None:
        self.sessions.append(summary)


class Tape:
    """Stands before a meter and notes what it is told."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.calls: list[Call] = []

    def mark(self) -> None:
        """Remember this moment."""
        self.calls.append((MARK, (), {}))

    @classmethod
    def before(cls, meter: Meter) -> tuple[Tape, services.Meter]:
        """The tape, and what to give to a gateway."""
        tape = cls(meter)
        return tape, cast("services.Meter", tape)

    def __getattr__(self, name: str) -> Callable[..., object]:
        told = getattr(self._meter, name)

        def noted(*args: object, **kwargs: object) -> object:
            self.calls.append((name, args, kwargs))
            found: object = told(*args, **kwargs)
            return found

        self.__dict__[name] = noted
        return noted


def play(calls: list[Call], meter: Meter, marked: Callable[[], None]) -> None:
    """Tell it all to this meter; `marked` is called at the moment that was marked."""
    for name, args, kwargs in calls:
        if name == MARK:
            marked()
        else:
            getattr(meter, name)(*args, **kwargs)
