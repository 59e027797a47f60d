"""A namespace whose owner means ill: each object is refused with a condition that says why, or by the API server at
once, and nobody else notices. Another namespace's Backend answers all the while, and its status is not written again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import processes
import pytest
from cluster.access import Cluster
from controllers import Install, conditions, ready, until
from faults import Repeating
from processes import UPSTREAM_KEY, Process
from test_controller_gateways import apply, asked, backend, secret

LEAVE = {"namespaces": {"matchLabels": {"may-expose": "yes"}}, "hostnames": ["*.example.com"]}
HOST = "voice.example.com"
OPEN = """
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {name: open}
spec:
  targetRefs: [{group: tidegate.dev, kind: Backend, name: chat}]
  authentication: {mode: None}
"""
EDGE = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: tidegate
  listeners:
  - {name: http, port: 80, protocol: HTTP}
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: hostile}
spec:
  parentRefs: [{name: edge}]
  rules: [RULE]
"""
POLICY = """
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {name: hostile}
spec:
  targetRefs: [{group: tidegate.dev, kind: Backend, name: TARGET}]
  BLOCK
"""
BACKEND = """
apiVersion: tidegate.dev/v1alpha1
kind: Backend
metadata: {name: hostile}
spec:
  providers: [{name: any, openai: {}, url: "URL", AUTH}]
  expose: EXPOSE
"""


def route(rule: str) -> str:
    return ROUTE.replace("RULE", rule)


def policy(block: str, target: str = "chat") -> str:
    return POLICY.replace("TARGET", target).replace("BLOCK", block)


def hostile(url: str = "https://api.openai.com/v1", auth: str = "auth: {passthrough: {}}", expose: str = "{}") -> str:
    return BACKEND.replace("URL", url).replace("AUTH", auth).replace("EXPOSE", expose)


@pytest.fixture(scope="module")
def install(
    cluster: Cluster, tidegate_crds: None, gateway_api: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Install]:
    with cluster.namespace("install") as namespace:
        install = Install(cluster, namespace, tmp_path_factory.mktemp("install"))
        install.prepare(
            upstreams={"allow": [{"namespaces": {}, "networks": ["127.0.0.0/8"]}]}, expose={"allow": [LEAVE]}
        )
        yield install
        install.end()


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = processes.start_simulator(tmp_path_factory.mktemp("simulator"))
    yield process
    process.stop()


@pytest.fixture(scope="module")
def gateway(install: Install) -> Process:
    replica = install.controller("one")
    until(lambda: ready(replica))
    return install.gateway("gateway-1", replica)


@pytest.fixture(scope="module")
def victim(cluster: Cluster, simulator: Process, gateway: Process) -> Iterator[str]:
    """A namespace that may be served at hosts of its own, and is."""
    with cluster.namespace("victim", **{"may-expose": "yes"}) as namespace:
        apply(cluster, namespace, backend(simulator, expose={"hostnames": [HOST]}), secret(UPSTREAM_KEY), OPEN)
        apply(
            cluster,
            namespace,
            backend(simulator) | {"metadata": {"name": "own"}},
            OPEN.replace("chat", "own").replace("open", "own"),
        )
        cluster.kubectl("wait", "--for=condition=Ready", "-n", namespace, "tgb", "--all", "--timeout=60s")
        yield namespace


@pytest.fixture(autouse=True)
def _nobody_notices(cluster: Cluster, victim: str, gateway: Process) -> Iterator[None]:
    def version() -> str:
        return cluster.kubectl("get", "tgb,tgp", "-n", victim, "-o", "jsonpath={.items[*].metadata.resourceVersion}")

    def answers() -> None:
        assert asked(gateway, f"/{victim}/own") == 200

    before = version()
    with Repeating(answers):
        yield
    assert version() == before


HUGE = r"\\pL{1,999}"
REFUSED = {
    "a regular expression that takes all memory": (
        route(f'{{matches: [{{path: {{type: RegularExpression, value: "/{HUGE}"}}}}]}}'),
        ("httproute", "Accepted", "Invalid"),
    ),
    "a template that reads a credential": (
        policy('transformation: {request: {set: [{name: x-key, value: "${secret.key}"}]}}'),
        ("tgp", "Accepted", "Invalid"),
    ),
    "a header that is the gateway's to set": (
        policy("transformation: {request: {set: [{name: host, value: other.example.com}]}}"),
        ("tgp", "Accepted", "Invalid"),
    ),
    "someone else's Backend behind a route": (
        route("{backendRefs: [{group: tidegate.dev, kind: Backend, name: chat, namespace: VICTIM}]}"),
        ("httproute", "ResolvedRefs", "RefNotPermitted"),
    ),
    "someone else's Backend under a Policy": (
        policy("authentication: {mode: None}", "own"),
        ("tgp", "Accepted", "TargetNotFound"),
    ),
    "someone else's host, without leave": (
        hostile(expose=f"{{hostnames: [{HOST}]}}"),
        ("tgb", "Accepted", "NotAllowed"),
    ),
    "someone else's path": (hostile(expose="{pathPrefix: /VICTIM/own}"), ("tgb", "Accepted", "NotAllowed")),
    "everybody's path": (hostile(expose="{pathPrefix: /}"), ("tgb", "Accepted", "NotAllowed")),
    "the address of the cloud's credentials": (
        hostile(url="http://169.254.169.254/latest"),
        ("tgb", "ResolvedRefs", "UpstreamNotAllowed"),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_a_condition(cluster: Cluster, namespace: str, victim: str, name: str) -> None:
    document, (kind, type_, reason) = REFUSED[name]
    apply(cluster, namespace, EDGE, document.replace("VICTIM", victim))

    def found() -> Any:
        if kind != "httproute":
            return conditions(cluster, namespace, "hostile", kind).get(type_)
        status: Any = cluster.get(kind, "-n", namespace, "hostile").get("status") or {}
        said = [each for parent in status.get("parents", []) for each in parent["conditions"]]
        return next((each for each in said if each["type"] == type_), None)

    until(lambda: found() and (found()["status"], found()["reason"]) == ("False", reason), found)


def test_who_may_be_at_these_hosts_does_not_get_one_that_is_taken(cluster: Cluster, victim: str) -> None:
    with cluster.namespace("rival", **{"may-expose": "yes"}) as rival:
        apply(cluster, rival, hostile(expose=f"{{hostnames: [{HOST}, rival.example.com]}}"))

        def found() -> Any:
            return conditions(cluster, rival, "hostile").get("Accepted")

        until(lambda: found() and found()["reason"] == "HostnameConflict", found)
        assert f"{victim}/chat" in found()["message"]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (hostile(auth="auth: {secretRef: {name: key, namespace: VICTIM}}"), "namespace"),
        (policy("targetNamespace: VICTIM"), "targetNamespace"),
        (hostile(url="file:///etc/passwd"), "url"),
        (
            policy('transformation: {request: {set: [{name: x-key, value: "a\\r\\nx-admin: yes"}]}}'),
            "write the value on one line",
        ),
    ],
    ids=["someone else's Secret", "someone else's namespace", "a file", "a header in a header"],
)
def test_the_api_server_does_not_take_it(
    cluster: Cluster, namespace: str, victim: str, document: str, said: str
) -> None:
    text = document.replace("VICTIM", victim)
    assert said in cluster.refused("apply", "--server-side", "-n", namespace, "-f", "-", input=text)
