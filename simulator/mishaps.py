"""What ends a connection in the middle of a turn, and at which point of it: scenarios as actions. Pure."""

from collections.abc import Iterator
from typing import Literal

from simulator.scenarios import Options
from simulator.timeline import Close, Freeze, Garble, HangUp, Mishap, Reset

Point = Literal["at-created", "begun", "at-done", "after-done"]
"""Right after `response.created`, after the answer's first piece, right before `response.done`, right after it."""


def at(point: Point, options: Options) -> Iterator[Mishap]:
    """What strikes at this point of a turn, if anything; without a point in the scenario it is `begun`."""
    chosen = next((name for name in ("at-created", "at-done", "after-done") if name in options), "begun")
    if chosen != point:
        return
    if "drop" in options:
        yield Reset()
    if "hang-up" in options:
        yield HangUp()
    if "close" in options:
        yield Close(int(options.number("close")), "simulated")
    if "garble" in options:
        yield Garble()
    if "freeze" in options:
        yield Freeze(options.number("freeze") / 1000)
