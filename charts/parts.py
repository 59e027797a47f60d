"""The kinds of values, and what the pods of both components share. Field names are camelCase outside."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"

Name = Annotated[str, StringConstraints(max_length=253, pattern=rf"^({LABEL}(\.{LABEL})*)?$")]
"""Of a Kubernetes object; empty: none."""
Namespace = Annotated[str, StringConstraints(max_length=63, pattern=f"^{LABEL}$")]
Duration = Annotated[str, StringConstraints(max_length=28, pattern="^(0|([0-9]{1,5}(h|m|s|ms)){1,4})$")]
"""As on the command line: `10s`, `1m30s`, `0`."""
_BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"{_BYTE}(\.{_BYTE}){{3}}/(3[0-2]|[12]?[0-9])"
_IPV6 = "[0-9a-fA-F]{0,4}(:[0-9a-fA-F]{0,4}){2,7}/(12[0-8]|1[01][0-9]|[1-9]?[0-9])"
Network = Annotated[str, StringConstraints(pattern=f"^({_IPV4}|{_IPV6})$")]
"""CIDR."""
Hostname = Annotated[str, StringConstraints(max_length=253, pattern=rf"^(\*|(\*\.)?{LABEL}(\.{LABEL})*)$")]
Direct = Annotated[str, StringConstraints(max_length=253, pattern=r"^[0-9A-Za-z._:/*-]+$")]
"""A name, or a network, that no proxy is needed for."""
PathPrefix = Annotated[str, StringConstraints(max_length=256, pattern="^/[!-)+-~]*$")]
Percentage = Annotated[int, Field(ge=1, le=1000)]
Opaque = dict[str, object]
"""Handed to Kubernetes as it is, which checks it."""


class Part(BaseModel):
    """A group of values. Unknown names are refused."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid", frozen=True)


class SecretEntry(Part):
    """An entry of a Secret in the release's namespace that somebody else made."""

    existing_secret: Name = Field("", description="Name of the Secret. Empty: none.")
    key: str = Field("token", min_length=1, description="Name of the entry.")


class Password(SecretEntry):
    """An entry of a Secret in the release's namespace that somebody else made."""

    key: str = Field("password", min_length=1, description="Name of the entry.")


class ExpressedLabel(Part):
    """A requirement on one label, as in Kubernetes."""

    key: str = Field(min_length=1, description="Name of the label.")
    operator: str = Field(pattern="^(In|NotIn|Exists|DoesNotExist)$", description="How its value is compared.")
    values: tuple[str, ...] = Field((), description="With In and NotIn: the values.")


class Selector(Part):
    """Namespaces by their labels; all requirements must hold. `{}` is every namespace."""

    match_labels: dict[str, str] = Field({}, description="Labels with these values.")
    match_expressions: tuple[ExpressedLabel, ...] = Field((), description="Further requirements on labels.")


class Images(Part):
    """What both images have in common."""

    registry: str = Field(
        "",
        pattern="^[^/ ].*[^/ ]$|^$",
        description="Where both images are, such as `registry.example.com/team`. Empty: repositories are taken as they "
        "are.",
    )
    pull_policy: str = Field(
        "IfNotPresent", pattern="^(Always|IfNotPresent|Never)$", description="Always, IfNotPresent or Never."
    )
    pull_secrets: tuple[Namespace, ...] = Field((), description="Names of Secrets with credentials for the registry.")


class Image(Part):
    """Which image runs."""

    repository: str
    tag: str = Field("", description="Empty: the chart's appVersion.")
    digest: str = Field(
        "", pattern="^(sha256:[0-9a-f]{64})?$", description="`sha256:…`, which wins over the tag. Empty: the tag holds."
    )


class ServiceAccount(Part):
    """The identity of the pods in the cluster."""

    annotations: dict[str, str] = Field({}, description="Annotations of the ServiceAccount.")


class DisruptionBudget(Part):
    """How many pods may be evicted at a time."""

    enabled: bool = Field(default=True, description="Make a PodDisruptionBudget: one pod at a time.")


class Pods(Part):
    """What the pods of both components share."""

    image: Image
    replicas: int
    resources: Opaque
    pod_disruption_budget: DisruptionBudget = Field(
        DisruptionBudget(), description="What holds when nodes are emptied."
    )
    service_account: ServiceAccount = Field(ServiceAccount(), description="The identity of the pods in the cluster.")
    pod_annotations: dict[str, str] = Field({}, description="Further annotations of the pods.")
    pod_labels: dict[str, str] = Field({}, description="Further labels of the pods.")
    node_selector: dict[str, str] = Field({}, description="Labels that a node must have.")
    tolerations: tuple[Opaque, ...] = Field((), description="Taints of nodes that do not matter.")
    affinity: Opaque = Field({}, description="Empty: pods of a component avoid each other's nodes, where they can.")
    topology_spread_constraints: tuple[Opaque, ...] = Field(
        (),
        description="Empty: evenly over zones, where that is possible. An absent `labelSelector` is filled in.",
    )
    priority_class_name: Name = Field("", description="A PriorityClass. Empty: the cluster's default.")
    extra_env: tuple[Opaque, ...] = Field(
        (), description="Further environment variables, as in a container: `{name: …, value: …}` or `valueFrom`."
    )
    extra_volumes: tuple[Opaque, ...] = Field((), description="Further volumes of the pods.")
    extra_volume_mounts: tuple[Opaque, ...] = Field((), description="Where the container finds them.")
