"""Two tenants of one install: namespaces with the same objects in both, each with an owner who may do anything there
and nothing elsewhere; and a Gateway of the platform's that both may use.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import asking
import processes
from asking import Answer
from cluster.access import Cluster
from cluster.certificates import Authority
from controllers import Install, conditions, until
from processes import Process
from providers import Provider, provider

Json = dict[str, object]
RED, BLUE, PLATFORM = "red", "blue", "platform"
KEYS = {name: f"key-of-{name}-alone-77d1" for name in (RED, BLUE)}
CREDENTIALS = {name: f"sk-e2e-of-{name}-41c0" for name in (RED, BLUE)}
VAULT = "sk-e2e-in-reds-vault-9a2e"
TWIN = "key-that-both-tenants-have-20b4"
SECRETS = (*KEYS.values(), *CREDENTIALS.values(), VAULT, TWIN)
GATEWAY_API = "gateway.networking.k8s.io/v1"
TIDEGATE = "tidegate.dev/v1alpha1"
OWNERS = [
    {"apiGroups": ["tidegate.dev"], "resources": ["*"], "verbs": ["*"]},
    {"apiGroups": ["gateway.networking.k8s.io"], "resources": ["*"], "verbs": ["*"]},
    {"apiGroups": [""], "resources": ["secrets", "services"], "verbs": ["*"]},
]
"""What the owner of a namespace may do there."""


def document(kind: str, name: str, *, version: str = "", labels: Json | None = None, **rest: object) -> Json:
    versions = {"Backend": TIDEGATE, "Policy": TIDEGATE, "Secret": "v1", "Service": "v1"}
    version = version or versions.get(kind, GATEWAY_API)
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": labels or {}}, **rest}


def secret(name: str, labels: Json | None = None, **entries: str) -> Json:
    written = {each.replace("_", "-"): value for each, value in entries.items()}
    return document("Secret", name, labels=labels, stringData=written)


def backend(name: str, **spec: object) -> Json:
    auth = {"secretRef": {"name": "upstream"}}
    return document(
        "Backend", name, spec={"providers": [{"name": "own", "openai": {}, "url": "$URL", "auth": auth}], **spec}
    )


def policy(name: str, *targets: Json, **spec: object) -> Json:
    return document("Policy", name, spec={"targetRefs": list(targets), **spec})


def at(kind: str, name: str, **more: object) -> Json:
    return {
        "group": "tidegate.dev" if kind == "Backend" else "gateway.networking.k8s.io",
        "kind": kind,
        "name": name,
        **more,
    }


def route(
    name: str, host: str, *refs: Json, listener: str = "$OWN", parent: Json | None = None, **rule: object
) -> Json:
    """Of the platform's Gateway, or another `parent`."""
    on = parent or {"name": "shared", "namespace": "$PLATFORM", "sectionName": listener}
    return document(
        "HTTPRoute",
        name,
        spec={"parentRefs": [on], "hostnames": [host], "rules": [{"backendRefs": list(refs), **rule}]},
    )


def to_backend(name: str, namespace: str = "$OWN_NAMESPACE", **more: object) -> Json:
    return {"group": "tidegate.dev", "kind": "Backend", "name": name, "namespace": namespace, **more}


def grant(source: str, target: str, name: str = "", group: str = "gateway.networking.k8s.io") -> Json:
    """Red lets objects of blue's refer to one of its own, or to all of that kind."""
    to = {"group": "tidegate.dev" if target == "Backend" else "", "kind": target, **({"name": name} if name else {})}
    came = {"group": group, "kind": source, "namespace": "$BLUE"}
    version = "gateway.networking.k8s.io/v1beta1"
    return document("ReferenceGrant", "to-blue", version=version, spec={"from": [came], "to": [to]})


def objects(tenant: str) -> list[Json]:
    """All that one of them has."""
    mine = [at("Backend", "voice"), at("Backend", "own"), at("Backend", "part")]
    keys = {"keys": [{"secretRef": {"name": "callers"}, "team": "support"}]}
    return [
        secret("upstream", Authorization=CREDENTIALS[tenant]),
        secret("callers", ci_bot=KEYS[tenant], twin=TWIN),
        backend("voice", expose={"hostnames": [f"{tenant}.test", *(["shared.test"] if tenant == RED else [])]}),
        backend("own", expose={}),
        backend("part", expose={"hostnames": ["divided.test"], "pathPrefix": f"/{tenant}"}),
        policy("guard", *mine, authentication=keys),
        policy("names", *mine, telemetry={"callerKey": True}),
        route("front", f"app.{tenant}.test", to_backend("voice")),
    ]


