"""Frames of the gateway's own, on their way to one peer between those of the other, which go on as they came.

Nothing can be put into a frame that is under way, and only control frames into a message that comes in several (RFC
6455, section 5.4). What does not fit yet waits here for the end of either, in a bounded number.
"""

from __future__ import annotations

from collections.abc import Callable

from dataplane.realtime import frames
from dataplane.realtime.actions import Action, ToClient, ToUpstream
from dataplane.realtime.gate import Gate

MAX_LATE = 64
"""Events that may wait; who provokes more goes without."""


class _Outbox:
    """`others`: the gate that the other peer's frames come through on their way to this one."""

    __slots__ = ("_others", "hears", "waiting")

    def __init__(self, others: Gate) -> None:
        self._others = others
        self.hears = True
        """May more be sent? Not after our Close, or once the peer is gone."""
        self.waiting: list[tuple[int, bytes]] = []
        """Opcodes and payloads. Ask this before `flush`, which costs more than most messages."""

    def _keep(self, opcode: int, payload: bytes, *, owed: bool = False) -> bool:
        """Have it wait; whether there is room."""
        if opcode == frames.PONG:  # of several Pings the newest is answered (RFC 6455, section 5.5.3)
            self.waiting = [each for each in self.waiting if each[0] != frames.PONG]
        elif opcode == frames.TEXT and len(self.waiting) >= MAX_LATE and not owed:
            return False
        self.waiting.append((opcode, payload))
        return True


class ClientOutbox(_Outbox):
    """What the client is sent by us, behind what of the upstream's is under way."""

    __slots__ = ("closing",)

    def __init__(self, others: Gate) -> None:
        super().__init__(others)
        self.closing = False
        """Was Close put in? Nothing comes behind it."""

    def put(self, opcode: int, payload: bytes, actions: list[Action], *, owed: bool = False) -> bool:
        """Send this, now or later; whether our Close is on its way now. A Ping is of no use later. `owed`: it is the
        upstream's, was withheld, and must not be lost."""
        if not self.hears or self.closing or (opcode == frames.PING and self._others.mid_frame):
            return False
        self.closing = opcode == frames.CLOSE
        return self._keep(opcode, payload, owed=owed) and self.flush(actions)

    def flush(self, actions: list[Action]) -> bool:
        """Send what may go now; whether our Close was the last of it. An event does not fit into a message; where
        Close does not wait for it, it is lost."""
        if not self.hears or self._others.mid_frame:
            return False
        waiting, self.waiting = self.waiting, []
        for opcode, payload in waiting:
            if opcode in (frames.TEXT, frames.BINARY) and self._others.mid_message:
                self.waiting.append((opcode, payload))
                continue
            actions.append(ToClient(frames.frame(opcode, payload)))
            if opcode == frames.CLOSE:
                self.hears = False
                return True
        return False


class UpstreamOutbox(_Outbox):
    """What the upstream is sent by us, behind a client's frame that is under way. `mask` makes the 4-byte keys."""

    __slots__ = ("_mask", "alone", "cut_off")

    def __init__(self, others: Gate, mask: Callable[[], bytes]) -> None:
        super().__init__(others)
        self._mask = mask
        self.alone = False
        """Does nothing of the client's go on any more?"""
        self.cut_off = False
        """Is it in the middle of a frame that will never be whole? Then nothing can be said to it."""

    def put(self, opcode: int, payload: bytes, actions: list[Action]) -> None:
        """Send this, now or later; Ping and Close are of no use later."""
        if not self.hears or self.cut_off:
            return
        if self.alone or not self._others.mid_frame:
            actions.append(ToUpstream(frames.frame(opcode, payload, self._mask())))
        elif opcode in (frames.PONG, frames.TEXT):
            self._keep(opcode, payload)

    def flush(self, actions: list[Action]) -> None:
        """Send what may go now."""
        if not self._others.mid_frame:
            waiting, self.waiting = self.waiting, []
            for opcode, payload in waiting:
                self.put(opcode, payload, actions)
