"""Controllers and gateways together on a real API server: what is applied is served, and Programmed says so."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import processes
import pytest
from cluster.access import Cluster
from controllers import Install, conditions, ready, reasons, until
from processes import UPSTREAM_KEY, Process

POLICY = """
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {name: open}
spec:
  targetRefs: [{group: tidegate.dev, kind: Backend, name: chat}]
  authentication: {mode: None}
"""


@pytest.fixture(scope="module")
def install(cluster: Cluster, tidegate_crds: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Install]:
    with cluster.namespace("install") as namespace:
        install = Install(cluster, namespace, tmp_path_factory.mktemp("install"))
        install.prepare(upstreams={"allow": [{"namespaces": {}, "networks": ["127.0.0.0/8"]}]})
        yield install
        install.end()


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = processes.start_simulator(tmp_path_factory.mktemp("simulator"))
    yield process
    process.stop()


@pytest.fixture(scope="module")
def replicas(install: Install) -> list[Process]:
    found = [install.controller("one"), install.controller("two")]
    until(lambda: all(map(ready, found)))
    return found


@pytest.fixture(scope="module")
def gateway(install: Install, replicas: list[Process]) -> Process:
    return install.gateway("gateway-1", *replicas)


@pytest.fixture
def chat(cluster: Cluster, namespace: str, simulator: Process) -> str:
    """The path of a Backend that is served to everybody."""
    apply(cluster, namespace, backend(simulator), secret(UPSTREAM_KEY), POLICY)
    return f"/{namespace}/chat"


def apply(cluster: Cluster, namespace: str, *documents: object) -> None:
    texts = [each if isinstance(each, str) else json.dumps(each) for each in documents]
    cluster.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", input="\n---\n".join(texts))


def backend(simulator: Process, **spec: object) -> dict[str, object]:
    provider = {
        "name": "simulated",
        "openai": {},
        "url": f"{simulator.ports['url']}/v1",
        "auth": {"secretRef": {"name": "key"}},
    }
    return {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "Backend",
        "metadata": {"name": "chat"},
        "spec": {"providers": [provider], "expose": {}, **spec},
    }


def secret(key: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"Authorization": key}}


def asked(gateway: Process, path: str) -> int:
    """The status of a chat completion."""
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}).encode()
    request = urllib.request.Request(f"http://{gateway.ports['url']}{path}/v1/chat/completions", body)
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def answers(gateway: Process, path: str, status: int) -> None:
    until(lambda: asked(gateway, path) == status, lambda: f"{asked(gateway, path)} instead of {status}")


def programmed(cluster: Cluster, namespace: str, expected: str, kind: str = "tgb", name: str = "chat") -> str:
    """Wait until Programmed is so; its message."""

    def found() -> str:
        return reasons(cluster, namespace, name, kind).get("Programmed", "")

    until(lambda: found() == expected, lambda: conditions(cluster, namespace, name, kind).get("Programmed"))
    return str(conditions(cluster, namespace, name, kind)["Programmed"]["message"])


def test_what_is_applied_is_served(cluster: Cluster, namespace: str, gateway: Process, chat: str) -> None:
    cluster.kubectl("wait", "--for=condition=Ready", "-n", namespace, "tgb/chat", "--timeout=60s")
    assert asked(gateway, chat) == 200  # Ready is no promise: it is so
    assert programmed(cluster, namespace, "True Programmed") == "Served by every ready gateway."
    programmed(cluster, namespace, "True Programmed", "tgp", "open")


def test_a_secret_goes_comes_back_and_is_rotated(
    cluster: Cluster, namespace: str, gateway: Process, chat: str, simulator: Process
) -> None:
    answers(gateway, chat, 200)
    cluster.kubectl("delete", "secret", "-n", namespace, "key")
    answers(gateway, chat, 500)
    apply(cluster, namespace, secret(UPSTREAM_KEY))
    answers(gateway, chat, 200)
    apply(cluster, namespace, secret("sk-e2e-rotated-wrong"))
    answers(gateway, chat, 502)
    apply(cluster, namespace, secret(UPSTREAM_KEY))
    answers(gateway, chat, 200)


def test_a_backend_that_is_deleted_is_not_served(cluster: Cluster, namespace: str, gateway: Process, chat: str) -> None:
    answers(gateway, chat, 200)
    cluster.kubectl("delete", "tgb", "-n", namespace, "chat")
    answers(gateway, chat, 404)


def test_a_pod_that_does_not_talk_is_named(
    cluster: Cluster, install: Install, namespace: str, gateway: Process, chat: str
) -> None:
    answers(gateway, chat, 200)
    programmed(cluster, namespace, "True Programmed")
    install.pod("gateway-2")  # an object alone: there is no process that would dial
    message = programmed(cluster, namespace, "False Pending")
    assert message == (
        "Served by 1 of 2 gateways; not yet by gateway-2. No connection to the controller: gateway-2; see its log."
    )
    assert reasons(cluster, namespace, "chat")["Ready"] == "False NotReady"
    install.set_ready("gateway-2", "False")
    programmed(cluster, namespace, "True Programmed")
    install.delete_pod("gateway-2")


EDGE = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: tidegate
  listeners:
  - {name: http, port: 80, protocol: HTTP}
  - {name: mail, port: 25, protocol: TCP}
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: chat}
spec:
  parentRefs: [{name: edge}]
  hostnames: [chat.example.com]
  rules: [{backendRefs: [{group: tidegate.dev, kind: Backend, name: chat}]}]
"""
THEIRS = {
    "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "another"},
    "controllerName": "example.com/controller",
    "conditions": [
        {
            "type": "Accepted",
            "status": "True",
            "reason": "Accepted",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ],
}


@pytest.mark.usefixtures("gateway_api", "chat", "gateway")
def test_gateways_and_routes(cluster: Cluster, install: Install, namespace: str) -> None:
    def of(kind: str, name: str) -> dict[str, Any]:
        found = cluster.get(kind, "-n", namespace, name).get("status") or {}
        assert isinstance(found, dict)
        return found

    until(lambda: cluster.kubectl("get", "gatewayclass", "tidegate", "--ignore-not-found", "-o", "name"))
    cluster.kubectl("wait", "--for=condition=Accepted", "gatewayclass/tidegate", "--timeout=60s")
    apply(cluster, namespace, EDGE, ROUTE)
    cluster.kubectl("wait", "--for=condition=Programmed", "-n", namespace, "gateway/edge", "--timeout=60s")
    status = of("gateway", "edge")
    assert [each["type"] for each in status["addresses"]] == ["IPAddress"]
    assert [(each["name"], each["attachedRoutes"]) for each in status["listeners"]] == [("http", 1), ("mail", 0)]
    (parent,) = of("httproute", "chat")["parents"]
    assert parent["controllerName"] == "tidegate.dev/controller"
    said = {each["type"]: each["status"] for each in parent["conditions"]}
    assert said == {"Accepted": "True", "ResolvedRefs": "True"}
    # What another controller says of its parent stays.
    patch = json.dumps({"status": {"parents": [THEIRS, parent]}})
    merge = ("--subresource=status", "--type=merge", "-p", patch)
    cluster.kubectl("patch", "httproute", "-n", namespace, "chat", *merge)
    cluster.kubectl("delete", "tgb", "-n", namespace, "chat")
    until(lambda: of("httproute", "chat")["parents"][1]["conditions"][1]["status"] == "False")
    assert of("httproute", "chat")["parents"][0] == THEIRS
    # The Service is the install's, and goes with the Gateway.
    selector = ("-l", "gateway.networking.k8s.io/gateway-name=edge,app.kubernetes.io/component=gateway")
    listed = ("get", "service", "-n", install.namespace, *selector)
    service = json.loads(cluster.kubectl(*listed, "-o", "json"))["items"][0]
    assert [each["port"] for each in service["spec"]["ports"]] == [80]
    assert service["metadata"]["ownerReferences"][0]["kind"] == "Lease"
    cluster.kubectl("delete", "gateway", "-n", namespace, "edge")
    until(lambda: not cluster.kubectl(*listed, "-o", "name"))


def test_without_controllers_gateways_serve_on(
    cluster: Cluster, install: Install, namespace: str, gateway: Process, chat: str, replicas: list[Process]
) -> None:
    answers(gateway, chat, 200)
    for replica in replicas:
        replica.kill()
    assert asked(gateway, chat) == 200


def test_a_stranger_gets_no_table(cluster: Cluster, install: Install, namespace: str) -> None:
    """Every way of being no gateway of this install: the answer says which."""
    replica = install.controller("guarded")
    until(lambda: ready(replica))
    account = ("default", "--audience", "tidegate-controller")
    tokens = {
        "nothing": ("", 401),
        "of another audience": (cluster.token(install.namespace, "tidegate-dataplane"), 401),
        "of another account": (cluster.token(install.namespace, *account), 403),
        "of another namespace": (cluster.token(namespace, *account), 403),
        "of no pod": (
            cluster.token(install.namespace, "tidegate-dataplane", "--audience", "tidegate-controller"),
            403,
        ),
    }
    found = {name: knocked(replica, token) for name, (token, _) in tokens.items()}
    assert found == {name: status for name, (_, status) in tokens.items()}


def knocked(replica: Process, token: str) -> int:
    """The status of the answer to who dials with this token."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(f"https://{replica.ports['tables']}/v1/tables")
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    for name, value in (upgrade | ({"Authorization": f"Bearer {token}"} if token else {})).items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, context=context, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
