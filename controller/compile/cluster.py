"""What there is in a cluster beside the objects that people write for Tidegate: the install, and what it lets each
namespace do; the endpoints of Services."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from controller.compile.core_objects import EndpointSlice
from controller.compile.install import Install
from controller.compile.objects import Objects
from dataplane import table


@dataclass(frozen=True, slots=True)
class Cluster:
    """Look-ups that are made once for all objects."""

    install: Install
    objects: Objects
    slices: Mapping[tuple[str, str], Sequence[EndpointSlice]]
    """By namespace and name of their Service."""
    endpoints: dict[str, table.EndpointSet] = field(default_factory=dict)
    """Those that were looked up, by id."""

    @classmethod
    def of(cls, objects: Objects, install: Install) -> Cluster:
        slices: dict[tuple[str, str], list[EndpointSlice]] = defaultdict(list)
        for (namespace, _), each in objects.slices.items():
            if each.value and each.value.service:
                slices[namespace, each.value.service].append(each.value)
        return cls(install, objects, slices)

    def denied(self, namespace: str) -> str:
        """Why Secrets of a namespace are not known, with the command that mends it; nothing where they are."""
        if namespace not in self.install.denied:
            return ""
        name, own = self.install.name, self.install.namespace
        return (
            f"namespace {namespace} does not let Tidegate read its Secrets; whoever may write RoleBindings there runs: "
            f"kubectl create rolebinding tidegate-secrets --clusterrole={name}-secrets "
            f"--serviceaccount={own}:{name}-controller -n {namespace}"
        )

    def networks(self, namespace: str) -> tuple[str, ...]:
        """Networks that upstreams of this namespace's Backends may be in, sorted (`upstreams.allow`)."""
        labels = self.objects.labels_of(namespace) if self.install.upstreams else {}
        rules = [rule for rule in self.install.upstreams if rule.namespaces.matches(labels)]
        return tuple(sorted({network for rule in rules for network in rule.networks}))
