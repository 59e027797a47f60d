"""What it takes to call a provider, or who judges for a guardrail: an address, endpoints, a credential."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from controller.compile import services
from controller.compile.cluster import Cluster
from controller.compile.objects import Objects
from controller.compile.secrets import Credential, Unresolved, missing_secret, provider_credential
from dataplane import table
from dataplane.upstreams.addresses import AddressPolicy


def endpoints_of(service: services.Reference, cluster: Cluster | None) -> table.EndpointSet:
    """What is ready behind a Service. Raises Unresolved."""
    if cluster is None:
        raise Unresolved("NoCluster", f"{service.field}: {services.NOT_HERE}; write url")
    return services.endpoints(service, cluster)


def check_url(url: str, field: str, networks: tuple[str, ...] | None) -> None:
    """Raises Unresolved for an address that cannot, or may not, be called. `networks` that it may be in, beside the
    public ones; None: in any. Names are looked up when they are dialled, and what they lead to is checked then."""
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        host = None
    if not host:
        raise Unresolved("InvalidAddress", f"{field}: is no address that can be called; check host and port")
    if networks is not None and (kind := _refused(host, networks)):
        raise Unresolved(
            "UpstreamNotAllowed",
            f"{field}: {host} is {kind}, which the install does not let this namespace call; the chart's value "
            "upstreams.allow does",
        )


def _refused(host: str, networks: tuple[str, ...]) -> str:
    """What this is that may not be dialled; empty if it may, or is a name: that is looked up when it is dialled."""
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    return AddressPolicy().also(networks).refusal(host)


def look_up(name: str, key: str, field: str, namespace: str, objects: Objects, cluster: Cluster | None) -> Credential:
    """The credential in an entry of a Secret. Raises Unresolved."""
    secret = objects.secrets.get((namespace, name))
    try:
        if secret is None and cluster and (denied := cluster.denied(namespace)):
            raise Unresolved("SecretAccessDenied", denied)
        if secret is None:
            raise Unresolved("SecretNotFound", missing_secret(namespace, name, key))
        if secret.value is None:
            raise Unresolved("InvalidCredential", f"{secret.identity} cannot be used: {secret.error}")
        return provider_credential(secret.value, key)
    except Unresolved as problem:
        raise Unresolved(problem.reason, f"{field}: {problem}") from None
