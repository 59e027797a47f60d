"""The values of both charts: names, defaults, bounds, descriptions. Everything about values is made from here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from charts.parts import (
    Direct,
    Duration,
    Hostname,
    Image,
    Images,
    Name,
    Namespace,
    Network,
    Opaque,
    Part,
    Password,
    PathPrefix,
    Percentage,
    Pods,
    SecretEntry,
    Selector,
)

REPOSITORY = "Its name, below `image.registry`."
GLOBAL = "What a parent chart hands to all its parts; not read here."


class ControllerImage(Image):
    """Which image runs."""

    repository: str = Field("tidegate-controller", min_length=1, description=REPOSITORY)


class Controller(Pods):
    """The controller: watches the cluster, hands tables to gateways, writes statuses."""

    image: ControllerImage = Field(ControllerImage(), description="Which image runs.")
    replicas: int = Field(2, ge=1, le=5, description="All of them serve tables; one at a time writes.")
    resources: Opaque = Field(
        {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        description="Requests and limits of the container.",
    )


class Service(Part):
    """The Service through which clients reach the gateways. Gateways of the Gateway API have Services of their own."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field("ClusterIP", description="Type of the Service.")
    annotations: dict[str, str] = Field({}, description="Annotations of the Service, for load balancers.")
    external_traffic_policy: Literal["Cluster", "Local"] = Field(
        "Cluster", description="Local keeps the client's address, for NodePort and LoadBalancer."
    )
    load_balancer_source_ranges: tuple[Network, ...] = Field(
        (), description="Networks (CIDR) whose clients a LoadBalancer lets in. Empty: all."
    )


class Tls(Part):
    """TLS of that Service's port. Listeners of Gateways name their certificates themselves."""

    existing_secret: Name = Field(
        "",
        description="A Secret of type kubernetes.io/tls in the release's namespace: the Service's port is 443 then, "
        "and only HTTPS. Empty: port 80, plain HTTP. Pods read it when they start.",
    )


class Drain(Part):
    """How a pod that was told to stop lets its sessions end. The pod's grace period is made from these."""

    lame_duck: Duration = Field("10s", description="Not ready, still accepting, until load balancers have noticed.")
    patience: Duration = Field("1h", description="Then sessions may go on for so long; nothing new is taken.")
    closing: Duration = Field("1m", description="The last part of that, in which sessions end between turns.")
    linger: Duration = Field("30s", description="Then /metrics waits for so long to be scraped twice more.")


class UsageSink(Part):
    """Where usage records are sent, beside the log."""

    url: str = Field("", pattern="^(https?://.+)?$", description="They are sent by POST. Empty: to nobody.")
    token: SecretEntry = Field(SecretEntry(), description="The bearer token for it.")


class State(Part):
    """The store in which all gateways count limits of scope Fleet together: Valkey or Redis."""

    url: str = Field(
        "",
        pattern="^(rediss?://[^@]+)?$",
        description="`redis://HOST:PORT`, or rediss:// for TLS; without a password. Empty: no store, and limits of "
        "scope Fleet are not accepted.",
    )
    password: Password = Field(Password(), description="The password of the store.")


class Autoscaling(Part):
    """A HorizontalPodAutoscaler, which then decides about the replicas."""

    enabled: bool = Field(default=False, description="Make one.")
    min_replicas: int = Field(2, ge=1, description="Never fewer pods.")
    max_replicas: int = Field(10, ge=1, description="Never more pods.")
    target_cpu: Percentage | Literal[0] = Field(
        70, description="Percent of the CPU that a pod requests. A pod uses one core at most. 0: not by CPU."
    )
    target_sessions: int = Field(
        0,
        ge=0,
        description="Realtime sessions of a pod: the metric tidegate_realtime_sessions_active, which an adapter must "
        "serve as a Pods metric (custom.metrics.k8s.io). 0: not by sessions.",
    )
    scale_down_stabilization: int = Field(
        600, ge=0, le=3600, description="Seconds that fewer pods must have been enough before one is taken away."
    )


