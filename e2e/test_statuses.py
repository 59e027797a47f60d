"""What a cluster says of objects: every reason of a condition that it can show, by documents that are wrong in one
thing, and True once that is mended; and how it is said: for this generation, since when, once, beside what others say.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import processes
import pytest
import yaml
from cluster.access import Cluster
from cluster.certificates import Authority
from controllers import Install, until
from processes import UPSTREAM_KEY, Process

from controller.compile.reasons import REASONS

Json = dict[str, object]
TIDEGATE = "tidegate.dev/v1alpha1"
GATEWAY_API = "gateway.networking.k8s.io/v1"
NOT_HERE = {
    "DuplicateName": "an API server has one object of a name",
    "NoCluster": "files alone have none",
    "OpenOnLoopback": "gateways of an install do not listen on loopback alone",
    "PortUnavailable": "ten thousand listeners",
    "Refused": "test_controller_faults.py has a gateway that refuses",
}
"""Reasons that are not shown here, and why."""


def read(text: str) -> list[Json]:
    """Documents in short: `Backend: {name: x, spec: …}`, one or more."""
    found: list[Json] = []
    for short in yaml.safe_load_all(text):
        for kind, rest in short.items():
            name, more = rest.pop("name"), dict(rest)
            version = {"Backend": TIDEGATE, "Policy": TIDEGATE, "Secret": "v1", "Service": "v1"}.get(kind, GATEWAY_API)
            version = f"{GATEWAY_API}beta1" if kind == "ReferenceGrant" else version
            found.append({"apiVersion": version, "kind": kind, "metadata": {"name": name}, **more})
    return found


@dataclass(frozen=True)
class Row:
    """`said` of a condition, such as "ResolvedRefs: False SecretNotFound", and, once `mended` is applied, `then`."""

    of: str
    """Kind and name; of a Gateway's listener its name as well: "Gateway/x/web"."""
    said: str
    bad: str
    mended: str = ""
    then: str = ""
    gone: str = ""
    """What is deleted to mend it: kind and name."""

    @property
    def reasons(self) -> set[str]:
        return {each.rpartition(" ")[2] for each in (self.said, self.then) if each}


KEY = "Secret: {name: key, stringData: {Authorization: sk-e2e-of-statuses-1f}}"
NONE = (
    "Policy: {name: open, spec: {targetRefs: [{group: tidegate.dev, kind: Backend, name: x}], "
    "authentication: {mode: None}}}"
)


def backend(provider: str = "openai: {}", more: str = "expose: {}", name: str = "x") -> str:
    return f"Backend: {{name: {name}, spec: {{providers: [{{name: p, {provider}}}], {more}}}}}"


def policy(blocks: str, target: str = "group: tidegate.dev, kind: Backend, name: x", name: str = "p") -> str:
    return f"Policy: {{name: {name}, spec: {{targetRefs: [{{{target}}}], {blocks}}}}}"


def docs(*texts: str) -> str:
    return "\n---\n".join(texts)


OURS = "openai: {}, auth: {secretRef: {name: key}}"
KEYS = "authentication: {keys: [{secretRef: {name: callers}}]}"
CALLERS = "Secret: {name: callers, stringData: {ci-bot: 4f0d3c2b1a09f8e7d6c5b4a3}}"

