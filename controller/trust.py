"""What data planes trust this controller by: the leader keeps a certificate authority in a Secret and publishes its
certificate in a ConfigMap; every replica signs with it, in memory, what it shows.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address

import structlog

from controller import certificates
from controller.api import Api, ApiError
from controller.certificates import Authorities, Serving, Unusable
from controller.keeping import Keeper
from controller.kinds import CONFIG_MAP, SECRET
from controller.push import tls
from controller.settings import Settings

log = structlog.get_logger("controller")

LOOPBACK = "127.0.0.1"


class Trust:
    """Of one replica. `address`: of its pod, or empty."""

    def __init__(self, keeper: Keeper, api: Api, settings: Settings, address: str) -> None:
        self._api = api
        self._keeper = keeper
        self._name = f"{settings.install.name}-ca"
        service = f"{settings.install.name}-controller"
        self._names = (*certificates.service_names(service, settings.install.namespace), "localhost")
        self._addresses = _addresses(address)
        self._serving: Serving | None = None
        self.context: ssl.SSLContext = tls.server_context()

    @property
    def ready(self) -> bool:
        """Whether anybody can connect."""
        return self._serving is not None

    @property
    def expires(self) -> datetime | None:
        """When the certificate that is shown does."""
        return self._serving.expires if self._serving else None

    async def tend(self, leads: bool) -> None:
        """Do what is due. Raises ApiError."""
        now = datetime.now(UTC)
        authorities = await self._stored()
        if leads:
            authorities = await self._kept(authorities, now)
            await self._keeper.keep(CONFIG_MAP, self._name, {"data": authorities.config()})
        if authorities is None:
            return  # until there is a leader, which makes one
        if self._serving is None or self._serving.due(now, authorities.signing):
            self._serving = certificates.new_serving(authorities.signing, self._names, self._addresses, now)
            tls.show(self.context, self._serving)
            log.info("has a new certificate for data planes", expires=self._serving.expires.isoformat())

    async def _stored(self) -> Authorities | None:
        entries = await self._keeper.read_secret(self._name)
        if entries is None:
            return None
        try:
            return certificates.stored(entries)
        except Unusable as error:
            log.warning(
                "the certificate authority cannot be used; the leader makes another", of=self._name, why=str(error)
            )
            return None

    async def _kept(self, found: Authorities | None, now: datetime) -> Authorities:
        wanted = certificates.kept(found, now)
        if found is not None and wanted.secret() == found.secret():
            return wanted
        content = self._keeper.secret(wanted.secret())
        body = self._keeper.whole(SECRET, self._name, content)
        if found is None and await self._keeper.read_secret(self._name) is None:
            try:  # not applied: another leader may be at it, and whoever is first wins
                await self._api.create(SECRET, body)
            except ApiError as error:
                stored = await self._stored()
                if error.status != 409 or stored is None:
                    raise
                return stored
        else:
            await self._api.apply(SECRET, body)
        return wanted


def _addresses(address: str) -> list[IPv4Address | IPv6Address]:
    found = {LOOPBACK, address} - {""}
    return [ip_address(each) for each in sorted(found)]
