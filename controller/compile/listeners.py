"""Listeners of the Gateways that this install serves: which of them can be, what they show, where gateways listen."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from controller.compile.certificates import certificates
from controller.compile.cluster import Cluster
from controller.compile.gateways import (
    AllowedRoutes,
    Gateway,
    GatewayClass,
    ListenerTls,
    RouteNamespaces,
    WrittenListener,
    class_of,
)
from controller.compile.grants import HTTP_ROUTE
from controller.compile.install import Install
from controller.compile.objects import Identity, Read
from controller.compile.secrets import Credential, Unresolved
from dataplane import table

Key = tuple[str, str]
"""Namespace and name."""
PORTS = 10_000
"""As many are for Gateways, from `Install.first_port` on."""
_PROTOCOLS = ("HTTP", "HTTPS")


@dataclass(frozen=True, slots=True)
class Problem:
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Listener:
    """One of a Gateway, and what was decided about it."""

    gateway: Identity
    name: str
    port: int
    """The Gateway's."""
    target: int
    """Where data planes listen; 0 where they do not."""
    hostname: str
    """Lower case; empty: any."""
    tls: bool
    takes_routes: bool
    """Are HTTPRoutes among the kinds that it takes?"""
    namespaces: RouteNamespaces
    """Whose routes it takes."""
    refused: Problem | None = None
    """Why it is not accepted."""
    conflict: bool = False
    """Is that since another is in its way?"""
    unresolved: tuple[Problem, ...] = ()
    certificates: tuple[Credential, ...] = field(default=(), repr=False)

    @property
    def served(self) -> bool:
        """Can anybody be? Not where it is refused, nor by TLS without a certificate to show."""
        return not self.refused and (not self.tls or bool(self.certificates))

    @property
    def path(self) -> str:
        """Its name in the table."""
        return f"{self.gateway.path}/{self.name}"

    def entry(self) -> table.Listener:
        return table.sealed(
            table.Listener(
                name=self.path,
                port=self.target,
                public_port=self.port,
                hostname=self.hostname,
                tls=self.tls,
                certificates=tuple(each.id for each in self.certificates),
            )
        )


@dataclass(frozen=True, slots=True)
class Fleet:
    """What an install serves by Gateway API."""

    classes: Mapping[str, Read[GatewayClass]] = field(default_factory=dict)
    """By name, those that name this controller."""
    gateways: Mapping[Key, Read[Gateway]] = field(default_factory=dict)
    """Of these classes."""
    faults: Mapping[Key, Problem] = field(default_factory=dict)
    """Why Gateways are not accepted."""
    listeners: Mapping[Key, tuple[Listener, ...]] = field(default_factory=dict)
    """In the order in which they are written."""

    def accepted(self) -> Iterable[Listener]:
        """Those that are. Those without a certificate to show are among them: it may come."""
        return (each for found in self.listeners.values() for each in found if not each.refused)


def fleet(cluster: Cluster) -> Fleet:
    """The Gateways that name a class of this controller, with their listeners."""
    objects, install = cluster.objects, cluster.install
    classes = {name: each for (_, name), each in objects.classes.items() if _is_ours(each, install)}
    gateways = {key: each for key, each in objects.gateways.items() if _class(each) in classes}
    faults = {key: fault for key, each in gateways.items() if (fault := _fault(each, classes[_class(each)]))}
    targets = _targets(gateways.values(), install)
    return Fleet(
        classes,
        gateways,
        faults,
        {key: _listeners(each, faults.get(key), targets, cluster) for key, each in gateways.items()},
    )


def _is_ours(class_: Read[GatewayClass], install: Install) -> bool:
    return class_.value is not None and class_.value.spec.controller_name == install.controller_name


def class_fault(class_: GatewayClass) -> Problem | None:
    """Why a class of ours is not accepted."""
    if class_.spec.parameters_ref is None:
        return None
    return Problem("InvalidParameters", "spec.parametersRef is not supported: there are no parameters; remove it")


def _class(gateway: Read[Gateway]) -> str:
    return class_of(gateway.documents[0])


def _fault(gateway: Read[Gateway], class_: Read[GatewayClass]) -> Problem | None:
    if gateway.value is None:
        return Problem(gateway.reason, gateway.error)
    if class_.value and (fault := class_fault(class_.value)):
        return Problem("InvalidParameters", f"{class_.identity} is not accepted: {fault.message}")
    unsupported = gateway.value.unsupported()
    return Problem(*unsupported) if unsupported else None


def _targets(gateways: Iterable[Read[Gateway]], install: Install) -> dict[tuple[Key, int], int]:
    """Where data planes listen for each port of each Gateway: at the first port from its hash on that no older Gateway
    has. So others seldom change it as they come and go."""
    room = min(PORTS, 65536 - install.first_port)
    taken: dict[int, tuple[Key, int]] = {}
    for gateway in sorted(gateways, key=lambda each: each.age):
        key = gateway.identity.namespace, gateway.identity.name
        ports = {each.port for each in gateway.value.spec.listeners} if gateway.value else set()
        for port in sorted(ports):
            if len(taken) == room:
                break  # or each further one would be compared with all
            digest = hashlib.sha256(f"{gateway.identity.path}:{port}".encode()).digest()
            first = int.from_bytes(digest[:8])
            for step in range(room):
                if (target := install.first_port + (first + step) % room) not in taken:
                    taken[target] = key, port
                    break
    return {place: target for target, place in taken.items()}


