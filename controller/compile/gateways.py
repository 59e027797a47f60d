"""GatewayClasses and Gateways as they are written: what Tidegate reads of them (Gateway API v1.6, standard channel).

Like the other objects that exist in a cluster only, they were checked by its API server. What is not read is let go,
but for what somebody may rely on who wrote it: see `Gateway.unsupported`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from controller.compile.core_objects import Core, parse
from controller.compile.selectors import LabelSelector

GROUP = "gateway.networking.k8s.io"


class ClassSpec(Core):
    controller_name: str
    parameters_ref: object = None


class GatewayClass(Core):
    spec: ClassSpec


class SecretRef(Core):
    """What a listener shows its clients."""

    group: str = ""
    kind: str = "Secret"
    name: str
    namespace: str | None = None


class ListenerTls(Core):
    mode: str = "Terminate"
    certificate_refs: tuple[SecretRef, ...] | None = ()
    frontend_validation: object = None


class RouteKind(Core):
    group: str = GROUP
    kind: str


class RouteNamespaces(Core):
    source: Literal["All", "Same", "Selector", "None"] = Field(default="Same", alias="from")
    selector: LabelSelector | None = None


class AllowedRoutes(Core):
    namespaces: RouteNamespaces | None = None
    kinds: tuple[RouteKind, ...] | None = ()


class WrittenListener(Core):
    name: str
    hostname: str | None = None
    port: int = Field(ge=1, le=65535)
    protocol: str
    tls: ListenerTls | None = None
    allowed_routes: AllowedRoutes | None = None


class Infrastructure(Core):
    """What the objects that are made for a Gateway are to have."""

    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    parameters_ref: object = None


class Address(Core):
    value: str | None = None


class GatewaySpec(Core):
    listeners: tuple[WrittenListener, ...] = ()
    addresses: tuple[Address, ...] | None = ()
    infrastructure: Infrastructure | None = None
    tls: object = None


class Gateway(Core):
    spec: GatewaySpec

    def unsupported(self) -> tuple[str, str] | None:
        """Why it is not to be served at all, rather than without what was asked for: reason and message."""
        infrastructure = self.spec.infrastructure or Infrastructure()
        if infrastructure.parameters_ref is not None:
            return "InvalidParameters", _never_skipped("spec.infrastructure.parametersRef")
        if any(address.value for address in self.spec.addresses or ()):
            message = "spec.addresses: addresses cannot be asked for; remove them, and read status.addresses"
            return "UnsupportedAddress", message
        if self.spec.tls:
            return "Invalid", _never_skipped("spec.tls")
        return None


def read_class(document: Mapping[str, object]) -> GatewayClass:
    """Raises `Invalid`."""
    return parse(GatewayClass, document)


def read_gateway(document: Mapping[str, object]) -> Gateway:
    """Raises `Invalid`."""
    return parse(Gateway, document)


def class_of(document: Mapping[str, object]) -> str:
    """The name of the GatewayClass of a Gateway, as far as it can be read."""
    spec = document.get("spec")
    return str(spec.get("gatewayClassName")) if isinstance(spec, Mapping) else ""


def _never_skipped(field: str) -> str:
    return f"{field} is not supported yet, and never skipped silently: remove it"