BACKENDS = [
    Row(
        "Backend/x",
        "Accepted: False Invalid",
        backend(more='expose: {pathPrefix: "/a/../b"}'),
        backend(),
        "Accepted: True Accepted",
    ),
    Row(
        "Backend/x",
        "ResolvedRefs: Unknown NotAccepted",
        backend(more='expose: {pathPrefix: "/a/../b"}'),
        backend(),
        "ResolvedRefs: True ResolvedRefs",
    ),
    Row(
        "Backend/x",
        "Programmed: False Invalid",
        backend(more='expose: {pathPrefix: "/a/../b"}'),
        backend(),
        "Programmed: True Programmed",
    ),
    Row(
        "Backend/x",
        "Accepted: False NotAllowed",
        backend(more="expose: {hostnames: [theirs.test]}"),
        backend(more="expose: {hostnames: [$NS.ours.test]}"),
        "Accepted: True Accepted",
    ),
    Row(
        "Backend/y",
        "Accepted: False HostnameConflict",
        docs(
            backend(more="expose: {hostnames: [$NS.ours.test]}"),
            backend(more="expose: {hostnames: [$NS.ours.test]}", name="y"),
        ),
        then="Accepted: True Accepted",
        gone="Backend/x",
    ),
    Row("Backend/x", "ResolvedRefs: False SecretNotFound", backend(OURS), KEY, "ResolvedRefs: True ResolvedRefs"),
    Row("Backend/x", "Ready: False NotReady", docs(backend(OURS), NONE), KEY, "Ready: True Ready"),
    Row(
        "Backend/x",
        "ResolvedRefs: False SecretKeyNotFound",
        docs(backend(OURS), "Secret: {name: key, stringData: {other: sk-e2e-of-statuses-1f}}"),
        KEY,
        "ResolvedRefs: True ResolvedRefs",
    ),
    Row(
        "Backend/x",
        "ResolvedRefs: False InvalidCredential",
        docs(backend(OURS), 'Secret: {name: key, stringData: {Authorization: "two\\nlines"}}'),
        KEY,
        "ResolvedRefs: True ResolvedRefs",
    ),
    Row(
        "Backend/x",
        "ResolvedRefs: False InvalidCertificate",
        docs(backend("openai: {}, tls: {caSecretRef: {name: ca}}"), "Secret: {name: ca, stringData: {ca.crt: none}}"),
        backend("openai: {}, tls: {serverName: api.openai.com}"),
        "ResolvedRefs: True ResolvedRefs",
    ),
    Row(
        "Backend/x",
        "ResolvedRefs: False InvalidAddress",
        backend('openai: {}, url: "http://[1:2:3]/v1"'),
        backend('openai: {}, url: "http://[::2]/v1"'),
        "ResolvedRefs: True ResolvedRefs",
    ),
    Row(
        "Backend/x",
        "ResolvedRefs: False UpstreamNotAllowed",
        backend('openai: {}, url: "http://169.254.169.254/v1"'),
        backend(),
        "ResolvedRefs: True ResolvedRefs",
    ),
    Row(
        "Backend/x",
        "ResolvedRefs: False ServiceNotFound",
        backend("custom: {service: {name: s, port: 80}}"),
        "Service: {name: s, spec: {ports: [{port: 80}]}}",
        "ResolvedRefs: True ResolvedRefs",
    ),
    Row(
        "Backend/x",
        "ResolvedRefs: False ServicePortNotFound",
        docs(backend("custom: {service: {name: s, port: 80}}"), "Service: {name: s, spec: {ports: [{port: 81}]}}"),
        "Service: {name: s, spec: {ports: [{port: 80}]}}",
        "ResolvedRefs: True ResolvedRefs",
    ),
    Row(
        "Backend/x",
        "ResolvedRefs: False UnsupportedService",
        docs(
            backend("custom: {service: {name: s, port: 80}}"),
            "Service: {name: s, spec: {type: ExternalName, externalName: a.test, ports: [{port: 80}]}}",
        ),
        "Service: {name: s, spec: {type: ClusterIP, externalName: null, ports: [{port: 80}]}}",
        "ResolvedRefs: True ResolvedRefs",
    ),
    Row(
        "Backend/x",
        "ResolvedRefs: False RefNotPermitted",
        docs(
            backend("custom: {service: {name: s, namespace: $OTHER, port: 80}}"),
            "Service: {name: s, spec: {ports: [{port: 80}]}}",
        ),
        backend("custom: {service: {name: s, port: 80}}"),
        "ResolvedRefs: True ResolvedRefs",
    ),
    Row(
        "Backend/x",
        "Authenticated: False NoPolicy",
        docs(backend(OURS), KEY),
        docs(CALLERS, policy(KEYS)),
        "Authenticated: True Authenticated",
    ),
    Row(
        "Backend/x",
        "Authenticated: True Anonymous",
        docs(backend(OURS), KEY, NONE),
        docs(CALLERS, policy(KEYS, name="open")),
        "Authenticated: True Authenticated",
    ),
    Row(
        "Backend/x",
        "Authenticated: True NothingInjected",
        backend(),
        docs(CALLERS, policy(KEYS)),
        "Authenticated: True Authenticated",
    ),
    Row(
        "Backend/x",
        "Authenticated: False PolicyNotAccepted",
        docs(
            backend(OURS),
            KEY,
            CALLERS,
            policy(KEYS + ", transformation: {request: {set: [{name: x-a, value: '${env.HOME}'}]}}"),
        ),
        policy(KEYS),
        "Authenticated: True Authenticated",
    ),
    Row(
        "Backend/x",
        "Ready: False NoEndpoints",
        docs(backend("custom: {service: {name: s, port: 80}}"), "Service: {name: s, spec: {ports: [{port: 80}]}}"),
        backend(),
        "Ready: True Ready",
    ),
    Row(
        "Backend/x",
        "Ready: False Closed",
        docs(
            backend(),
            policy("models: {allow: [a]}, transformation: {request: {set: [{name: x-a, value: '${env.A}'}]}}"),
        ),
        policy("models: {allow: [a]}"),
        "Ready: True Ready",
    ),
]

