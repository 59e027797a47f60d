"""Asks whether turns of one session may begin, and gives back what was set aside for them."""

from __future__ import annotations

import asyncio

import structlog

from dataplane.errors import Refusal
from dataplane.limits.budget import Budget
from dataplane.limits.spending import Model
from dataplane.metering.prices import Cost
from dataplane.metering.usage import Usage
from dataplane.realtime import endings
from dataplane.realtime.live import FAILED, LiveSession

log = structlog.get_logger("tidegate.session")


class Turnstile:
    """Of one session, with a model. A question that is under way is waited for, whatever becomes of the session: what
    it is granted must be given back."""

    def __init__(self, budget: Budget, model: Model) -> None:
        self._budget = budget
        self._model = model
        self._asking: set[asyncio.Task[None]] = set()
        self._closed = False
        self._ends = False
        """Was the session told to end, because of what transcriptions used?"""

    def ask(self, live: LiveSession, ticket: int) -> None:
        """See that `live` learns whether the turn may begin."""
        task = asyncio.get_running_loop().create_task(self._ask(live, ticket))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask(self, live: LiveSession, ticket: int) -> None:
        try:
            await self._budget.admit_turn(self._model)
        except Refusal as refusal:
            if self._budget.ends:
                live.refuse_and_end(ticket, endings.LIMIT, refusal.message)
            else:
                live.refuse(ticket, refusal.code, refusal.message)
            return
        except Exception:
            log.exception("a turn was not admitted", session=live.session.terms.id)
            live.refuse(ticket, "internal_error", FAILED)
            return
        if self._closed:
            self._budget.release_turn()
        else:
            live.admit(ticket)

    def release(self, turns: int) -> None:
        """So many turns that were admitted are over, or never began."""
        for _ in range(turns):
            self._budget.release_turn()

    def used(self, live: LiveSession, usage: Usage, cost: Cost) -> None:
        """Count what a turn used, a transcription, or time that is billed. Transcriptions and time are not asked about
        before, and cannot be refused: where nothing is left for them the session ends. Whoever never stops talking is
        never between turns: the next one ends the session all the same."""
        self._budget.used(usage, cost)
        if usage.operation not in ("transcription", "realtime_session_time"):
            return
        refusal = self._budget.overdrawn(usage, cost, patient=bool(self._model.upstream_model))
        if refusal is None:
            return
        end, self._ends = live.end if self._ends else live.end_between_turns, True
        soon = asyncio.get_running_loop().call_soon  # it is in the middle of carrying out what was decided
        soon(end, endings.LIMIT, refusal.message)

    def unanswered(self) -> None:
        """Count a turn of which nothing ever came."""
        self._budget.unanswered()

    def close(self) -> None:
        """The session is over: whatever is admitted from now on is given back."""
        self._closed = True
