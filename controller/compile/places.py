"""What Policies can be attached to: which objects and which of their sections there are."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from controller.compile.install import Install
from controller.compile.listeners import Fleet, Key
from controller.compile.objects import Objects
from controller.compile.statuses import SECTIONS, Target


def target_of(kind: str, namespace: str, name: str, section: str) -> Target:
    """The target that a Policy of this namespace means."""
    return Target(kind, "" if kind == "GatewayClass" else namespace, name, section)


@dataclass(frozen=True, slots=True)
class Places:
    """`install`: None where there are files, and no Gateways."""

    objects: Objects
    gateways: Fleet
    install: Install | None

    def refusal(self, target: Target, namespace: str, path: str) -> str:
        """Why Policies of this namespace may not be attached there, whatever they say; or nothing. What the whole fleet
        does is the business of those who run it."""
        if target.kind != "GatewayClass" or self.install is None or namespace == self.install.namespace:
            return ""
        return (
            f"{path}.kind: a GatewayClass is the whole fleet, and only for Policies in the install's own namespace, "
            f"{self.install.namespace}; target your Gateway, HTTPRoute or Backend"
        )

    def not_found(self, target: Target, namespace: str, path: str) -> str:
        """Why there is no such target for Policies of this namespace, or nothing."""
        if self.install is None and target.kind in ("GatewayClass", "Gateway"):
            return f"{path}.kind: there are no Gateways where files are served; target an HTTPRoute or a Backend"
        known = self._known(target.kind)
        if (target.namespace, target.name) not in known:
            names = (name for space, name in known if space == target.namespace)
            exists = self.objects.instead.what_exists(namespace, target.name, names)
            return f"{path}.name: there is no {_plain(target)}; {exists}"
        sections = self._sections(target)
        if not target.section or sections is None or target.section in sections:
            return ""
        exists = self.objects.instead.what_exists(namespace, target.section, sections)
        return f'{path}.sectionName: {_plain(target)} has no {SECTIONS[target.kind]} "{target.section}"; {exists}'

    def _known(self, kind: str) -> Collection[Key]:
        """All objects of a kind."""
        match kind:
            case "GatewayClass":
                return {("", name) for name in (*self.gateways.classes, *self._own_class())}
            case "Gateway":
                return self.gateways.gateways.keys()
            case "HTTPRoute":
                return self.objects.routes.keys()
        return self.objects.backends.keys()

    def _own_class(self) -> Iterable[str]:
        """The install's, where the cluster does not know GatewayClasses: Backends are served all the same."""
        if self.install and ("", self.install.class_name) not in self.objects.classes:
            yield self.install.class_name

    def _sections(self, target: Target) -> list[str] | None:
        """Names of the target's sections; None where the target is broken and they are not known."""
        key = target.namespace, target.name
        match target.kind:
            case "Gateway":
                gateway = self.gateways.gateways[key].value
                return None if gateway is None else [listener.name for listener in gateway.spec.listeners]
            case "HTTPRoute":
                route = self.objects.routes[key].value
                return None if route is None else [rule.name for rule in route.rules if rule.named]
            case "Backend":
                backend = self.objects.backends[key].value
                return None if backend is None else [provider.name for provider in backend.spec.providers]
        return None


def _plain(target: Target) -> str:
    return f"{target.kind} {target.namespace}/{target.name}" if target.namespace else f"{target.kind} {target.name}"