TO_ROUTE = "group: gateway.networking.k8s.io, kind: HTTPRoute, name: r"
POLICIES = [
    Row(
        "Policy/p",
        "Accepted: False TargetNotFound",
        policy("models: {allow: [a]}"),
        backend(),
        "Accepted: True Accepted",
    ),
    Row(
        "Policy/p",
        "Accepted: False Invalid",
        docs(backend(), policy("transformation: {request: {set: [{name: x-a, value: '${env.HOME}'}]}}")),
        policy("transformation: {request: {set: [{name: x-a, value: '${model}'}]}}"),
        "Accepted: True Accepted",
    ),
    Row(
        "Policy/p",
        "Accepted: False NotAllowed",
        docs(
            backend(),
            policy("models: {allow: [a]}", "group: gateway.networking.k8s.io, kind: GatewayClass, name: tidegate"),
        ),
        policy("models: {allow: [a]}"),
        "Accepted: True Accepted",
    ),
    Row(
        "Policy/second",
        "Accepted: False Conflicted",
        docs(
            backend(),
            policy("authentication: {mode: None}", name="first"),
            policy("authentication: {mode: None}", name="second"),
        ),
        then="Accepted: True Accepted",
        gone="Policy/first",
    ),
    Row(
        "Backend/x",
        "Authenticated: False NoKeys",
        docs(backend(OURS), KEY, policy(KEYS)),
        CALLERS,
        "Authenticated: True Authenticated",
    ),
    Row(
        "Policy/p",
        "Enforced: False SecretNotFound",
        docs(backend(OURS), KEY, policy(KEYS)),
        CALLERS,
        "Enforced: True Enforced",
    ),
    Row(
        "Policy/p",
        "Enforced: False InvalidKeys",
        docs(backend(), policy(KEYS), 'Secret: {name: callers, stringData: {ci-bot: "{}"}}'),
        CALLERS,
        "Enforced: True Enforced",
    ),
    Row(
        "Policy/p",
        "Enforced: True WeakKeys",
        docs(backend(), policy(KEYS), "Secret: {name: callers, stringData: {ci-bot: short}}"),
        CALLERS,
        "Enforced: True Enforced",
    ),
    Row(
        "Policy/p",
        "Enforced: False NoSessions",
        docs(backend(more="expose: {}, routes: {/v1/chat/completions: Completions}"), policy("session: {idle: 1m}")),
        backend(),
        "Enforced: True Enforced",
    ),
    Row(
        "Policy/p",
        "Enforced: False NoSuchCallers",
        docs(backend(), CALLERS, policy(KEYS, name="keys"), policy("subjects: [{key: nobody}], models: {allow: [a]}")),
        policy("subjects: [{key: ci-bot}], models: {allow: [a]}"),
        "Enforced: True Enforced",
    ),
    Row(
        "Policy/p",
        "Enforced: False PassthroughNotRead",
        docs(backend(more='expose: {}, routes: {"*": Passthrough}'), policy("models: {allow: [a]}")),
        backend(),
        "Enforced: True Enforced",
    ),
    Row(
        "Policy/p",
        "Enforced: False NotTranscribed",
        docs(backend(), policy("guardrails: [{name: a, pii: {}, action: Block}], models: {allow: [gpt-realtime-2]}")),
        policy("guardrails: [{name: a, pii: {}, action: Block}], models: {allow: [gpt-realtime-2, whisper-1]}"),
        "Enforced: True Enforced",
    ),
    Row(
        "Policy/p",
        "Enforced: False StoreMissing",
        docs(backend(), policy("limits: {scope: Fleet, requests: [{max: 9, per: Day}]}")),
        policy("limits: {requests: [{max: 9, per: Day}]}"),
        "Enforced: True Enforced",
    ),
    Row(
        "Policy/p",
        "Enforced: False LocationNeeded",
        docs(backend("openai: {}, auth: {passthrough: {}}"), CALLERS, policy(KEYS)),
        policy("authentication: {location: {header: x-gateway-key}, keys: [{secretRef: {name: callers}}]}"),
        "Enforced: True Enforced",
    ),
]

WEB = "name: web, port: 80, protocol: HTTP"


def gateway(*listeners: str, more: str = "", name: str = "g") -> str:
    listed = ", ".join(f"{{{each}}}" for each in listeners or (WEB,))
    return f"Gateway: {{name: {name}, spec: {{gatewayClassName: tidegate, listeners: [{listed}]{more}}}}}"


def route(
    rule: str = "backendRefs: [{group: tidegate.dev, kind: Backend, name: x}]", parent: str = "name: g", more: str = ""
) -> str:
    return f"HTTPRoute: {{name: r, spec: {{parentRefs: [{{{parent}}}], rules: [{{{rule}}}]{more}}}}}"


def to(ref: str) -> str:
    return f"backendRefs: [{{{ref}}}]"


CERT = "Secret: {name: cert, type: kubernetes.io/tls, data: {tls.crt: $CHAIN, tls.key: $KEY}}"
TLS = "name: web, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}"
ON_443 = TLS.replace("web", "two")
BOTH_ON_80 = docs(CERT, gateway(WEB, ON_443.replace("443", "80")))
GATEWAYS = [
    Row(
        "Gateway/g",
        "Accepted: False UnsupportedAddress",
        gateway(more=", addresses: [{value: 10.0.0.1}]"),
        gateway(more=", addresses: []"),
        "Accepted: True Accepted",
    ),
    Row(
        "Gateway/g",
        "Accepted: False InvalidParameters",
        gateway(more=", infrastructure: {parametersRef: {group: a.test, kind: B, name: c}}"),
        gateway(more=", infrastructure: null"),
        "Accepted: True Accepted",
    ),
    Row(
        "Gateway/g",
        "Accepted: False ListenersNotValid",
        gateway("name: web, port: 80, protocol: TCP"),
        gateway(),
        "Accepted: True Accepted",
    ),
    Row(
        "Gateway/g",
        "Accepted: True ListenersNotValid",
        gateway(WEB, "name: tcp, port: 81, protocol: TCP"),
        gateway(),
        "Accepted: True Accepted",
    ),
    Row(
        "Gateway/g",
        "Programmed: False Invalid",
        gateway("name: web, port: 80, protocol: TCP"),
        gateway(),
        "Programmed: True Programmed",
    ),
    Row(
        "Gateway/g/web",
        "Accepted: False UnsupportedProtocol",
        gateway("name: web, port: 80, protocol: TCP"),
        gateway(),
        "Accepted: True Accepted",
    ),
    Row(
        "Gateway/g/web",
        "ResolvedRefs: False InvalidRouteKinds",
        gateway("name: web, port: 80, protocol: HTTP, allowedRoutes: {kinds: [{kind: GRPCRoute}]}"),
        gateway(),
        "ResolvedRefs: True ResolvedRefs",
    ),
    Row(
        "Gateway/g/web",
        "ResolvedRefs: False InvalidCertificateRef",
        gateway(TLS),
        CERT,
        "ResolvedRefs: True ResolvedRefs",
    ),
    Row("Gateway/g/web", "Programmed: False Invalid", gateway(TLS), CERT, "Programmed: True Programmed"),
    Row("Gateway/g", "Accepted: True ListenersNotValid", gateway(TLS), CERT, "Accepted: True Accepted"),
    Row(
        "Gateway/g/web",
        "ResolvedRefs: False RefNotPermitted",
        docs(CERT, gateway(TLS.replace("name: cert", "name: cert, namespace: $OTHER"))),
        gateway(TLS),
        "ResolvedRefs: True ResolvedRefs",
    ),
    Row(
        "Gateway/g/two",
        "Conflicted: True ProtocolConflict",
        BOTH_ON_80,
        gateway(WEB, ON_443),
        "Conflicted: False NoConflicts",
    ),
    Row(
        "Gateway/g/two", "Accepted: False ProtocolConflict", BOTH_ON_80, gateway(WEB, ON_443), "Accepted: True Accepted"
    ),
]

