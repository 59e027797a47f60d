"""Services of the cluster, as somebody refers to them: which endpoints are behind a port."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from controller.compile.cluster import Cluster
from controller.compile.core_objects import EndpointSlice, Service, ServicePort
from controller.compile.gateway_api import Kind
from controller.compile.grants import BACKEND, HTTP_ROUTE, POLICY, SERVICE, permitted
from controller.compile.secrets import Unresolved
from dataplane import table

NOT_HERE = "a Service exists in a cluster only"
_PLURALS: Final = {BACKEND: "Backends", HTTP_ROUTE: "HTTPRoutes", POLICY: "Policies"}


@dataclass(frozen=True, slots=True)
class Reference:
    """To one port of a Service, from an object of the kind `source` in the namespace `of`."""

    source: Kind
    of: str
    namespace: str
    name: str
    port: int
    """0: none was written."""
    field: str
    """Where it is written: `spec.rules[0].backendRefs[1]`."""

    @property
    def path(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def id(self) -> str:
        """Of its endpoints in the table."""
        return f"{self.path}:{self.port}"

    @property
    def authority(self) -> str:
        """What requests are addressed to, though the name is never looked up."""
        return f"{self.name}.{self.namespace}.svc:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.authority}"


def endpoints(reference: Reference, cluster: Cluster) -> table.EndpointSet:
    """What is ready behind it, be it nothing. Raises Unresolved."""
    port = _port(reference, _service(reference, cluster))
    if (found := cluster.endpoints.get(reference.id)) is None:
        slices = cluster.slices.get((reference.namespace, reference.name), ())
        addresses = {address for each in slices for address in _addresses(each, port)}
        found = cluster.endpoints[reference.id] = table.EndpointSet(id=reference.id, addresses=tuple(sorted(addresses)))
    return found


def not_ready(found: table.EndpointSet) -> str:
    """What is said where there is no endpoint; nothing where there is one."""
    if found.addresses:
        return ""
    return f"Service {found.id} has no ready endpoint, so what goes there is answered 503 until one is ready."


def _service(reference: Reference, cluster: Cluster) -> Service:
    objects, field, path = cluster.objects, reference.field, reference.path
    if not _permitted(reference, cluster, reference.name):
        raise Unresolved(
            "RefNotPermitted",
            f"{field}.namespace: Service {path} is in another namespace, and no ReferenceGrant there lets "
            f"{_PLURALS[reference.source]} of {reference.of} refer to it; ask its owner for one",
        )
    service = objects.services.get((reference.namespace, reference.name))
    if service is None:
        there = (name for space, name in objects.services if space == reference.namespace)
        names = (name for name in there if _permitted(reference, cluster, name))
        exists = objects.instead.what_exists(reference.of, reference.name, names)
        message = f"{field}.name: there is no Service {path}; {exists}"
        raise Unresolved("ServiceNotFound", message)
    if service.value is None:
        raise Unresolved("UnsupportedService", f"{field}: {service.identity} cannot be used: {service.error}")
    if service.value.spec.type == "ExternalName":
        raise Unresolved(
            "UnsupportedService",
            f"{field}.name: Service {path} is of type ExternalName, a name for a host elsewhere that has no endpoints; "
            "write that host as url of a Backend's provider",
        )
    return service.value


def _permitted(reference: Reference, cluster: Cluster, name: str) -> bool:
    return permitted(cluster.objects, reference.source, reference.of, SERVICE, reference.namespace, name)


def _port(reference: Reference, service: Service) -> ServicePort:
    tcp = [port for port in service.spec.ports if port.protocol == "TCP"]
    found = next((port for port in tcp if port.port == reference.port), None)
    if found is not None:
        return found
    known = ", ".join(f"{port.port} ({port.name})" if port.name else str(port.port) for port in tcp) or "none"
    lacks = f"has no TCP port {reference.port}" if reference.port else "is referred to by one of its ports: write it"
    message = f"{reference.field}.port: Service {reference.path} {lacks}; its ports: {known}"
    raise Unresolved("ServicePortNotFound", message)


def _addresses(each: EndpointSlice, port: ServicePort) -> Iterator[str]:
    """Slices name the Service's port and say what number it has there (`targetPort`, which pods may name)."""
    for known in each.ports or ():
        if (known.name or "") == port.name and (known.protocol or "TCP") == "TCP":
            number = known.port or port.port
            yield from (f"{host}:{number}" for host in each.hosts)
