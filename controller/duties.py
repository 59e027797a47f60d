"""What the leader keeps in the cluster beside statuses: the authority that data planes trust, the copy of the table
that they start from where no controller answers, the GatewayClass, and the Services of Gateways.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial

import structlog

from controller.api import Api, ApiError
from controller.compile import Install
from controller.compile.gateway_services import GATEWAY
from controller.hint_keys import HintKeys
from controller.keeping import LOOKED_AFTER_S, Keeper
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
UNABLE = (0, 429, 503)
"""The API server takes nothing now, be it what it may: nobody answered, or it is too busy."""
ROLE = "tidegate-controller"
"""The chart's ClusterRole: of one name in every release, so that Helm refuses a second one in a cluster."""
INSTANCE = "app.kubernetes.io/instance"


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
        hint_keys: HintKeys,
    ) -> None:
        """`absent`: whether the cluster does not know a kind."""
        self._api = api
        self._install = install
        self._mirror = mirror
        self._leader = leader
        self._trust = trust
        self._keeper = keeper
        self._absent = absent
        self._hint_keys = hint_keys
        self._wake = asyncio.Event()
        self._publication: Publication | None = None
        self._services: Sequence[Document] = ()
        self._stored = ""
        """The hash of the table that was copied."""
        self._copied = self._looked_around = float("-inf")
        self._failing: set[str] = set()
        self.failed = 0
        self.refused: Mapping[str, str] = {}
        """Why Gateways have not the Service that they are to have, by `namespace/name`."""
        self.too_large = False
        """Is there no copy of the table, since it is too large for one?"""
        leader.changes.append(self._turned)

    def published(self, publication: Publication, services: Sequence[Document]) -> None:
        """Take note of what gateways are to serve, and of the Services that Gateways are to have."""
        self._publication, self._services = publication, services
        self._wake.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._do("keys of hints", lambda: self._hint_keys.tend(self._leads))  # before anybody is served
            await self._do("authority", lambda: self._trust.tend(self._leads))
            if self._leads:
                await self._do("ClusterRole of the chart", self._look_around)
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
        self._looked_around = float("-inf")
        self.refused = {}
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
        if (role := await self._chart()) is None:
            return []
        reference = {"apiVersion": CLUSTER_ROLE.api_version, "kind": CLUSTER_ROLE.name}
        return [{**reference, "name": ROLE, "uid": text(metadata(role).get("uid"))}]

    async def _chart(self) -> Document | None:
        """The chart's ClusterRole; None where the chart was not used."""
        try:
            return await self._api.get(CLUSTER_ROLE, "", ROLE)
        except ApiError as error:
            if error.status != FORBIDDEN:
                raise
            return None

    async def _look_around(self) -> None:
        """Of two installs each would write every status over the other's. Helm refuses the second one; whoever applies
        manifests without it is told here."""
        now = asyncio.get_running_loop().time()
        if now < self._looked_around + LOOKED_AFTER_S:
            return
        role = await self._chart()
        self._looked_around = now
        labels = metadata(role).get("labels") if role else None
        other = text(labels.get(INSTANCE)) if isinstance(labels, Mapping) else ""
        if other not in ("", self._install.instance):
            log.error("another install serves this cluster, too, and there can be only one: uninstall one", other=other)

    async def _gateways(self) -> None:
        """A Service for each Gateway; those of Gateways that are gone go. One that is refused keeps none waiting."""
        if self._publication is None:
            return
        refused: dict[str, str] = {}
        for gateway, work in self._due():
            try:
                await work()
            except ApiError as error:
                if error.status in UNABLE:
                    raise
                self.failed += 1
                refused[gateway] = str(error)
                if gateway not in self.refused:
                    log.warning("the Service of a Gateway is refused; tried again", gateway=gateway, why=str(error))
        self.refused = refused

    def _due(self) -> Iterator[tuple[str, Callable[[], Awaitable[None]]]]:
        """By Gateway, what there is to be done."""
        wanted = {text(metadata(each).get("name")): each for each in self._services}
        owner = self._keeper.owner()
        namespace = self._install.namespace
        for name, service in wanted.items():
            if Scope(SERVICE.name, namespace) in self._mirror.synced and not self._mirror.get(
                SERVICE.name, namespace, name
            ):
                self._keeper.is_gone(SERVICE, name)
            own = {**metadata(service), "ownerReferences": [owner]}
            yield _gateway_of(service), partial(self._keeper.keep_whole, SERVICE, {**service, "metadata": own})
        for key, entry in list(self._mirror.entries(SERVICE.name).items()):
            if key.namespace != namespace or key.name in wanted:
                continue
            if (gateway := _gateway_of(entry.body)) and _is_owned(entry.body, owner["uid"]):
                yield gateway, partial(self._keeper.drop, SERVICE, key.name)

    async def _boot(self) -> None:
        """A copy of the table, which is put back where somebody has touched it."""
        now = asyncio.get_running_loop().time()
        publication = self._publication
        if publication is None or now < self._copied + BOOT_S:
            return
        marks = ",".join(sorted(publication.tables))
        if marks == self._stored and now < self._copied + LOOKED_AFTER_S:
            return
        self._copied = now
        secrets = await asyncio.to_thread(_packed, publication)
        if len(secrets) > BOOT_SECRETS:
            if not self.too_large:
                log.error("the table is too large for a copy; data planes cannot start without a controller")
            self._stored, self.too_large = marks, True
            return
        # The indexes, in the first, come last: until then what is there does not fit together, and is not used.
        for index in reversed(range(BOOT_SECRETS)):
            name = f"{self._install.name}-boot" + (f"-{index}" if index else "")
            if index < len(secrets):
                await self._keeper.keep(SECRET, name, self._keeper.secret(secrets[index]))
            elif await self._keeper.read_secret(name):
                await self._keeper.keep(SECRET, name, self._keeper.secret({}))
        self._stored, self.too_large = marks, False
        self._copied = asyncio.get_running_loop().time()  # so that all of them are looked after next time


def _gateway_of(service: Document) -> str:
    """Whose it is, as `namespace/name`; empty where it is none's."""
    annotations = metadata(service).get("annotations")
    return text(annotations.get(GATEWAY)) if isinstance(annotations, Mapping) else ""


def _is_owned(service: Document, owner: str) -> bool:
    owners = metadata(service).get("ownerReferences")
    found = owners if isinstance(owners, list) else ()
    return any(isinstance(each, Mapping) and each.get("uid") == owner for each in found)


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
