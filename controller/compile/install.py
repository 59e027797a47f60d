"""What the compiler must know of the install that it compiles for, beside the cluster's objects. Pure.

Standalone there is none: files need nobody's leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr

from controller.compile.selectors import LabelSelector


@dataclass(frozen=True, slots=True)
class ExposeRule:
    """Backends of these namespaces may be served under these hosts and paths (chart value `expose.allow`)."""

    namespaces: LabelSelector
    hostnames: tuple[str, ...] = ()
    """Exact, or `*.example.com` for every host below it; `*` is all of them, and `expose` without hostnames. Empty:
    only `expose` without hostnames."""
    path_prefixes: tuple[str, ...] = ()
    """Each with all paths below it. Empty: any path on these hosts; a rule in which both are empty allows nothing."""


@dataclass(frozen=True, slots=True)
class UpstreamRule:
    """Upstreams of these namespaces' Backends may be in these networks (chart value `upstreams.allow`)."""

    namespaces: LabelSelector
    networks: tuple[str, ...] = ()
    """CIDR, such as 10.0.0.0/8."""


@dataclass(frozen=True, slots=True)
class Install:
    """One release of the chart."""

    name: str = "tidegate"
    """The full name, which begins the names of all of its objects."""
    namespace: str = "tidegate"
    controller_name: str = "tidegate.dev/controller"
    """As GatewayClasses say whose they are, and statuses who wrote them."""
    class_name: str = "tidegate"
    """Of the GatewayClass that the chart makes."""
    expose: tuple[ExposeRule, ...] = ()
    upstreams: tuple[UpstreamRule, ...] = ()
    has_store: bool = False
    """Do its gateways have a store for what they count together?"""
    denied: frozenset[str] = frozenset()
    """Namespaces whose Secrets it was told that it may not read."""
    hint_keys: tuple[SecretStr, ...] = ()
    """Its gateways sign what providers keep with the first, and read what any has signed (`dataplane.affinity`)."""
    instance: str = "tidegate"
    """The release, as the labels of its objects say."""
    service_type: str = "LoadBalancer"
    """Of the Services that are made for Gateways."""
    service_annotations: Mapping[str, str] = field(default_factory=dict)
    """Of these, too."""
    most: int = 32 * 1024 * 1024
    """Bytes of the table that the routes of one namespace may take, with all Policies that hold on them."""
    first_port: int = 10000
    """Of the ports on which data planes listen for Gateways."""