ROUTES = [
    Row(
        "HTTPRoute/r",
        "ResolvedRefs: False BackendNotFound",
        docs(gateway(), route()),
        backend(),
        "ResolvedRefs: True ResolvedRefs",
    ),
    Row(
        "HTTPRoute/r",
        "ResolvedRefs: False BackendInvalid",
        docs(gateway(), route(), backend(more='expose: {pathPrefix: "/a/../b"}')),
        backend(),
        "ResolvedRefs: True ResolvedRefs",
    ),
    Row(
        "HTTPRoute/r",
        "ResolvedRefs: False InvalidKind",
        docs(gateway(), backend(), route(to("group: a.test, kind: B, name: x"))),
        route(),
        "ResolvedRefs: True ResolvedRefs",
    ),
    Row(
        "HTTPRoute/r",
        "ResolvedRefs: False RefNotPermitted",
        docs(gateway(), backend(), route(to("group: tidegate.dev, kind: Backend, name: x, namespace: $OTHER"))),
        route(),
        "ResolvedRefs: True ResolvedRefs",
    ),
    Row(
        "HTTPRoute/r",
        "Accepted: False UnsupportedValue",
        docs(
            gateway(),
            backend(),
            route(
                "filters: [{type: URLRewrite, urlRewrite: {hostname: a.test}}], "
                "backendRefs: [{group: tidegate.dev, kind: Backend, name: x}]"
            ),
        ),
        route("filters: [], backendRefs: [{group: tidegate.dev, kind: Backend, name: x}]"),
        "Accepted: True Accepted",
    ),
    Row(
        "HTTPRoute/r",
        "Accepted: False IncompatibleFilters",
        docs(
            gateway(),
            backend(),
            route(
                "filters: [{type: RequestRedirect, requestRedirect: {statusCode: 302}}, {type: ResponseHeaderModifier, "
                "responseHeaderModifier: {set: [{name: a, value: b}]}}]"
            ),
        ),
        route("filters: [{type: RequestRedirect, requestRedirect: {statusCode: 302}}]"),
        "Accepted: True Accepted",
    ),
    Row(
        "HTTPRoute/r",
        "Accepted: False Invalid",
        docs(
            gateway(),
            backend(),
            route(
                'matches: [{path: {type: RegularExpression, value: "("}}], '
                + to("group: tidegate.dev, kind: Backend, name: x")
            ),
        ),
        route(
            'matches: [{path: {type: PathPrefix, value: "/"}}], ' + to("group: tidegate.dev, kind: Backend, name: x")
        ),
        "Accepted: True Accepted",
    ),
    Row(
        "HTTPRoute/r",
        "Accepted: False NoMatchingParent",
        docs(gateway(), backend(), route(parent="name: g, sectionName: other")),
        route(parent="name: g, sectionName: web"),
        "Accepted: True Accepted",
    ),
    Row(
        "HTTPRoute/r",
        "Accepted: False NoMatchingListenerHostname",
        docs(
            gateway("name: web, port: 80, protocol: HTTP, hostname: a.test"),
            backend(),
            route(more=", hostnames: [b.test]"),
        ),
        route(more=", hostnames: [a.test]"),
        "Accepted: True Accepted",
    ),
    Row(
        "HTTPRoute/r",
        "Accepted: False NotAllowedByListeners",
        docs(
            gateway(
                "name: web, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: Selector, selector: "
                "{matchLabels: {no: one}}}}"
            ),
            backend(),
            route(),
        ),
        gateway(),
        "Accepted: True Accepted",
    ),
    Row(
        "HTTPRoute/r",
        "Accepted: False ListenerNotAccepted",
        docs(BOTH_ON_80, backend(), route()),
        gateway(WEB, ON_443),
        "Accepted: True Accepted",
    ),
]
ROWS = [*BACKENDS, *POLICIES, *GATEWAYS, *ROUTES]
ELSEWHERE = {"NoGateways", "Pending", "SecretAccessDenied", "AddressNotAssigned", "Healthy", "NoHealthyProvider"}
"""Reasons with tests of their own below."""


def test_every_reason_is_shown() -> None:
    shown = {reason for row in ROWS for reason in row.reasons} | ELSEWHERE
    assert REASONS.keys() - shown == NOT_HERE.keys()


@dataclass
class Stage:
    """What the rows are played on: a namespace for each, all applied at the start."""

    cluster: Cluster
    install: Install
    leader: Process
    gateway: Process
    chain: Json
    namespaces: dict[int, str] = field(default_factory=dict)
    other: str = ""

    def filled(self, namespace: str, text: str) -> list[Json]:
        words = {"$NS": namespace, "$OTHER": self.other, **self.chain}
        text = re.sub(r"\$[A-Z]+", lambda word: str(words.get(word[0], word[0])), text)
        documents = read(text)
        for each in documents:
            each["metadata"] |= {"namespace": namespace}  # type: ignore[operator]
        return documents

    def apply(self, documents: Sequence[Json]) -> None:
        text = "\n---\n".join(map(json.dumps, documents))
        self.cluster.kubectl("apply", "--server-side", "-f", "-", input=text)


