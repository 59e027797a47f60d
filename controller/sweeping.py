"""Lists of what is read in the whole cluster: they fill the mirror, and later say what watches did not.

Each kind is listed at the start, every five minutes, and at once where deletions may have been missed. In between its
objects are counted, which costs next to nothing; a number that stays another than the mirror's is looked into.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from controller.api import Api, ApiError
from controller.kinds import OWN, Kind
from controller.mirror import Mirror, Scope

log = structlog.get_logger("controller")

PERIOD_S = 300.0
COUNT_S = 15.0
ABSENT_S = 5.0
"""How often a kind is asked for that the API server does not know."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
TICK_S = 0.5
WITHOUT_OWN = (
    "the CRDs of Backend and Policy are not there, so there is nothing to serve: install the chart tidegate-crds, or "
    "run: tidegate crds | kubectl apply --server-side -f -"
)


@dataclass
class _State:
    due: float = 0.0
    counted: float = 0.0
    differed: bool = False
    failures: int = 0
    listed: float = float("-inf")


class Sweeping:
    """The lists of some kinds."""

    def __init__(
        self,
        api: Api,
        mirror: Mirror,
        kinds: Sequence[Kind],
        changed: Callable[[], None],
        deaf: Callable[[], None],
        put_back: Callable[[], None],
    ) -> None:
        """`changed` is called where the compiler has to know, `deaf` where a watch seems to hear nothing any more, and
        `put_back` where the storage was: all has to be read anew then."""
        self._api = api
        self._mirror = mirror
        self._states = {kind: _State() for kind in kinds}
        self._changed = changed
        self._deaf = deaf
        self._put_back = put_back
        self._wake = asyncio.Event()
        self._attempted = asyncio.get_running_loop().time()
        self.absent: set[Kind] = set()
        """Kinds that the API server does not know."""
        self.failed = 0
        """Lists that failed."""

    def suspect(self, kinds: Sequence[Kind] | None = None) -> None:
        """List these kinds (all of them) at once."""
        for kind in self._states if kinds is None else kinds:
            self._states[kind].due = 0.0
        self._wake.set()

    @property
    def missing(self) -> list[Kind]:
        """Kinds that were not listed yet. Ours have to be there; others may be known not to be."""
        return [kind for kind in self._states if Scope(kind.name) not in self._mirror.synced]

    @property
    def whole(self) -> bool:
        return not self.missing

    def attempted(self) -> float:
        """Seconds since anything was asked for."""
        return asyncio.get_running_loop().time() - self._attempted

    def age(self) -> float:
        """Seconds since the kind that was listed longest ago was listed."""
        now = asyncio.get_running_loop().time()
        return max((now - state.listed for state in self._states.values()), default=0.0)

    async def run(self) -> None:
        """For ever."""
        while True:
            self._wake.clear()
            for kind, state in self._states.items():
                now = asyncio.get_running_loop().time()
                if now >= state.due:
                    await self._list(kind, state)
                elif now >= state.counted + COUNT_S and kind not in self.absent:
                    await self._count(kind, state)
            try:
                async with asyncio.timeout(TICK_S):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _list(self, kind: Kind, state: _State) -> None:
        scope, loop = Scope(kind.name), asyncio.get_running_loop()
        self._attempted = loop.time()
        asked, epoch = self._mirror.asked(scope), self._mirror.epoch
        try:
            listed = await self._api.list(kind)
        except ApiError as error:
            if error.status == 404:
                self._is_absent(kind, state)
            else:
                self._has_failed(kind, state, error)
            return
        if kind in self.absent or state.failures:
            log.info("listed again", kind=kind.name)
        self.absent.discard(kind)
        first, asked_in, epoch = scope not in self._mirror.synced, epoch, self._mirror.epoch
        if self._mirror.replace(kind, scope, listed.items, listed.version, asked if asked_in == epoch else 0):
            self._changed()
            if not first and state.differed:
                self._deaf()  # its watch did not tell what is there since the last count
        now = loop.time()
        state.listed = state.counted = now
        state.due, state.failures, state.differed = now + PERIOD_S, 0, False
        if self._mirror.epoch != epoch:
            self._put_back()

    async def _count(self, kind: Kind, state: _State) -> None:
        try:
            number = await self._api.count(kind)
        except ApiError as error:
            self.failed += 1
            log.debug("cannot count", kind=kind.name, why=str(error))
            number = self._mirror.count(Scope(kind.name))
        state.counted = asyncio.get_running_loop().time()
        differs = number != self._mirror.count(Scope(kind.name))
        if differs and state.differed:  # for the second time: no event is on its way
            state.due = 0.0
            self._wake.set()
        state.differed = differs

    def _is_absent(self, kind: Kind, state: _State) -> None:
        now = asyncio.get_running_loop().time()
        state.due, state.listed = now + ABSENT_S, now
        if kind not in self.absent:
            self.absent.add(kind)
            if kind in OWN and len(self.absent & set(OWN)) == 1:
                log.warning(WITHOUT_OWN, kind=kind.name)
            elif kind not in OWN:
                log.info("not served by this cluster; it will be noticed when it comes", kind=str(kind))
        scope = Scope(kind.name)
        first = scope not in self._mirror.synced
        gone = self._mirror.forget(scope)
        if kind in OWN:
            return  # not synced: what is served stays until it is known what there is
        self._mirror.synced.add(scope)
        if gone or first:  # it may be the last that was missing
            self._changed()

    def _has_failed(self, kind: Kind, state: _State, error: ApiError) -> None:
        pause = min(FIRST_PAUSE_S * 2**state.failures, LONGEST_PAUSE_S)
        state.failures = min(state.failures + 1, 10)
        state.due = asyncio.get_running_loop().time() + pause
        self.failed += 1
        if state.failures == 1:
            log.warning("cannot list; tried again until it works", kind=kind.name, why=str(error))
