"""Where Gateways are reached: at the addresses of their Services. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address

from controller.compile import Condition
from controller.compile.gateway_services import GATEWAY
from controller.kinds import SERVICE
from controller.mirror import Document, Mirror, metadata, text

LONGEST = 1024
"""Characters of a message."""
NO_ADDRESS = "The Gateway's Service has no address yet; see kubectl get services."


def unreachable(found: Sequence[Document], refusal: str) -> Condition | None:
    """What keeps a Gateway that is served from being programmed; None: nothing. `found`: its addresses; `refusal`: why
    its Service is not as it should be."""
    if not refusal and found:
        return None
    message = f"The Gateway's Service cannot be made, or be changed: {refusal}" if refusal else NO_ADDRESS
    return Condition("Programmed", "False", "AddressNotAssigned", message[:LONGEST])


def addresses(mirror: Mirror, namespace: str, services: Sequence[Document]) -> dict[str, list[Document]]:
    """By `namespace/name` of the Gateway, those of its Service in this namespace; `services` are those that there
    should be. Of a load balancer, or else of the cluster; of a Service that is not there yet, none."""
    found: dict[str, list[Document]] = {}
    for service in services:
        wanted = metadata(service)
        gateway = text(_mapping(wanted.get("annotations")).get(GATEWAY))
        entry = mirror.get(SERVICE.name, namespace, text(wanted.get("name")))
        found[gateway] = _of(entry.body) if entry else []
    return found


def _of(service: Document) -> list[Document]:
    balancer = _mapping(_mapping(service.get("status")).get("loadBalancer")).get("ingress")
    shown = [
        text(each.get("ip")) or text(each.get("hostname"))
        for each in (balancer if isinstance(balancer, list) else ())
        if isinstance(each, Mapping)
    ]
    inside = text(_mapping(service.get("spec")).get("clusterIP"))
    values = list(filter(None, shown)) or [each for each in [inside] if each not in ("", "None")]
    return [{"type": _type(value), "value": value} for value in values]


def _type(value: str) -> str:
    try:
        ip_address(value)
    except ValueError:
        return "Hostname"
    return "IPAddress"


def _mapping(value: object) -> Document:
    return value if isinstance(value, Mapping) else {}