@pytest.fixture(scope="module")
def install(
    cluster: Cluster, tidegate_crds: None, gateway_api: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Install]:
    with cluster.namespace("install") as namespace:
        install = Install(cluster, namespace, tmp_path_factory.mktemp("install"))
        install.prepare(
            gateways={"serviceType": "ClusterIP"},
            expose={"allow": [{"namespaces": {}, "hostnames": ["*.ours.test"]}]},
            upstreams={"allow": [{"namespaces": {}, "networks": ["127.0.0.1/32"]}]},
        )
        yield install
        install.end()


@pytest.fixture(scope="module")
def stage(cluster: Cluster, install: Install, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """With a replica that has the rights of an install: of Secrets those of namespaces that let it."""
    leader = install.controller("leader", account(cluster, install.namespace))
    until(lambda: install.holder() == "leader", leader.text)
    gateway = install.gateway("gateway-1", leader)
    stage = Stage(cluster, install, leader, gateway, chain(tmp_path_factory.mktemp("tls")))
    stage.other = f"{install.namespace}-other"
    stage.namespaces = {id(row): f"{install.namespace}-{place}" for place, row in enumerate(ROWS)}
    names = [stage.other, *stage.namespaces.values()]
    documents = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": each}} for each in names]
    documents += [let(each, install.namespace) for each in names]
    stage.apply([*documents, *(each for row in ROWS for each in stage.filled(stage.namespaces[id(row)], row.bad))])
    yield stage
    cluster.kubectl("delete", "namespace", "--wait=false", *names)


def account(cluster: Cluster, namespace: str) -> Path:
    """The controller's, which may read no Secret but the install's own."""
    everything = ["*"]
    groups = [
        "tidegate.dev",
        "gateway.networking.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "coordination.k8s.io",
        "authentication.k8s.io",
        "apiextensions.k8s.io",
    ]
    rules: list[Json] = [{"apiGroups": [each], "resources": everything, "verbs": everything} for each in groups]
    rules += [{"apiGroups": [""], "resources": ["namespaces", "services", "pods", "configmaps"], "verbs": everything}]
    secrets = [{"apiGroups": [""], "resources": ["secrets"], "verbs": everything}]
    rbac = "rbac.authorization.k8s.io/v1"
    cluster.kubectl("create", "serviceaccount", "-n", namespace, "tidegate-controller")
    cluster.apply(
        {"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": "tidegate-controller"}, "rules": rules},
        {"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": "tidegate-secrets"}, "rules": secrets},
        {
            "apiVersion": rbac,
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "tidegate-controller"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "tidegate-controller"},
            "subjects": [{"kind": "ServiceAccount", "name": "tidegate-controller", "namespace": namespace}],
        },
        let(namespace, namespace),
    )
    return cluster.service_account(namespace, "tidegate-controller")


