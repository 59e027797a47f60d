"""The client's events that wait until they were judged, in the order in which they came.

Audio does not wait with them: it overtakes, so that a slow guardrail never stalls a voice. Only where something waits
whose place among the audio matters does all that comes wait, and where too much does.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from dataplane.guardrails.judge import Hit
from dataplane.realtime.events import Event

MOST = 32
"""Events that wait before all that comes does; the relay has room for twice as many between two parts of a long
frame."""
MOST_BYTES = 256 * 1024
_OVERTAKEN = frozenset(
    {
        "conversation.item.create",
        "conversation.item.delete",
        "conversation.item.retrieve",
        "conversation.item.truncate",
        "response.create",
        "response.cancel",
    }
)
"""Events that audio behind them may overtake."""


@dataclass(slots=True, eq=False)
class Waiting:
    event: Event
    size: int
    asked: int = 0
    """Questions about it that have no answer yet."""
    blocked: Hit | None = None

    @property
    def kind(self) -> object:
        return self.event.get("type")

    @property
    def stays(self) -> bool:
        """Must audio not overtake it?"""
        return self.kind not in _OVERTAKEN


class Line(deque[Waiting]):
    @property
    def holds(self) -> int:
        """How many bytes wait, where what comes behind them must wait, too; else nothing."""
        size = sum(each.size for each in self)
        if len(self) >= MOST or size >= MOST_BYTES or any(each.stays for each in self):
            return size
        return 0