def of_the_platform() -> list[Json]:
    """A Gateway with a listener for each tenant, and one for everybody."""

    def listener(name: str, source: Json, **more: object) -> Json:
        return {"name": name, "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": source}, **more}

    def of(tenant: str) -> Json:
        selector = {"matchLabels": {"kubernetes.io/metadata.name": f"${tenant.upper()}"}}
        return listener(tenant, {"from": "Selector", "selector": selector}, hostname=f"*.{tenant}.test")

    listeners = [of(RED), of(BLUE), listener("open", {"from": "All"})]
    return [document("Gateway", "shared", spec={"gatewayClassName": "tidegate", "listeners": listeners})]


@dataclass
class Tenants:
    """All that runs."""

    cluster: Cluster
    install: Install
    gateway: Process
    namespaces: dict[str, str]
    owners: dict[str, Path]
    providers: dict[str, Provider]
    marks: int = 0

    def apply(self, tenant: str, *documents: Json) -> None:
        """As its owner."""
        self.cluster.kubectl(*self._with_those("apply", "--server-side"), **self._as(tenant, documents))

    def refused(self, tenant: str, *documents: Json) -> str:
        return self.cluster.refused(*self._with_those("apply", "--server-side"), **self._as(tenant, documents))

    def delete(self, tenant: str, *documents: Json) -> None:
        command = self._with_those("delete", "--ignore-not-found", "--wait=true")
        self.cluster.kubectl(*command, **self._as(tenant, documents))

    @contextmanager
    def having(self, tenant: str, *documents: Json) -> Iterator[None]:
        """For a while, the tenant has these, too."""
        if not documents:
            yield
            return
        self.apply(tenant, *documents)
        try:
            yield
        finally:
            self.delete(tenant, *documents)

    def says(self, tenant: str, kind: str, name: str, type_: str, said: str) -> str:
        """Wait until a condition of an object is so: "False NotAllowed". Its message."""

        def found() -> Json:
            return self.conditions(tenant, kind, name).get(type_, {})

        until(lambda: f"{found().get('status')} {found().get('reason')}" == said, found)
        return str(found()["message"])

    def conditions(self, tenant: str, kind: str, name: str) -> dict[str, Json]:
        """By type: those of the first ancestor, parent or listener, where it has such."""
        namespace = self.namespaces[tenant]
        if kind in ("Backend", "Policy"):
            return conditions(self.cluster, namespace, name, f"{kind.lower()}.tidegate.dev")
        status = self.cluster.get(kind, "-n", namespace, name).get("status") or {}
        assert isinstance(status, dict)
        parts = status.get("parents") or status.get("listeners") or [{"conditions": []}]
        return {each["type"]: each for each in parts[0].get("conditions", [])}

    def settle(self) -> None:
        """Wait until the gateway serves all that was applied, and all that its conditions were read of, before."""
        self.marks += 1
        mark = backend("mark", expose={}, timeouts={"connect": f"{self.marks % 50 + 1}s"})
        self._apply_as_admin(PLATFORM, mark)
        namespace = self.namespaces[PLATFORM]
        generation = self.cluster.get("tgb", "-n", namespace, "mark")["metadata"]["generation"]  # type: ignore[index]

        def found() -> Json:
            return conditions(self.cluster, namespace, "mark").get("Programmed", {})

        until(lambda: (found().get("status"), found().get("observedGeneration")) == ("True", generation), found)

    def ask(self, host: str = "", path: str = asking.COMPLETIONS, key: str = "", gateway: str = "") -> Answer:
        """At the fleet's own port, or at port 80 of a Gateway: "platform/shared"."""
        return asking.ask(self.address(gateway), self.filled(path), host=host, key=key)

    def address(self, gateway: str = "", port: int = 80) -> str:
        """Where the fleet listens, or where it does for a port of a Gateway."""
        if not gateway:
            return self.gateway.ports["url"]
        tenant, _, name = gateway.partition("/")
        return self.install.address_of(self.namespaces.get(tenant, tenant), name, port)

    def filled(self, text: str, tenant: str = PLATFORM) -> str:
        """With the names of namespaces, listeners and addresses."""
        own = {"$OWN_NAMESPACE": self.namespaces[tenant], "$OWN": tenant}
        own |= {f"${name.upper()}": namespace for name, namespace in self.namespaces.items()}
        own["$URL"] = self.providers[tenant].url if tenant in self.providers else "http://127.0.0.1:9/v1"
        return re.sub(r"\$[A-Z_]+", lambda word: own.get(word[0], word[0]), text)

    def versions(self, tenant: str) -> dict[str, str]:
        """The resourceVersion of everything that it has with a status."""
        listed = self.cluster.get("backends,policies,httproutes,gateways", "-n", self.namespaces[tenant])
        found: dict[str, str] = {}
        for each in listed["items"]:  # type: ignore[attr-defined]
            metadata = each["metadata"]
            found[f"{each['kind']} {metadata['name']}"] = metadata["resourceVersion"]
        return found

    def check(self) -> None:
        """No key is anywhere that is written."""
        texts = [each.text() for each in (*self.install.replicas, *self.install.gateways)]
        texts += [processes.fetch(f"http://{self.gateway.ports['admin']}{path}") for path in ("/metrics", "/table")]
        listed = "backends,policies,httproutes,gateways,events"
        texts += [self.cluster.kubectl("get", listed, "-n", each, "-o", "json") for each in self.namespaces.values()]
        for text in texts:
            assert not [key for key in SECRETS if key in text]

    def _with_those(self, *command: str) -> tuple[str, ...]:
        return (*command, "-f", "-")

    def _as(self, tenant: str, documents: Sequence[Json]) -> dict[str, object]:
        return {"input": self._texts(tenant, documents), "kubeconfig": self.owners[tenant]}

    def _apply_as_admin(self, tenant: str, *documents: Json) -> None:
        self.cluster.kubectl("apply", "--server-side", "-f", "-", input=self._texts(tenant, documents))

    def _texts(self, tenant: str, documents: Sequence[Json]) -> str:
        placed = [
            {**each, "metadata": {**each["metadata"], "namespace": self.namespaces[tenant]}} for each in documents
        ]  # type: ignore[dict-item]
        return "\n---\n".join(self.filled(json.dumps(each), tenant) for each in placed)