def let(namespace: str, install: str) -> Json:
    """A namespace lets its Secrets be read."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "tidegate-secrets", "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "tidegate-secrets"},
        "subjects": [{"kind": "ServiceAccount", "name": "tidegate-controller", "namespace": install}],
    }


def chain(folder: Path) -> Json:
    """A certificate with its key, in base64."""
    import base64

    Authority(folder).issue("server", "server", hosts=("a.test",))
    names = {"$CHAIN": "server.crt", "$KEY": "server.key"}
    return {name: base64.b64encode((folder / file).read_bytes()).decode() for name, file in names.items()}


def said(cluster: Cluster, namespace: str, of: str) -> dict[str, Json]:
    """The conditions of what a row is of, by type, and the generation that it has now."""
    kind, name, *section = of.split("/")
    found = cluster.get(kind, "-n", namespace, name)
    status = found.get("status") or {}
    assert isinstance(status, dict)
    parts = [each for each in status.get("listeners", []) if each["name"] in section] if section else None
    parts = parts if parts is not None else (status.get("ancestors") or status.get("parents") or [status])
    every = {each["type"]: each for part in parts[:1] for each in part.get("conditions", [])}
    return {**every, "": found["metadata"]}  # type: ignore[dict-item]


def waited(cluster: Cluster, namespace: str, of: str, expected: str) -> Json:
    """Wait until a condition is as expected, for the generation that there is; the condition."""
    type_, _, words = expected.partition(": ")

    def found() -> tuple[str, object]:
        every = said(cluster, namespace, of)
        one = every.get(type_, {})
        return f"{one.get('status')} {one.get('reason')}", one.get("observedGeneration") == every[""]["generation"]

    until(lambda: found() == (words, True), lambda: said(cluster, namespace, of))
    return said(cluster, namespace, of)[type_]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.of} {row.said}".replace(" ", "_"))
def test_what_is_wrong_is_said_and_mended(stage: Stage, row: Row) -> None:
    namespace = stage.namespaces[id(row)]
    before = waited(stage.cluster, namespace, row.of, row.said)
    assert before["message"]
    if row.mended:
        stage.apply(stage.filled(namespace, row.mended))
    if row.gone:
        stage.cluster.kubectl("delete", "-n", namespace, row.gone)
    after = waited(stage.cluster, namespace, row.of, row.then)
    turned = after["lastTransitionTime"] != before["lastTransitionTime"]
    assert turned or after["status"] == before["status"] or quick(before)


def applied(stage: Stage, namespace: str, *texts: str) -> None:
    stage.apply([each for text in texts for each in stage.filled(namespace, text)])


@pytest.fixture
def mine(stage: Stage, namespace: str) -> str:
    """A namespace that lets its Secrets be read."""
    stage.apply([let(namespace, stage.install.namespace)])
    return namespace


def test_a_namespace_lets_its_secrets_be_read(stage: Stage, namespace: str) -> None:
    """By the command that the condition says; and takes it back."""
    applied(stage, namespace, backend(OURS), KEY, CALLERS, policy(KEYS))
    message = str(waited(stage.cluster, namespace, "Backend/x", "ResolvedRefs: False SecretAccessDenied")["message"])
    waited(stage.cluster, namespace, "Policy/p", "Enforced: False SecretAccessDenied")
    command = re.search(r"kubectl (create rolebinding .*?--namespace[= ]\S+|.*create rolebinding [^;.]*)", message)
    assert command, message
    stage.cluster.kubectl(*command[1].split())
    waited(stage.cluster, namespace, "Backend/x", "ResolvedRefs: True ResolvedRefs")
    waited(stage.cluster, namespace, "Policy/p", "Enforced: True Enforced")
    stage.cluster.kubectl("delete", "rolebinding", "-n", namespace, "tidegate-secrets")
    waited(stage.cluster, namespace, "Backend/x", "ResolvedRefs: False SecretAccessDenied")


def test_a_gateway_whose_service_cannot_be_made(stage: Stage, mine: str) -> None:
    install = stage.install.namespace
    count = len(stage.cluster.get("services", "-n", install)["items"])  # type: ignore[arg-type]
    stage.cluster.kubectl("create", "quota", "none", "-n", install, f"--hard=count/services={count}")
    until(lambda: stage.cluster.get("quota", "-n", install, "none").get("status"))
    applied(stage, mine, gateway())
    waited(stage.cluster, mine, "Gateway/g", "Programmed: False AddressNotAssigned")
    until(lambda: "exceeded quota: none" in message(stage.cluster, mine, "Gateway/g"))
    stage.cluster.kubectl("delete", "quota", "-n", install, "none")
    waited(stage.cluster, mine, "Gateway/g", "Programmed: True Programmed")


def test_a_gateway_whose_service_is_refused_is_in_nobodys_way(stage: Stage, mine: str) -> None:
    """Its Service is the first by name, so that those of others come after it."""
    bad, *good = sorted(("a", "b", "c"), key=lambda name: hashlib.sha256(f"{mine}/{name}".encode()).hexdigest())
    ranges = "service.beta.kubernetes.io/load-balancer-source-ranges"
    refused = f", infrastructure: {{annotations: {{{ranges}: everywhere}}}}"
    applied(stage, mine, gateway(name=bad, more=refused), *(gateway(name=each) for each in good))
    for each in good:
        waited(stage.cluster, mine, f"Gateway/{each}", "Programmed: True Programmed")
    waited(stage.cluster, mine, f"Gateway/{bad}", "Programmed: False AddressNotAssigned")
    until(lambda: ranges in message(stage.cluster, mine, f"Gateway/{bad}"))
    applied(stage, mine, gateway(name=bad, more=", infrastructure: null"))
    waited(stage.cluster, mine, f"Gateway/{bad}", "Programmed: True Programmed")


def message(cluster: Cluster, namespace: str, of: str) -> str:
    """Of Programmed."""
    return str(said(cluster, namespace, of)["Programmed"]["message"])


def test_without_a_gateway_that_is_ready_nothing_is_programmed(stage: Stage, mine: str) -> None:
    applied(stage, mine, backend(), policy("models: {allow: [a]}"), gateway())
    for of in ("Backend/x", "Policy/p", "Gateway/g", "Gateway/g/web"):
        waited(stage.cluster, mine, of, "Programmed: True Programmed")
    stage.install.set_ready("gateway-1", "False")
    try:
        for of in ("Backend/x", "Policy/p", "Gateway/g", "Gateway/g/web"):
            waited(stage.cluster, mine, of, "Programmed: False NoGateways")
        waited(stage.cluster, mine, "Backend/x", "Ready: False NotReady")
        stage.install.pod("gateway-2")  # for which no process dials
        waited(stage.cluster, mine, "Backend/x", "Programmed: False Pending")
        stage.install.delete_pod("gateway-2")
    finally:
        stage.install.set_ready("gateway-1", "True")
    waited(stage.cluster, mine, "Backend/x", "Ready: True Ready")


def test_a_backend_whose_providers_all_fail(stage: Stage, mine: str, tmp_path: Path) -> None:
    """Its key is wrong, as a gateway finds when it is asked; until the Secret is mended."""
    simulator = processes.start_simulator(tmp_path)
    try:
        custom = f'custom: {{}}, url: "{simulator.ports["url"]}/v1", auth: {{secretRef: {{name: key}}}}'
        applied(stage, mine, backend(custom), NONE, KEY)
        waited(stage.cluster, mine, "Backend/x", "Ready: True Ready")
        waited(stage.cluster, mine, "Backend/x", "Healthy: True Healthy")
        assert asked(stage, mine) == 502
        found = waited(stage.cluster, mine, "Backend/x", "Healthy: False NoHealthyProvider")
        assert "1 gateway finds no healthy provider, and none finds one: p: Provider p" in str(found["message"])
        assert "sk-" not in str(found["message"])
        waited(stage.cluster, mine, "Backend/x", "Ready: False NotReady")
        mended = KEY.replace("sk-e2e-of-statuses-1f", UPSTREAM_KEY)
        applied(stage, mine, mended)
        waited(stage.cluster, mine, "Backend/x", "Healthy: True Healthy")
        waited(stage.cluster, mine, "Backend/x", "Ready: True Ready")
        assert asked(stage, mine) == 200
        items = stage.cluster.get("events.events.k8s.io", "-n", mine)["items"]
        told = [each["reason"] for each in items if each["action"] == "Healthy"]  # type: ignore[attr-defined]
        assert sorted(told) == ["Healthy", "NoHealthyProvider"]
    finally:
        simulator.stop()


def asked(stage: Stage, namespace: str) -> int:
    """The status of a chat completion of Backend x."""
    url = f"http://{stage.gateway.ports['url']}/{namespace}/x/v1/chat/completions"
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": "hello"}]}
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_class_with_parameters(stage: Stage) -> None:
    name = stage.install.namespace
    class_ = f"GatewayClass: {{name: {name}, spec: {{controllerName: tidegate.dev/controller, parametersRef: %s}}}}"
    documents = read(class_ % "{group: a.test, kind: B, name: c}")
    stage.apply(documents)
    cluster = stage.cluster
    try:
        until(
            lambda: (
                said(cluster, "default", f"gatewayclass/{name}").get("Accepted", {}).get("reason")
                == "InvalidParameters"
            )
        )
        stage.apply(read(class_.replace(", parametersRef: %s", "")))
        waited(cluster, "default", f"gatewayclass/{name}", "Accepted: True Accepted")
    finally:
        cluster.kubectl("delete", "gatewayclass", name)


def test_times_move_only_where_something_turns(stage: Stage, mine: str) -> None:
    """Another reason for the same is no turn; another generation is none."""
    applied(stage, mine, backend(OURS))
    first = waited(stage.cluster, mine, "Backend/x", "ResolvedRefs: False SecretNotFound")
    accepted = waited(stage.cluster, mine, "Backend/x", "Accepted: True Accepted")
    later(first)
    applied(
        stage,
        mine,
        "Secret: {name: key, stringData: {other: sk-e2e-of-statuses-1f}}",
        backend(OURS, "expose: {}, maxSessions: 9"),
    )
    second = waited(stage.cluster, mine, "Backend/x", "ResolvedRefs: False SecretKeyNotFound")
    assert second["observedGeneration"] == 2
    assert second["lastTransitionTime"] == first["lastTransitionTime"]
    applied(stage, mine, KEY)
    third = waited(stage.cluster, mine, "Backend/x", "ResolvedRefs: True ResolvedRefs")
    assert str(third["lastTransitionTime"]) > str(first["lastTransitionTime"])
    again = waited(stage.cluster, mine, "Backend/x", "Accepted: True Accepted")
    assert again["lastTransitionTime"] == accepted["lastTransitionTime"]


def later(than: Json) -> None:
    """Wait until the clock, which counts seconds here, shows another time than a condition's."""
    until(lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()) > str(than["lastTransitionTime"]))


