"""Services that HTTPRoutes lead to: each port is a Backend of the table, relayed as it is."""

from __future__ import annotations

from collections.abc import Iterable

from controller.compile.backends import Compiled
from controller.compile.cluster import Cluster
from controller.compile.services import Reference, endpoints
from dataplane import table

_PATHS = (table.PathType(suffix="*", type=table.RouteType.PASSTHROUGH),)


def service_backend(reference: Reference, cluster: Cluster) -> Compiled:
    """What stands for a Backend in the table; no Backend is called `namespace/service:port`. Raises Unresolved."""
    found = endpoints(reference, cluster)
    provider = table.Provider(name=reference.name, kind="custom", url=reference.url, endpoints=found.id)
    return Compiled(table.Backend(name=found.id, providers=(provider,), paths=_PATHS), endpoints=(found,))


def by_name(services: Iterable[Compiled | None]) -> dict[str, Compiled]:
    """Each once."""
    return {each.entry.name: each for each in services if each}
