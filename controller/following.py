"""What is read only where something refers to it: Secrets, Services and EndpointSlices of single namespaces, and our
own pods.

Each is listed and watched by itself, through the same client as all else: kopf watches a kind everywhere or nowhere,
and nobody should give us all Secrets of a cluster.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping

import structlog

from controller.api import WATCH_S, Api, ApiError
from controller.kinds import BY_NAME, SECRET
from controller.mirror import Mirror, Scope, version_of

log = structlog.get_logger("controller")

LISTS_AT_ONCE = 16
"""However many namespaces there are, the API server and we are not to be busy with all of them at one moment."""
LET_S = 45
"""How long a watch of Secrets lasts at most. The API server asks whether we may only when one begins, and a namespace
that takes its leave back is to be heeded within a minute."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
"""Before it is tried again; longer each time. Also where we may not read: a RoleBinding may have been made, perhaps by
the same `kubectl apply` as what refers to a Secret, and API servers heed it a moment later."""
GONE = 410
DENIED = 403
BOOKMARK = "BOOKMARK"
BETWEEN_S = 0.1
"""Between two watches: API servers that are about to stop end them at once."""


class Following:
    """Of any number of scopes, each followed by a task."""

    def __init__(
        self,
        api: Api,
        mirror: Mirror,
        changed: Callable[[], None],
        put_back: Callable[[], None],
        labels: Mapping[Scope, str] | None = None,
    ) -> None:
        """`changed` is called where the compiler has to know, `put_back` where the storage was: all has to be read anew
        then. `labels`: selectors of scopes that are not read whole."""
        self._api = api
        self._mirror = mirror
        self._changed = changed
        self._put_back = put_back
        self._labels = labels or {}
        self._tasks: dict[Scope, asyncio.Task[None]] = {}
        self._tried: set[Scope] = set()
        self._denied: set[Scope] = set()
        self._lists = asyncio.Semaphore(LISTS_AT_ONCE)
        self.failed = 0

    @property
    def whole(self) -> bool:
        """Whether all was listed, or the API server has said why not."""
        return self._tasks.keys() <= self._tried

    @property
    def denied(self) -> frozenset[str]:
        """Namespaces whose Secrets we may not read."""
        return frozenset(scope.namespace for scope in self._denied if scope.kind == SECRET.name)

    def want(self, scopes: set[Scope]) -> None:
        """Follow these, and no others any more."""
        for scope in self._tasks.keys() - scopes:
            self._tasks.pop(scope).cancel()
            self._tried.discard(scope)
            self._denied.discard(scope)
            if self._mirror.forget(scope):
                self._changed()
        for scope in sorted(scopes - self._tasks.keys()):
            self._tasks[scope] = asyncio.create_task(self._follow(scope), name=f"follow {scope}")

    def again(self) -> None:
        """List all of it anew. What is known stays until then."""
        scopes = set(self._tasks)
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()
        self._tried.clear()
        self.want(scopes)

    async def stop(self) -> None:
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, scope: Scope) -> None:
        pause, kind = FIRST_PAUSE_S, BY_NAME[scope.kind]
        while True:
            try:
                version = await self._list(scope)
                pause = FIRST_PAUSE_S
                while True:
                    seconds = random.randint(LET_S // 2, LET_S) if kind is SECRET else WATCH_S
                    labels = self._labels.get(scope, "")
                    async for type_, body in self._api.watch(kind, scope.namespace, version, labels, seconds):
                        version = max(version, version_of(body))
                        if type_ != BOOKMARK and self._mirror.see(kind, body, deleted=type_ == "DELETED"):
                            self._changed()
                    await asyncio.sleep(BETWEEN_S)
            except ApiError as error:
                wait = FIRST_PAUSE_S if error.status == GONE else self._has_failed(scope, error, pause)
            except Exception:  # a mistake of ours must not leave it unread for ever
                self.failed += 1
                log.exception("cannot be read; tried again until it works", of=str(scope))
                wait = pause
            pause = min(2 * pause, LONGEST_PAUSE_S)
            await asyncio.sleep(wait * random.uniform(0.8, 1.2))

    async def _list(self, scope: Scope) -> int:
        kind = BY_NAME[scope.kind]
        async with self._lists:
            asked, asked_in = self._mirror.asked(scope), self._mirror.epoch
            listed = await self._api.list(kind, scope.namespace, self._labels.get(scope, ""))
        epoch = self._mirror.epoch
        changed = self._mirror.replace(kind, scope, listed.items, listed.version, asked if asked_in == epoch else 0)
        if scope in self._denied:
            log.info("may be read now", kind=scope.kind, namespace=scope.namespace)
        changed |= scope in self._denied or scope not in self._tried
        self._denied.discard(scope)
        self._tried.add(scope)
        if changed:
            self._changed()
        if self._mirror.epoch != epoch:
            self._put_back()
        return listed.version

    def _has_failed(self, scope: Scope, error: ApiError, pause: float) -> float:
        """How long to wait before it is tried again. What is known stays, unless we may not know it any more."""
        self.failed += 1
        if error.status != DENIED:
            log.warning("cannot be read; tried again until it works", of=str(scope), why=str(error))
            return pause
        if scope not in self._denied:
            log.warning("may not be read", kind=scope.kind, namespace=scope.namespace, why=str(error))
            self._denied.add(scope)
            self._tried.add(scope)
            self._mirror.forget(scope)
            self._changed()
        return pause
