"""What the user says aloud, until it was judged: nothing answers it before.

An item of the user's is heard once its transcript was judged. Until then no turn begins; one that does all the same, by
the server's own doing, is withheld. Where nobody transcribes, or nothing comes of it in time, whoever enforces says
whether that passes (`onFailure`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from dataplane.realtime.account import SEEN
from dataplane.realtime.inspection.questions import Questions
from dataplane.realtime.inspection.withholding import Withholding

PATIENCE = 10.0
"""Seconds that a transcript, or the answer to a commit, is waited for."""


class Hearing:
    """Of one session. `settled` is told when something was heard, and that everything was (or is not to be);
    `unheard` what was never transcribed."""

    def __init__(
        self,
        questions: Questions,
        withholding: Withholding,
        *,
        settled: Callable[[], None],
        unheard: Callable[[str], None],
    ) -> None:
        self._questions = questions
        self._withholding = withholding
        self._settled = settled
        self._unheard = unheard
        self._commits: deque[int] = deque()
        """The client's own, which the server has yet to answer: what is listened for."""
        self._items: dict[str, int] = {}
        """Those whose transcript is to come, or to be judged."""
        self._began: dict[str, set[str]] = {}
        """Responses that are withheld, and the items that they wait for."""
        self._good = False
        """Was something heard since a turn began last that may be answered?"""

    @property
    def clear(self) -> bool:
        """Was everything judged?"""
        return not self._items and not self._commits

    @property
    def answerable(self) -> bool:
        """Is there anything to answer: something that passed, or may yet?"""
        return self._good or not self.clear

    # -- what is said ------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """The client makes an item of what it has sent. What comes of more commits than are waited for is withheld, if
        it is answered before it was judged, as all is that is (`begun`)."""
        if len(self._commits) < SEEN:
            self._commits.append(self._questions.listen(PATIENCE, self.uncommitted))

    def uncommitted(self) -> None:
        """Nothing comes of that."""
        self._answered_commit()
        self._settled()

    def _answered_commit(self) -> None:
        if self._commits:
            self._questions.forget(self._commits.popleft())

    def committed(self, item: str) -> None:
        """What the user said is an item of the conversation."""
        self._answered_commit()
        if item not in self._items:
            self._items[item] = self._questions.listen(PATIENCE, lambda: self._unheard(item))
        if len(self._items) > SEEN:
            self._unheard(next(iter(self._items)))

    def waits(self, item: str) -> bool:
        """Is it to be judged?"""
        return item in self._items

    def transcribed(self, item: str) -> None:
        """Its transcript has come, and is judged: by others, in their own time."""
        if item in self._items:
            self._questions.forget(self._items[item])

    def begun(self, response_id: str) -> None:
        """A turn has begun."""
        if self._items:
            self._began[response_id] = set(self._items)
            self._withholding.hold(response_id)
        else:
            self._good = False

    # -- what becomes of it ------------------------------------------------------------------------------------

    def passed(self, item: str) -> None:
        """It was judged, and may be answered."""
        if not self._take(item):
            return
        self._good = True
        for name, waits in list(self._began.items()):
            waits.discard(item)
            if not waits:
                del self._began[name]
                self._good = False
                self._withholding.release(name)
        self._settled()

    def refused(self, item: str) -> None:
        """It was judged, and may not be answered, not even by an answer that begins from now on."""
        if self._take(item):
            for name in [name for name, waits in self._began.items() if item in waits]:
                del self._began[name]
                self._withholding.refuse(name)
            self._settled()
        self._withholding.spurn()

    def _take(self, item: str) -> bool:
        ticket = self._items.pop(item, None)
        if ticket is not None:
            self._questions.forget(ticket)
        return ticket is not None

    def close(self) -> None:
        """The session ends."""
        self._commits.clear()
        self._items.clear()
        self._began.clear()