def test_nothing_is_written_where_nothing_changes(stage: Stage, mine: str) -> None:
    """While other objects come, change and go for ten seconds."""
    applied(stage, mine, backend(), NONE, gateway(), route(), KEY)
    for of, expected in (
        ("Backend/x", "Ready: True Ready"),
        ("Policy/open", "Programmed: True Programmed"),
        ("Gateway/g", "Programmed: True Programmed"),
        ("HTTPRoute/r", "Accepted: True Accepted"),
    ):
        waited(stage.cluster, mine, of, expected)
    until(lambda: stage.cluster.get("gateway", "-n", mine, "g")["status"]["listeners"][0]["attachedRoutes"] == 1)  # type: ignore[index]
    before = versions(stage.cluster, mine)
    assert len(before) == 4
    end, count = time.monotonic() + 10, 0
    with stage.cluster.namespace("others") as others:
        while time.monotonic() < end or count < 5:
            count += 1
            applied(stage, others, backend(more=f"expose: {{}}, maxSessions: {count}"), policy("models: {allow: [a]}"))
            waited(stage.cluster, others, "Backend/x", "Ready: True Ready")
            stage.cluster.kubectl("label", "secret", "-n", mine, "key", f"seen={count}", "--overwrite")
    assert versions(stage.cluster, mine) == before


def versions(cluster: Cluster, namespace: str) -> dict[str, str]:
    items = cluster.get("tgb,tgp,gateways,httproutes", "-n", namespace)["items"]
    return {f"{each['kind']}/{each['metadata']['name']}": each["metadata"]["resourceVersion"] for each in items}  # type: ignore[attr-defined]


def test_turns_are_events(stage: Stage, mine: str) -> None:
    """One for each turn of Ready and Healthy; of what has no Ready, of Accepted, ResolvedRefs and Enforced; none for
    new words."""

    def events() -> list[tuple[str, str, str]]:
        items = stage.cluster.get("events.events.k8s.io", "-n", mine)["items"]
        ordered = sorted(items, key=lambda each: each["eventTime"])  # type: ignore[call-overload]
        return [(each["regarding"]["kind"], each["type"], each["reason"]) for each in ordered]

    applied(stage, mine, backend(OURS), NONE)
    waited(stage.cluster, mine, "Backend/x", "ResolvedRefs: False SecretNotFound")
    applied(stage, mine, KEY)
    waited(stage.cluster, mine, "Backend/x", "Ready: True Ready")
    applied(stage, mine, backend(OURS, "expose: {hostnames: [theirs.test]}"))
    waited(stage.cluster, mine, "Backend/x", "Accepted: False NotAllowed")
    expected = [("Backend", "Warning", "NotReady"), ("Backend", "Normal", "Ready"), ("Backend", "Warning", "NotReady")]
    until(lambda: events() == expected, events)
    told = stage.cluster.get("events.events.k8s.io", "-n", mine)["items"][0]  # type: ignore[index]
    assert told["reportingController"] == "tidegate.dev/controller"
    assert told["regarding"]["name"] == "x"
    described = stage.cluster.kubectl("describe", "tgb", "-n", mine, "x")
    assert "NotReady" in described


