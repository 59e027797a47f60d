"""What the leader keeps in the cluster beside statuses: the authority that data planes trust, the copy of the table
that they start from where no controller answers, the GatewayClass, and the Services of Gateways.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

import structlog

from controller.api import Api, ApiError
from controller.compile import Install
from controller.compile.gateway_services import GATEWAY
from controller.keeping import Keeper
from controller.kinds import CLUSTER_ROLE, GATEWAY_CLASS, SECRET, SERVICE, Kind
from controller.leader import Leader
from controller.mirror import Document, Mirror, Scope, metadata, text
from controller.push.publication import Publication
from controller.trust import Trust
from dataplane.table import bundle

log = structlog.get_logger("controller")

EVERY_S = 10.0
BOOT_S = 30.0
"""At most so often the copy is written."""
BOOT_SECRETS = 8
FULL = 900 * 1024
"""Bytes of a Secret's entries: it holds a megabyte."""
CONFLICT, FORBIDDEN = 409, 403


class Duties:
    """Of one replica; all but the look at the authority are the leader's."""

    def __init__(
        self,
        api: Api,
        install: Install,
        mirror: Mirror,
        leader: Leader,
        trust: Trust,
        keeper: Keeper,
        absent: Callable[[Kind], bool],
    ) -> None:
        """`absent`: whether the cluster does not know a kind."""
        self._api = api
        self._install = install
        self._mirror = mirror
        self._leader = leader
        self._trust = trust
        self._keeper = keeper
        self._absent = absent
        self._wake = asyncio.Event()
        self._publication: Publication | None = None
        self._services: Sequence[Document] = ()
        self._stored = ""
        """The hash of the table that was copied."""
        self._copied = float("-inf")
        self._failing: set[str] = set()
        self.failed = 0
        leader.changes.append(self._turned)

    def published(self, publication: Publication, services: Sequence[Document]) -> None:
        """Take note of what gateways are to serve, and of the Services that Gateways are to have."""
        self._publication, self._services = publication, services
        self._wake.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._do("authority", lambda: self._trust.tend(self._leads))
            if self._leads:
                await self._do("GatewayClass", self._class)
                await self._do("Services of Gateways", self._gateways)
                await self._do("boot snapshot", self._boot)
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S if self._trust.ready else 1.0):
                    await self._wake.wait()
            self._wake.clear()

    @property
    def _leads(self) -> bool:
        return self._leader.leads and bool(self._leader.uid)

    def _turned(self) -> None:
        self._keeper.forget()
        self._stored = ""
        self._wake.set()

    async def _do(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except ApiError as error:
            self.failed += 1
            if what not in self._failing:
                log.warning("cannot keep what is ours; tried again until it works", what=what, why=str(error))
            self._failing.add(what)
        else:
            self._failing.discard(what)

    async def _class(self) -> None:
        """Make it as soon as the cluster knows the kind. What somebody made of it stays."""
        name, scope = self._install.class_name, Scope(GATEWAY_CLASS.name)
        if self._absent(GATEWAY_CLASS) or scope not in self._mirror.synced or self._mirror.get(scope.kind, "", name):
            return
        spec = {"controllerName": self._install.controller_name, "description": "Served by the gateways of Tidegate."}
        owners = await self._role()
        try:
            body = self._keeper.whole(GATEWAY_CLASS, name, {"spec": spec}, ownerReferences=owners)
            await self._api.create(GATEWAY_CLASS, body)
        except ApiError as error:
            if error.status != CONFLICT:
                raise

    async def _role(self) -> list[dict[str, str]]:
        """The chart's ClusterRole as an owner: what belongs to no namespace goes with that when it is uninstalled."""
        name = f"{self._install.name}-controller"
        try:
            role = await self._api.get(CLUSTER_ROLE, "", name)
        except ApiError as error:
            if error.status != FORBIDDEN:
                raise
            role = None
        if role is None:  # it was not installed by the chart
            return []
        reference = {"apiVersion": CLUSTER_ROLE.api_version, "kind": CLUSTER_ROLE.name}
        return [{**reference, "name": name, "uid": text(metadata(role).get("uid"))}]

    async def _gateways(self) -> None:
        """A Service for each Gateway; those of Gateways that are gone go."""
        if self._publication is None:
            return
        wanted = {text(metadata(each).get("name")): each for each in self._services}
        for service in wanted.values():
            own = {**metadata(service), "ownerReferences": [self._keeper.owner()]}
            await self._keeper.keep_whole(SERVICE, {**service, "metadata": own})
        for key, entry in list(self._mirror.entries(SERVICE.name).items()):
            if key.namespace == self._install.namespace and key.name not in wanted and _is_a_gateways(entry.body):
                await self._keeper.drop(SERVICE, key.name)

    async def _boot(self) -> None:
        now = asyncio.get_running_loop().time()
        publication = self._publication
        if publication is None or now < self._copied + BOOT_S:
            return
        marks = ",".join(sorted(publication.tables))
        if marks == self._stored:
            return
        self._copied = now
        secrets = await asyncio.to_thread(_packed, publication)
        if len(secrets) > BOOT_SECRETS:
            log.error("the table is too large for a copy; data planes cannot start without a controller")
            return
        # The indexes, in the first, come last: until then what is there does not fit together, and is not used.
        for index in reversed(range(BOOT_SECRETS)):
            name = f"{self._install.name}-boot" + (f"-{index}" if index else "")
            if index < len(secrets):
                await self._keeper.keep(SECRET, name, self._keeper.secret(secrets[index]))
            elif await self._keeper.read_secret(name):
                await self._keeper.keep(SECRET, name, self._keeper.secret({}))
        self._stored = marks


def _is_a_gateways(service: Document) -> bool:
    annotations = metadata(service).get("annotations")
    owners = metadata(service).get("ownerReferences")
    return isinstance(annotations, Mapping) and GATEWAY in annotations and bool(owners)


def _packed(publication: Publication) -> list[dict[str, bytes]]:
    """The table's files, as many to a Secret as it holds: the indexes, which are the smallest, are in the first."""
    files: dict[str, bytes] = {}
    for offered in publication.offered.values():
        files |= bundle.packed(offered.outline, offered.parts.values(), publication.secrets, publication.watermark)
    secrets: list[dict[str, bytes]] = [{}]
    for name, data in sorted(files.items(), key=lambda each: (len(each[1]), each[0])):
        if sum(map(len, secrets[-1].values())) + len(data) > FULL:
            secrets.append({})
        secrets[-1][name] = data
    return secrets
