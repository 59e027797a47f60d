"""The keys that gateways sign hints with (`dataplane.affinity`): the leader makes a Secret, every replica hands it out.

The entry `current` signs, whatever else is in the Secret signed before, or will: who puts a new key beside the current
one, lets gateways learn it, and then changes their places, loses nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

import structlog
from pydantic import SecretStr

from controller.api import Api, ApiError
from controller.keeping import Keeper
from controller.kinds import SECRET
from controller.settings import Settings

log = structlog.get_logger("controller")

SIGNS = "current"
SHORTEST = 32
"""Characters of a key."""
CONFLICT = 409


class HintKeys:
    """Of one replica. `changed` is called when there are others."""

    def __init__(self, keeper: Keeper, api: Api, settings: Settings, changed: Callable[[], None]) -> None:
        self._keeper = keeper
        self._api = api
        self._changed = changed
        self._name = f"{settings.install.name}-affinity"
        self.found: tuple[SecretStr, ...] = ()
        """The one that signs first; empty: none is known yet."""
        self._faulty = False

    async def tend(self, leads: bool) -> None:
        """Read them, and make one where there is none and this replica leads. Raises ApiError."""
        entries = await self._keeper.read_secret(self._name)
        if entries is None and leads:
            entries = await self._made()
        keys = ordered(entries or {})
        if entries is not None and not keys:
            self._complain()  # those of before stay
            return
        self._faulty = False
        if keys != self.found:
            self.found = keys
            self._changed()

    async def _made(self) -> dict[str, bytes] | None:
        entries = {SIGNS: secrets.token_hex(32).encode()}
        try:  # not applied: another leader may be at it, and whoever is first wins
            await self._api.create(SECRET, self._keeper.whole(SECRET, self._name, self._keeper.secret(entries)))
        except ApiError as error:
            if error.status != CONFLICT:
                raise
            return await self._keeper.read_secret(self._name)
        return entries

    def _complain(self) -> None:
        if not self._faulty:
            log.warning(
                "a Secret has no usable key; what gateways have stays",
                secret=self._name,
                fix=f"write {SHORTEST} or more ASCII characters into its entry {SIGNS}, or delete it",
            )
        self._faulty = True


def ordered(entries: dict[str, bytes]) -> tuple[SecretStr, ...]:
    """The keys of a Secret; empty where the one that signs cannot be used. Others that cannot are left out."""
    names = [SIGNS, *sorted(entries.keys() - {SIGNS})]
    keys = [entries.get(name, b"").strip() for name in names]
    if not _usable(keys[0]):
        return ()
    return tuple(SecretStr(key.decode()) for key in keys if _usable(key))


def _usable(key: bytes) -> bool:
    return len(key) >= SHORTEST and key.isascii()