@contextmanager
def tenants(cluster: Cluster, folder: Path) -> Iterator[Tenants]:
    """An install with one replica and one gateway, and both tenants, whose owners have applied all that they have."""
    with ExitStack() as stack:
        names = {each: stack.enter_context(cluster.namespace(each)) for each in (RED, BLUE, PLATFORM)}
        install = Install(cluster, stack.enter_context(cluster.namespace("install")), folder)
        install.prepare(**_settings(names))
        stack.callback(install.end)
        replica = install.leader()
        providers = {each: stack.enter_context(provider(each)) for each in (RED, BLUE)}
        owners = {each: _owner(cluster, names[each]) for each in (RED, BLUE)}
        gateway = install.gateway("gateway-1", replica)
        found = Tenants(cluster, install, gateway, names, owners, providers)
        found._apply_as_admin(PLATFORM, *of_the_platform())
        certificate = authority(folder, "app.red.test")
        for tenant in (RED, BLUE):  # red's objects are older
            found.apply(tenant, *objects(tenant))
        found.apply(RED, secret("vault", {"tier": "gold"}, Authorization=VAULT, admin=VAULT), certificate)
        found.apply(RED, backend("inner"), document("Service", "inner", spec={"ports": [{"port": 80}]}))
        for tenant in (RED, BLUE):
            found.says(tenant, "HTTPRoute", "front", "Accepted", "True Accepted")
            found.says(tenant, "Backend", "voice", "Ready", "True Ready")
        found.settle()
        yield found
        found.check()


def authority(folder: Path, *hosts: str) -> Json:
    """A Secret with a certificate for these hosts, whose authority is `ca.crt` in the folder `tls`."""
    place = folder / "tls"
    place.mkdir(exist_ok=True)
    Authority(place).issue("server", "server", hosts=hosts)
    data = {
        entry: base64.b64encode((place / file).read_bytes()).decode()
        for entry, file in (("tls.crt", "server.crt"), ("tls.key", "server.key"))
    }
    return {**document("Secret", "cert"), "type": "kubernetes.io/tls", "data": data}


def _settings(names: dict[str, str]) -> dict[str, object]:
    """Each may be served at its own host, at `shared.test` and in a part of `divided.test`, and reach this machine at
    one address."""

    def of(tenant: str) -> Json:
        return {"matchLabels": {"kubernetes.io/metadata.name": names[tenant]}}

    both = (RED, BLUE)
    hosts = [{"namespaces": of(each), "hostnames": [f"{each}.test", "shared.test"]} for each in both]
    parts = [{"namespaces": of(each), "hostnames": ["divided.test"], "pathPrefixes": [f"/{each}"]} for each in both]
    return {
        "gateways": {"serviceType": "ClusterIP"},
        "expose": {"allow": [*hosts, *parts]},
        "upstreams": {"allow": [{"namespaces": of(each), "networks": ["127.0.0.1/32"]} for each in both]},
    }


def _owner(cluster: Cluster, namespace: str) -> Path:
    user = f"owner-of-{namespace}"
    role: Json = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": OWNERS}
    cluster.apply({**role, "metadata": {"name": "owner", "namespace": namespace}})
    cluster.kubectl("create", "rolebinding", "owner", "-n", namespace, "--role=owner", f"--user={user}")
    return cluster.user(user)
