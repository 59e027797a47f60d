"""Where Backends may be served by `expose`, as an install allows it by namespace (chart value `expose.allow`)."""

from __future__ import annotations

from collections.abc import Sequence

from controller.compile.cluster import Cluster
from controller.compile.core_objects import OWN_NAME
from controller.compile.install import ExposeRule


def forbidden(cluster: Cluster, namespace: str, own: str, hostnames: Sequence[str], prefix: str) -> list[str]:
    """Those of the hosts (one that is empty is any host) at which a Backend of `namespace` is not to be served under
    `prefix`. Its `own` prefix on any host needs nobody's leave."""
    if not any(hostnames) and _is_below(prefix, own):
        return []
    labels = cluster.objects.labels_of(namespace)
    rules = [rule for rule in cluster.install.expose if rule.namespaces.matches(labels)]
    return [host for host in hostnames if not any(_allows(rule, host, prefix) for rule in rules)]


def refusal(namespace: str, own: str, hosts: Sequence[str], prefix: str) -> str:
    """What is said where hosts are forbidden, with what to write to allow them."""
    where = ", ".join(f"{host or 'any host, '}{prefix or '/'}" for host in hosts)
    named = [host for host in hosts if host]
    what = f"hostnames: [{', '.join(_quoted(host) for host in named)}]" if named else f"pathPrefixes: [{prefix or '/'}]"
    return (
        f"spec.expose: this install does not let Backends of namespace {namespace} be served at {where}. Write "
        f"`expose: {{}}`, which is {own}/ and needs nobody's leave; or have whoever runs the install add to the chart "
        f"value expose.allow: {{namespaces: {{matchLabels: {{{OWN_NAME}: {namespace}}}}}, {what}}}"
    )


def _allows(rule: ExposeRule, host: str, prefix: str) -> bool:
    if not rule.hostnames and not rule.path_prefixes:
        return False
    hosts = rule.hostnames or ("",)
    return any(_covers(each, host) for each in hosts) and (
        not rule.path_prefixes or any(_is_below(prefix, each.rstrip("/")) for each in rule.path_prefixes)
    )


def _covers(pattern: str, host: str) -> bool:
    return pattern in ("*", host) or (pattern.startswith("*.") and host.endswith(pattern[1:]))


def _is_below(prefix: str, of: str) -> bool:
    return f"{prefix}/".startswith(f"{of}/")


def _quoted(host: str) -> str:
    return f'"{host}"' if host.startswith("*") else host
