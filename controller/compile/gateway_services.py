"""The Service of each Gateway: it is how the Gateway's clients come to the fleet, and in the install's namespace.

These are whole objects but for the owner, which is the install's Lease: whoever writes them adds it, so that they go
when the install does. Its addresses are the Gateway's (status.addresses).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from controller.compile.gateways import GROUP, Gateway, Infrastructure
from controller.compile.install import Install
from controller.compile.listeners import Fleet
from controller.compile.objects import Identity, Read

GATEWAY = "tidegate.dev/gateway"
"""Annotation: `namespace/name` of the Gateway."""
DIGITS = 24
"""Hexadecimal: 96 bits."""
_VALUE = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def service_name(install: Install, gateway: Identity) -> str:
    """It has at most 63 characters, whatever the Gateway has. The digest is so long that nobody finds another name with
    that of a neighbour's Gateway, whose Service, and so whose clients, that would be given."""
    digest = hashlib.sha256(gateway.path.encode()).hexdigest()[:DIGITS]
    return f"{install.name[: 63 - 4 - DIGITS].rstrip('-.')}-gw-{digest}"


def gateway_services(fleet: Fleet, install: Install) -> tuple[Mapping[str, object], ...]:
    """By name. A Gateway without an accepted listener has none."""
    made = [
        _service(gateway, ports, install) for key, gateway in fleet.gateways.items() if (ports := _ports(fleet, key))
    ]
    return tuple(service for _, service in sorted(made, key=lambda each: each[0]))


def _ports(fleet: Fleet, key: tuple[str, str]) -> list[dict[str, object]]:
    served = {each.port: each for each in fleet.listeners[key] if not each.refused}
    return [
        {
            "name": f"{'https' if each.tls else 'http'}-{port}",
            "port": port,
            "protocol": "TCP",
            "targetPort": each.target,
        }
        for port, each in sorted(served.items())
    ]


def _service(gateway: Read[Gateway], ports: list[dict[str, object]], install: Install) -> tuple[str, dict[str, object]]:
    infrastructure = (gateway.value and gateway.value.spec.infrastructure) or Infrastructure()
    name = service_name(install, gateway.identity)
    gateway_name = gateway.identity.name
    labels = {
        **(infrastructure.labels or {}),
        **({f"{GROUP}/gateway-name": gateway_name} if _VALUE.fullmatch(gateway_name) else {}),
        **_of_install(install, "gateway"),
        "app.kubernetes.io/managed-by": "tidegate",
    }
    annotations = {
        **(infrastructure.annotations or {}),
        **install.service_annotations,  # nobody's Gateway lifts what the install says of load balancers
        GATEWAY: gateway.identity.path,
    }
    return name, {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": install.namespace, "labels": labels, "annotations": annotations},
        "spec": {"type": install.service_type, "selector": _of_install(install, "dataplane"), "ports": ports},
    }


def _of_install(install: Install, component: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "tidegate",
        "app.kubernetes.io/instance": install.instance,
        "app.kubernetes.io/component": component,
    }
