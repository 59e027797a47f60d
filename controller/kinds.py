"""The kinds of objects that the controller reads and writes, and where an API server has them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

GATEWAY_API = "gateway.networking.k8s.io"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind in one version of its API."""

    name: str
    """As objects have it in `kind`."""
    group: str
    """Empty: the core API."""
    version: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", part: str = "") -> str:
        """Of all objects, of those of a namespace, of one, or of a part of one, such as `status`."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        within = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return "/".join(filter(None, [f"{root}{within}/{self.plural}", name, part]))

    def __str__(self) -> str:
        return self.name


BACKEND = Kind("Backend", "tidegate.dev", "v1alpha1", "backends")
POLICY = Kind("Policy", "tidegate.dev", "v1alpha1", "policies")
CLUSTER_ROLE = Kind("ClusterRole", "rbac.authorization.k8s.io", "v1", "clusterroles", namespaced=False)
GATEWAY_CLASS = Kind("GatewayClass", GATEWAY_API, "v1", "gatewayclasses", namespaced=False)
GATEWAY = Kind("Gateway", GATEWAY_API, "v1", "gateways")
HTTP_ROUTE = Kind("HTTPRoute", GATEWAY_API, "v1", "httproutes")
REFERENCE_GRANT = Kind("ReferenceGrant", GATEWAY_API, "v1beta1", "referencegrants")
"""In v1beta1, which every release of Gateway API serves that is in use; v1 came late."""
NAMESPACE = Kind("Namespace", "", "v1", "namespaces", namespaced=False)

SECRET = Kind("Secret", "", "v1", "secrets")
SERVICE = Kind("Service", "", "v1", "services")
ENDPOINT_SLICE = Kind("EndpointSlice", "discovery.k8s.io", "v1", "endpointslices")
POD = Kind("Pod", "", "v1", "pods")

CONFIG_MAP = Kind("ConfigMap", "", "v1", "configmaps")
LEASE = Kind("Lease", "coordination.k8s.io", "v1", "leases")
EVENT = Kind("Event", "events.k8s.io", "v1", "events")
TOKEN_REVIEW = Kind("TokenReview", "authentication.k8s.io", "v1", "tokenreviews", namespaced=False)

OWN = (BACKEND, POLICY)
"""Without which there is nothing to do: the chart tidegate-crds has them."""
WATCHED = (*OWN, GATEWAY_CLASS, GATEWAY, HTTP_ROUTE, REFERENCE_GRANT, NAMESPACE)
"""Read in the whole cluster. Those of Gateway API may be absent, and may come."""
FOLLOWED = (SECRET, SERVICE, ENDPOINT_SLICE, POD)
"""Read only in namespaces where something refers to one, or where the install has its own."""
BY_NAME = {kind.name: kind for kind in (*WATCHED, *FOLLOWED)}
