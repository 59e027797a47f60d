"""Asks whether turns of one session may begin, and gives back what was set aside for them."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from dataplane.errors import Refusal
from dataplane.realtime import endings
from dataplane.realtime.live import LiveSession

_FAILED = "The gateway failed; its log has the details under this session's id."

log = structlog.get_logger("tidegate.session")


class Budget(Protocol):
    """What limits a caller."""

    @property
    def ends(self) -> bool:
        """Does the session end where a turn is refused?"""

    async def admit_turn(self) -> None:
        """A turn is to begin. Within about a second it returns, or raises Refusal."""

    def release_turn(self) -> None:
        """A turn that was admitted is over, or never began."""


class Turnstile:
    """Of one session. A question that is under way is waited for, whatever becomes of the session: what it is granted
    must be given back."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._admitted = 0
        """Turns that were admitted, and are not over."""
        self._asking: set[asyncio.Task[None]] = set()
        self._closed = False

    def ask(self, live: LiveSession, ticket: int) -> None:
        """See that `live` learns whether the turn may begin."""
        task = asyncio.get_running_loop().create_task(self._ask(live, ticket))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask(self, live: LiveSession, ticket: int) -> None:
        try:
            await self._budget.admit_turn()
        except Refusal as refusal:
            if self._budget.ends:
                live.refuse_and_end(ticket, endings.LIMIT, refusal.message)
            else:
                live.refuse(ticket, refusal.code, refusal.message)
            return
        except Exception:
            log.exception("a turn was not admitted", session=live.session.terms.id)
            live.refuse(ticket, "internal_error", _FAILED)
            return
        self._admitted += 1
        if self._closed:
            self.release(1)
        else:
            live.admit(ticket)

    def release(self, turns: int) -> None:
        """So many turns that were admitted are over, or never began."""
        for _ in range(turns):
            self._admitted -= 1
            self._budget.release_turn()

    def close(self) -> None:
        """The session is over: all that was set aside for it is given back."""
        self._closed = True
        self.release(self._admitted)
