"""References from one namespace to another: they need a ReferenceGrant where they lead to (GEP-709)."""

from __future__ import annotations

from typing import Final

from controller.compile.gateway_api import Kind
from controller.compile.objects import Objects

HTTP_ROUTE: Final[Kind] = ("gateway.networking.k8s.io", "HTTPRoute")
BACKEND: Final[Kind] = ("tidegate.dev", "Backend")
POLICY: Final[Kind] = ("tidegate.dev", "Policy")
GATEWAY: Final[Kind] = ("gateway.networking.k8s.io", "Gateway")
SERVICE: Final[Kind] = ("", "Service")
SECRET: Final[Kind] = ("", "Secret")


def permitted(objects: Objects, source: Kind, of: str, target: Kind, namespace: str, name: str) -> bool:
    """Whether objects of the kind `source` in the namespace `of` may refer to this `target`."""
    if of == namespace:
        return True
    return any(grant.permits(source, of, target, name) for grant in objects.granting(namespace, of))