def _listeners(
    gateway: Read[Gateway], fault: Problem | None, targets: Mapping[tuple[Key, int], int], cluster: Cluster
) -> tuple[Listener, ...]:
    written = gateway.value.spec.listeners if gateway.value else ()
    conflicts = _conflicts(written)
    first = {each.name: index for index, each in reversed(list(enumerate(written)))}
    found: list[Listener] = []
    for index, each in enumerate(written):
        allowed = each.allowed_routes or AllowedRoutes()
        refused = fault and Problem("Invalid", f"The Gateway is not accepted: {fault.message}")
        refused = refused or _refused(each, f"spec.listeners[{index}]")
        if first[each.name] != index:
            refused = Problem("Invalid", f"spec.listeners[{index}].name: another listener is called {each.name}, too")
        conflict = None if refused else conflicts.get(index)
        target = targets.get(((gateway.identity.namespace, gateway.identity.name), each.port), 0)
        if not (refused or conflict or target):
            refused = Problem("PortUnavailable", f"spec.listeners[{index}].port: all {PORTS} ports are in use")
        credentials, unresolved = _certificates(each, index, gateway.identity, cluster)
        found.append(
            Listener(
                gateway=gateway.identity,
                name=each.name,
                port=each.port,
                target=target,
                hostname=(each.hostname or "").lower(),
                tls=each.protocol == "HTTPS",
                takes_routes=each.protocol in _PROTOCOLS and _takes_routes(allowed),
                namespaces=allowed.namespaces or RouteNamespaces(),
                refused=refused or conflict,
                conflict=conflict is not None,
                unresolved=(
                    *_unknown_kinds(allowed, index),
                    *(Problem(problem.reason, str(problem)) for problem in unresolved),
                ),
                certificates=credentials,
            )
        )
    return tuple(found)


def _refused(listener: WrittenListener, path: str) -> Problem | None:
    """Why it cannot be served, whatever the others are."""
    if listener.protocol not in _PROTOCOLS:
        return Problem(
            "UnsupportedProtocol", f"{path}.protocol: {listener.protocol} is not served; write HTTP or HTTPS"
        )
    if listener.protocol == "HTTPS" and listener.tls:
        if listener.tls.mode != "Terminate":
            return Problem("UnsupportedValue", f"{path}.tls.mode: {listener.tls.mode} is not served; write Terminate")
        if listener.tls.frontend_validation is not None:
            message = f"{path}.tls.frontendValidation is not supported yet, and never skipped silently: remove it"
            return Problem("UnsupportedValue", message)
    return None


def _conflicts(listeners: Sequence[WrittenListener]) -> dict[int, Problem]:
    """Those that are not told apart, by index: none of them is served (Gateway API, Gateway.spec.listeners)."""
    ports: dict[int, dict[int, WrittenListener]] = defaultdict(dict)
    for index, each in enumerate(listeners):
        if each.protocol in _PROTOCOLS:
            ports[each.port][index] = each
    found: dict[int, Problem] = {}
    for port, sharing in ports.items():
        hosts: dict[str, list[int]] = defaultdict(list)
        for index, each in sharing.items():
            hosts[(each.hostname or "").lower()].append(index)
        if len({each.protocol for each in sharing.values()}) > 1:
            message = f"port {port} is HTTP in one listener and HTTPS in another; give each protocol a port of its own"
            found |= {index: Problem("ProtocolConflict", f"spec.listeners[{index}]: {message}") for index in sharing}
            continue
        for host, indices in hosts.items():
            names = " and ".join(sharing[index].name for index in indices)
            message = f"{names} have one port and one hostname ({host or 'any'}); change one of them"
            if len(indices) > 1:
                found |= {
                    index: Problem("HostnameConflict", f"spec.listeners[{index}]: {message}") for index in indices
                }
    return found


def _certificates(
    listener: WrittenListener, index: int, gateway: Identity, cluster: Cluster
) -> tuple[tuple[Credential, ...], tuple[Unresolved, ...]]:
    if listener.protocol != "HTTPS":
        return (), ()
    refs = (listener.tls or ListenerTls()).certificate_refs or ()
    return certificates(refs, gateway, f"spec.listeners[{index}].tls.certificateRefs", cluster)


def _takes_routes(allowed: AllowedRoutes) -> bool:
    return not allowed.kinds or any((each.group, each.kind) == HTTP_ROUTE for each in allowed.kinds)


def _unknown_kinds(allowed: AllowedRoutes, index: int) -> Iterable[Problem]:
    unknown = [each.kind for each in allowed.kinds or () if (each.group, each.kind) != HTTP_ROUTE]
    if unknown:
        path = f"spec.listeners[{index}].allowedRoutes.kinds"
        yield Problem("InvalidRouteKinds", f"{path}: {', '.join(unknown)} are not served; write HTTPRoute alone")