class DataPlaneImage(Image):
    """Which image runs."""

    repository: str = Field("tidegate-dataplane", min_length=1, description=REPOSITORY)


class DataPlane(Pods):
    """The data plane: gateways, which carry the traffic."""

    image: DataPlaneImage = Field(DataPlaneImage(), description="Which image runs.")
    replicas: int = Field(2, ge=1, description="Pods; each uses one core at most. Not read with autoscaling.")
    resources: Opaque = Field(
        {"requests": {"cpu": "500m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        description="Requests and limits of the container. New requests are refused before the memory runs out.",
    )
    max_sessions: int = Field(
        0,
        ge=0,
        description="Realtime sessions, and WebSockets of other paths, at a time in a pod. 0: any number.",
    )
    service: Service = Field(Service(), description="The Service through which clients reach the gateways.")
    tls: Tls = Field(Tls(), description="TLS of that Service's port.")
    trust_proxy: tuple[Network, ...] = Field(
        (), description="Networks (CIDR) of load balancers whose X-Forwarded-For is believed."
    )
    proxy_protocol: bool = Field(
        default=False, description="Connections from these networks begin with a PROXY header."
    )
    drain: Drain = Field(Drain(), description="How a pod that was told to stop lets its sessions end.")
    usage_sink: UsageSink = Field(UsageSink(), description="Where usage records are sent, beside the log.")
    state: State = Field(State(), description="The store in which all gateways count limits of scope Fleet together.")
    admin_token: SecretEntry = Field(
        SecretEntry(),
        description="With it /sessions, /table and /limits of the admin port answer others than the pod itself.",
    )
    semconv: Literal["both", "latest", "legacy"] = Field(
        "both", description="Which generation of the GenAI metric names: both, latest or legacy."
    )
    otel: dict[str, str] = Field(
        {},
        description="The standard variables of OpenTelemetry, such as `OTEL_EXPORTER_OTLP_ENDPOINT: "
        "http://collector.monitoring:4318`. What is secret belongs into extraEnv.",
    )
    autoscaling: Autoscaling = Field(Autoscaling(), description="A HorizontalPodAutoscaler.")


class Claim(Part):
    """Who may claim which hosts and paths with `expose`."""

    namespaces: Selector = Field(description="Whose Backends: namespaces by their labels. `{}` is every namespace.")
    hostnames: tuple[Hostname, ...] = Field(
        (),
        description="Hosts: exact, `*.example.com` for any below it, or `*` for all, and for `expose` without hosts. "
        "Empty: only that.",
    )
    path_prefixes: tuple[PathPrefix, ...] = Field(
        (), description="Paths, and what is below them. Empty: all of those hosts."
    )


class Expose(Part):
    """Hosts and paths that Backends may claim with `expose`. Their own /NAMESPACE/NAME/ is always theirs."""

    allow: tuple[Claim, ...] = Field(
        (),
        description="Who may claim what, in addition. Each entry adds.",
        examples=[[{"namespaces": {"matchLabels": {"team": "voice"}}, "hostnames": ["*.voice.example.com"]}]],
    )


class Reach(Part):
    """Whose providers may be in which private networks."""

    namespaces: Selector = Field(description="Whose Backends: namespaces by their labels. `{}` is every namespace.")
    networks: tuple[Network, ...] = Field(min_length=1, description="Networks (CIDR) that their providers may be in.")


class EgressProxy(Part):
    """An HTTP proxy that providers are called through (CONNECT). Services of the cluster are called directly."""

    url: str = Field(
        "",
        pattern="^(http://([^:@/]+@)?[^@/]+:[0-9]+/?)?$",
        description="`http://HOST:PORT`, with USER@ before HOST if it wants one; without a password. Empty: no proxy.",
    )
    password: Password = Field(Password(), description="The password of that user.")


class Upstreams(Part):
    """How providers are reached: private networks that they may be in, and the proxy that leads out of the cluster."""

    allow: tuple[Reach, ...] = Field(
        (),
        description="Whose providers may be where. Each entry adds.",
        examples=[[{"namespaces": {}, "networks": ["10.20.0.0/16"]}]],
    )
    proxy: EgressProxy = Field(
        EgressProxy(),
        description="An HTTP proxy that providers are called through (CONNECT). Services of the cluster are called "
        "directly.",
    )
    no_proxy: tuple[Direct, ...] = Field(
        (),
        description="What is called directly all the same: names, which mean all below them too, and networks (CIDR) "
        "of providers whose url has an address.",
        examples=[["llm.internal", "10.20.0.0/16"]],
    )


class Secrets(Part):
    """Where the controller may read Secrets. Nowhere else can it."""

    namespaces: tuple[Namespace, ...] = Field(
        (),
        description="Namespaces, which must exist, that get a RoleBinding to the ClusterRole for it. Others opt in "
        "with the command that their Backends' conditions say.",
        json_schema_extra={"uniqueItems": True},
    )


class Gateways(Part):
    """The Services of Gateways (Gateway API), which the controller makes in the release's namespace."""

    service_type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(
        "LoadBalancer", description="Type of the Services."
    )
    service_annotations: dict[str, str] = Field({}, description="Annotations of the Services, for load balancers.")


class Monitoring(Part):
    """Scraping by the Prometheus operator, whose CRDs must be there."""

    enabled: bool = Field(default=False, description="Make a PodMonitor for each component.")
    interval: Duration = Field("15s", description="How often pods are scraped.")
    labels: dict[str, str] = Field({}, description="Further labels, by which your Prometheus finds PodMonitors.")


class NetworkPolicies(Part):
    """NetworkPolicies of both components. Entries of from and to are NetworkPolicyPeers."""

    enabled: bool = Field(default=False, description="Make them.")
    clients: tuple[Opaque, ...] = Field((), description="Who may reach the gateways' ports. Empty: everybody.")
    scrapers: tuple[Opaque, ...] = Field((), description="Who may reach the admin ports. Empty: everybody.")
    extra_egress: tuple[Opaque, ...] = Field(
        (),
        description="Further rules for what leaves the gateways. They may reach the controller, DNS, port 443 of any "
        "address, and the ports of upstreams.proxy, the store, the usage sink and the OTLP endpoint: providers "
        "on other ports, Services of the cluster among them, need a rule.",
    )
    api_server_ports: tuple[int, ...] = Field(
        (443, 6443), min_length=1, description="Ports of the API server, for what leaves the controller."
    )


class Values(Part):
    """Values of the chart tidegate."""

    image: Images = Field(Images(), description="What both images have in common.")
    controller: Controller = Field(
        Controller(), description="The controller: watches the cluster, hands tables to gateways, writes statuses."
    )
    dataplane: DataPlane = Field(DataPlane(), description="The data plane: gateways, which carry the traffic.")
    expose: Expose = Field(
        Expose(),
        description="Hosts and paths that Backends may claim with `expose`. Their own /NAMESPACE/NAME/ is theirs.",
    )
    upstreams: Upstreams = Field(
        Upstreams(),
        description="How providers are reached: private networks that they may be in, and the proxy that leads out of "
        "the cluster.",
    )
    secrets: Secrets = Field(Secrets(), description="Where the controller may read Secrets. Nowhere else can it.")
    gateways: Gateways = Field(Gateways(), description="The Services of Gateways (Gateway API).")
    monitoring: Monitoring = Field(Monitoring(), description="Scraping by the Prometheus operator.")
    network_policy: NetworkPolicies = Field(NetworkPolicies(), description="NetworkPolicies of both components.")
    common_labels: dict[str, str] = Field({}, description="Further labels of all objects.")
    global_: Opaque = Field({}, alias="global", description=GLOBAL)


class CrdValues(Part):
    """Values of the chart tidegate-crds."""

    keep: bool = Field(
        default=True,
        description="Leave the CRDs, and with them all Backends and Policies, in the cluster when the chart is "
        "uninstalled.",
    )
    common_labels: dict[str, str] = Field({}, description="Further labels of the CRDs.")
    global_: Opaque = Field({}, alias="global", description=GLOBAL)