THEIRS: Json = {
    "controllerName": "other.test/controller",
    "conditions": [
        {
            "observedGeneration": 3,
            "type": "Accepted",
            "status": "True",
            "reason": "Theirs",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ],
}


def test_what_other_controllers_say_is_kept(stage: Stage, mine: str) -> None:
    """Of an HTTPRoute at its parents and of a Policy at its ancestors, whichever entry was there first."""
    theirs: dict[str, tuple[str, Json]] = {
        "httproute/r": (
            "parents",
            {**THEIRS, "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "z"}},
        ),
        "tgp/open": ("ancestors", {**THEIRS, "ancestorRef": {"group": "a.test", "kind": "B", "name": "z"}}),
    }

    def entries(of: str) -> list[Json]:
        kind, name = of.split("/")
        status = stage.cluster.get(kind, "-n", mine, name).get("status") or {}
        assert isinstance(status, dict)
        found: list[Json] = status.get(theirs[of][0], [])
        return found

    applied(stage, mine, gateway(), route(), NONE)  # no Backend: both say what is missing
    for of in theirs:
        until(lambda of=of: len(entries(of)) == 1)
    for of, (field_, entry) in theirs.items():
        patch = json.dumps({"status": {field_: [entry, *entries(of)]}})
        stage.cluster.kubectl("patch", *of.split("/"), "-n", mine, "--subresource=status", "--type=merge", "-p", patch)
    applied(stage, mine, backend())
    for of, (_, entry) in theirs.items():

        def ours(of: str = of) -> list[str]:
            mine_ = [each for each in entries(of) if each["controllerName"] == "tidegate.dev/controller"]
            return [each["status"] for one in mine_ for each in one["conditions"]]  # type: ignore[attr-defined]

        until(lambda ours=ours: ours() and set(ours()) == {"True"}, ours)
        assert [each for each in entries(of) if each["controllerName"] == "other.test/controller"] == [entry]


def test_what_is_no_longer_ours_to_say_is_taken_back(stage: Stage, mine: str) -> None:
    """An HTTPRoute that leaves our Gateway keeps the entry of another's controller alone."""
    applied(stage, mine, gateway(), backend(), route())
    waited(stage.cluster, mine, "HTTPRoute/r", "Accepted: True Accepted")
    applied(stage, mine, route(parent="name: somebody-elses"))
    until(lambda: stage.cluster.get("httproute", "-n", mine, "r")["status"] == {"parents": []})
    applied(stage, mine, policy("models: {allow: [a]}", "group: tidegate.dev, kind: Backend, name: x"))
    waited(stage.cluster, mine, "Policy/p", "Accepted: True Accepted")
    applied(stage, mine, policy("models: {allow: [a]}", TO_ROUTE))
    waited(stage.cluster, mine, "Policy/p", "Accepted: True Accepted")
    (only,) = stage.cluster.get("tgp", "-n", mine, "p")["status"]["ancestors"]  # type: ignore[index]
    assert only["ancestorRef"]["kind"] == "HTTPRoute"


def test_columns_and_waiting(stage: Stage, mine: str) -> None:
    applied(
        stage,
        mine,
        backend(),
        backend(OURS, name="y"),
        policy("models: {allow: [a]}"),
        policy("models: {allow: [a]}", "group: tidegate.dev, kind: Backend, name: absent", "q"),
    )
    kubectl = stage.cluster.kubectl
    kubectl("wait", "-n", mine, "--for=condition=Ready", "tgb/x", "--timeout=60s")
    kubectl("wait", "-n", mine, "--for=condition=Ready=false", "tgb/y", "--timeout=60s")
    said_ = 'jsonpath={.status.ancestors[0].conditions[?(@.type=="Programmed")].status}=True'
    kubectl("wait", "-n", mine, f"--for={said_}", "tgp/p", "--timeout=60s")
    waited(stage.cluster, mine, "Policy/q", "Programmed: False Invalid")

    def rows(kind: str) -> list[list[str]]:
        return [re.split(r"  +", line.strip())[:-1] for line in kubectl("get", kind, "-n", mine).splitlines()]

    assert rows("tgb") == [
        ["NAME", "READY", "ACCEPTED", "PROGRAMMED"],
        ["x", "True", "True", "True"],
        ["y", "False", "True", "True"],
    ]
    assert rows("tgp") == [
        ["NAME", "TARGET-KIND", "TARGET", "ACCEPTED", "ENFORCED", "PROGRAMMED"],
        ["p", "Backend", "x", "True", "True", "True"],
        ["q", "Backend", "absent", "False", "False", "False"],
    ]


def quick(condition: Json) -> bool:
    """Has it turned in this very second, so that its time may be the same?"""
    then = time.mktime(time.strptime(str(condition["lastTransitionTime"]), "%Y-%m-%dT%H:%M:%SZ"))
    return time.mktime(time.gmtime()) - then < 3
