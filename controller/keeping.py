"""Objects of the install's namespace that the controller makes: they are owned by its Lease, which the chart has, and
so go with the install.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Mapping
from typing import Literal

import orjson

from controller.api import Api
from controller.kinds import LEASE, SECRET, Kind
from controller.leader import Leader
from controller.mirror import Document, metadata, text
from controller.settings import Settings

LOOKED_AFTER_S = 300.0
"""How often what seems to be as it should is written all the same: somebody may have changed it."""
Component = Literal["controller", "dataplane"]


class Keeper:
    """Keeps objects as they should be. Only the leader may."""

    def __init__(self, api: Api, settings: Settings, leader: Leader) -> None:
        self._api = api
        self._settings = settings
        self._leader = leader
        self._kept: dict[tuple[Kind, str], tuple[bytes, float]] = {}
        """What was written when, as a hash."""

    async def keep(
        self, kind: Kind, name: str, content: Document, component: Component = "controller", **more: object
    ) -> None:
        """Have this object there, with this `content` beside its metadata. Raises ApiError."""
        await self.keep_whole(kind, self.whole(kind, name, content, component, **more))

    async def keep_whole(self, kind: Kind, body: Document) -> None:
        """Have this object there, as it stands. Raises ApiError."""
        name = text(metadata(body).get("name"))
        mark = hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest()
        now = asyncio.get_running_loop().time()
        known, written = self._kept.get((kind, name), (b"", 0.0))
        if known == mark and now < written + LOOKED_AFTER_S:
            return
        await self._api.apply(kind, body)
        self._kept[kind, name] = mark, now

    async def drop(self, kind: Kind, name: str) -> None:
        """Have it not there. Raises ApiError."""
        await self._api.delete(kind, self._settings.install.namespace, name)
        self._kept.pop((kind, name), None)

    def is_gone(self, kind: Kind, name: str) -> None:
        """Somebody has deleted it: the next time it is written, whatever it was before."""
        self._kept.pop((kind, name), None)

    def forget(self) -> None:
        """Another led meanwhile: nothing is known of what is there."""
        self._kept.clear()

    def whole(
        self, kind: Kind, name: str, content: Document, component: Component = "controller", **more: object
    ) -> dict[str, object]:
        """The object with its labels and its owner."""
        own: dict[str, object] = {"name": name, "labels": self._settings.labels(component), **more}
        if kind.namespaced:
            own |= {"namespace": self._settings.install.namespace, "ownerReferences": [self.owner()]}
        return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": own, **content}

    def owner(self) -> dict[str, str]:
        """The Lease, as a reference."""
        lease = {"apiVersion": LEASE.api_version, "kind": LEASE.name}
        return {**lease, "name": self._leader.name, "uid": self._leader.uid}

    @staticmethod
    def secret(entries: Mapping[str, bytes]) -> dict[str, object]:
        """The content of a Secret."""
        data = {name: base64.b64encode(value).decode() for name, value in entries.items()}
        return {"type": "Opaque", "data": data}

    async def read_secret(self, name: str) -> dict[str, bytes] | None:
        """The entries of a Secret of the install's namespace; None where there is none. Raises ApiError."""
        found = await self._api.get(SECRET, self._settings.install.namespace, name)
        return found and {entry: base64.b64decode(value) for entry, value in (found.get("data") or {}).items()}
