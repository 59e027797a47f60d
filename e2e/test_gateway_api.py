"""Gateway API on a real API server and through the gateway's real ports: from CRDs that come late to a listener that
goes while somebody talks there."""

from __future__ import annotations

import json
import socket
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import asking
import processes
import pytest
from asking import Answer
from cluster.access import Cluster
from cluster.control_plane import ControlPlane
from controllers import Install, until
from processes import UPSTREAM_KEY, Process
from providers import Provider, provider
from tenants import authority
from websockets.sync.client import connect

from controller.compile.gateway_statuses import FEATURES

Json = dict[str, object]
BACKENDS = """
apiVersion: v1
kind: Secret
metadata: {name: key}
stringData: {Authorization: %(key)s}
---
apiVersion: tidegate.dev/v1alpha1
kind: Backend
metadata: {name: one}
spec: {providers: [{name: p, custom: {}, url: "%(one)s"}], routes: {"*": Passthrough}}
---
apiVersion: tidegate.dev/v1alpha1
kind: Backend
metadata: {name: two}
spec: {providers: [{name: p, custom: {}, url: "%(two)s"}], routes: {"*": Passthrough}}
---
apiVersion: tidegate.dev/v1alpha1
kind: Backend
metadata: {name: voice}
spec: {providers: [{name: p, openai: {}, url: "%(simulator)s/v1", auth: {secretRef: {name: key}}}]}
---
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {name: open}
spec: {targetRefs: [{group: tidegate.dev, kind: Backend, name: voice}], authentication: {mode: None}}
"""


@dataclass
class Stand:
    plane: Cluster
    install: Install
    gateway: Process
    namespace: str
    other: str
    one: Provider
    two: Provider

    def apply(self, text: str, namespace: str = "") -> None:
        written = text.replace("$OTHER", self.other).replace("$NS", self.namespace)
        self.plane.kubectl("apply", "--server-side", "-n", namespace or self.namespace, "-f", "-", input=written)

    def gateway_of(self, listeners: str, name: str = "edge") -> None:
        self.apply(
            f"{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: {name}}}, "
            f"spec: {{gatewayClassName: tidegate, listeners: [{listeners}]}}}}"
        )

    def route(self, name: str, rules: str, parent: str = "name: edge", hosts: str = "", namespace: str = "") -> None:
        self.apply(
            f"{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: {name}}}, spec: "
            f"{{parentRefs: [{{{parent}}}], hostnames: [{hosts}], rules: [{rules}]}}}}",
            namespace,
        )

    def address(self, port: int = 80, name: str = "edge") -> str:
        return self.install.address_of(self.namespace, name, port)

    def ask(self, host: str = "a.test", path: str = "/x", port: int = 80, **more: str) -> Answer:
        return asking.ask(self.address(port), path, host=host, **more)  # type: ignore[arg-type]

    def serves(self, expected: str, host: str = "a.test", path: str = "/x", port: int = 80) -> None:
        """Wait until it does: a table is on its way."""

        def found() -> str:
            try:
                return str(self.ask(host, path, port))
            except OSError as error:
                return type(error).__name__

        until(lambda: found() == expected, found)

    def status(self, kind: str, name: str, namespace: str = "") -> Json:
        status = self.plane.get(kind, "-n", namespace or self.namespace, name).get("status") or {}
        assert isinstance(status, dict)
        return status

    def says(self, kind: str, name: str, part: str, expected: dict[str, str]) -> None:
        """Wait until conditions are so; `part`: "" of the whole, a listener's name, or "parents"."""

        def found() -> dict[str, str]:
            status = self.status(kind, name)
            if part == "parents":
                status = next(iter(status.get("parents", [])), {})  # type: ignore[call-overload]
            elif part:
                status = next((each for each in status.get("listeners", []) if each["name"] == part), {})  # type: ignore[attr-defined]
            every = status.get("conditions", [])
            said = {each["type"]: f"{each['status']} {each['reason']}" for each in every}  # type: ignore[attr-defined]
            return {name: word for name, word in said.items() if name in expected}

        until(lambda: found() == expected, found)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """An API server of its own, for what comes late must not be there from other tests."""
    folder = tmp_path_factory.mktemp("stand")
    with ExitStack() as stack:
        plane = stack.enter_context(ControlPlane(folder / "plane"))
        plane.install_crds()
        namespaces = [stack.enter_context(plane.namespace(each)) for each in ("install", "edge", "other")]
        install = Install(plane, namespaces[0], folder)
        install.prepare(
            gateways={"serviceType": "ClusterIP"},
            upstreams={"allow": [{"namespaces": {}, "networks": ["127.0.0.0/8"]}]},
        )
        stack.callback(install.end)
        replica = install.leader()
        simulator = processes.start_simulator(folder)
        stack.callback(simulator.stop)
        one, two = stack.enter_context(provider("one")), stack.enter_context(provider("two"))
        stand = Stand(plane, install, install.gateway("gateway-1", replica), namespaces[1], namespaces[2], one, two)
        words = {"key": UPSTREAM_KEY, "one": one.url, "two": two.url, "simulator": simulator.ports["url"]}
        for namespace in namespaces[1:]:
            stand.apply(BACKENDS % words, namespace)
        yield stand


HTTP = "{name: web, port: 80, protocol: HTTP}"
ANY = "{name: web, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}"
TO_ONE = "{backendRefs: [{group: tidegate.dev, kind: Backend, name: one}]}"
TO_TWO = TO_ONE.replace("one", "two")
SERVED = {"Accepted": "True Accepted", "ResolvedRefs": "True ResolvedRefs"}


def test_crds_that_come_late_are_taken_up(stand: Stand) -> None:
    """Without a restart: the class is made, accepted, and says what it can."""
    assert "gateways" not in stand.plane.kubectl("api-resources", "-o", "name")
    stand.plane.install_gateway_api()
    until(lambda: "tidegate" in stand.plane.kubectl("get", "gatewayclass", "-o", "jsonpath={.items[*].metadata.name}"))
    stand.plane.kubectl("wait", "--for=condition=Accepted", "gatewayclass/tidegate", "--timeout=60s")
    status = stand.status("gatewayclass", "tidegate")
    assert status["supportedFeatures"] == [{"name": each} for each in sorted(FEATURES)]


def test_a_gateway_is_served_and_says_where(stand: Stand) -> None:
    stand.gateway_of(HTTP)
    stand.route("all", TO_ONE)
    stand.says("gateway", "edge", "", {"Accepted": "True Accepted", "Programmed": "True Programmed"})
    said = {**SERVED, "Programmed": "True Programmed", "Conflicted": "False NoConflicts"}
    stand.says("gateway", "edge", "web", said)
    stand.says("httproute", "all", "parents", SERVED)
    stand.serves("200 one")
    service = services(stand)["edge"]
    status = stand.status("gateway", "edge")
    assert status["addresses"] == [{"type": "IPAddress", "value": service["spec"]["clusterIP"]}]
    (listener,) = status["listeners"]  # type: ignore[misc]
    assert listener["supportedKinds"] == [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"}]
    until(lambda: stand.status("gateway", "edge")["listeners"][0]["attachedRoutes"] == 1)  # type: ignore[index]


def services(stand: Stand) -> dict[str, dict[str, dict[str, object]]]:
    """Those of Gateways, by the Gateway's name."""
    items = stand.plane.get("services", "-n", stand.install.namespace)["items"]
    noted = {each["metadata"].get("annotations", {}).get("tidegate.dev/gateway", ""): each for each in items}  # type: ignore[attr-defined]
    return {path.partition("/")[2]: each for path, each in noted.items() if path}


def test_services_are_made_changed_and_deleted(stand: Stand) -> None:
    def ports(name: str) -> list[object]:
        found = services(stand).get(name)
        return [each["port"] for each in found["spec"]["ports"]] if found else []  # type: ignore[attr-defined]

    stand.gateway_of(HTTP, "brief")
    until(lambda: ports("brief") == [80])
    before = stand.address(80, "brief")
    stand.gateway_of(f"{HTTP}, {{name: more, port: 8080, protocol: HTTP}}", "brief")
    until(lambda: ports("brief") == [80, 8080], lambda: ports("brief"))
    assert stand.address(80, "brief") == before  # its clients are not moved
    stand.plane.kubectl("delete", "gateway", "-n", stand.namespace, "brief")
    until(lambda: "brief" not in services(stand))
    port = int(before.partition(":")[2])
    until(lambda: not processes.listens(port))


def test_routes_by_hostname_section_and_port(stand: Stand) -> None:
    stand.gateway_of(
        "{name: a, port: 80, protocol: HTTP, hostname: a.test}, "
        "{name: all, port: 80, protocol: HTTP, hostname: '*.test'}, {name: high, port: 8080, protocol: HTTP}"
    )
    stand.route("all", TO_ONE, "name: edge, sectionName: all")
    stand.route("high", TO_TWO, "name: edge, port: 8080")
    stand.serves("200 one", "b.test")
    stand.serves("200 two", "a.test", port=8080)
    stand.serves("404 unknown_host", "a.test")  # the narrower listener has the host, and no route
    stand.route("named", TO_TWO, "name: edge, sectionName: a", "a.test")
    stand.serves("200 two", "a.test")
    assert str(stand.ask("b.test")) == "200 one"
    assert str(stand.ask("elsewhere.example")) == "404 unknown_host"
    stand.plane.kubectl("delete", "httproute", "-n", stand.namespace, "high", "named")


def test_two_listeners_with_tls_are_told_apart_by_sni(stand: Stand, tmp_path: Path) -> None:
    contexts: dict[str, ssl.SSLContext] = {}
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        secret = authority(folder, f"{name}.test")
        secret["metadata"] = {"name": f"cert-{name}"}
        stand.apply(json.dumps(secret))
        contexts[name] = ssl.create_default_context(cafile=str(folder / "tls" / "ca.crt"))
    listeners = [
        f"{{name: {name}, port: 443, protocol: HTTPS, hostname: {name}.test, "
        f"tls: {{certificateRefs: [{{name: cert-{name}}}]}}}}"
        for name in ("a", "b")
    ]
    stand.gateway_of(", ".join(listeners))
    stand.route("all", TO_ONE, hosts="a.test")
    stand.route("b", TO_TWO, hosts="b.test")
    stand.says("gateway", "edge", "b", {**SERVED, "Programmed": "True Programmed"})
    address = stand.address(443)
    for name, expected in (("a", "200 one"), ("b", "200 two")):

        def found(name: str = name) -> str:
            try:
                return str(asking.ask(address, "/x", host=f"{name}.test", tls=contexts[name]))
            except OSError as error:
                return str(error)

        until(lambda found=found, expected=expected: found() == expected, found)
    with pytest.raises(ssl.SSLCertVerificationError):
        asking.ask(address, "/x", host="b.test", tls=contexts["a"])
    stand.plane.kubectl("delete", "httproute", "-n", stand.namespace, "b")


def test_routes_and_backends_of_another_namespace(stand: Stand) -> None:
    stand.gateway_of(HTTP)
    stand.route("all", TO_ONE)
    stand.route("guest", TO_TWO, f"name: edge, namespace: {stand.namespace}", "guest.test", stand.other)

    def accepted() -> str:
        parents = stand.status("httproute", "guest", stand.other).get("parents") or [{"conditions": []}]
        said = {each["type"]: each["reason"] for each in parents[0]["conditions"]}  # type: ignore[index]
        return str(said.get("Accepted"))

    until(lambda: accepted() == "NotAllowedByListeners", accepted)
    stand.gateway_of(ANY)
    until(lambda: accepted() == "Accepted", accepted)
    stand.serves("200 two", "guest.test")
    stand.plane.kubectl("delete", "httproute", "-n", stand.other, "guest")
    to_other = "{backendRefs: [{group: tidegate.dev, kind: Backend, name: two, namespace: $OTHER}]}"
    stand.route("abroad", to_other, hosts="abroad.test")
    stand.says("httproute", "abroad", "parents", {**SERVED, "ResolvedRefs": "False RefNotPermitted"})
    stand.serves("500 configuration_error", "abroad.test")
    grant = (
        "{apiVersion: gateway.networking.k8s.io/v1beta1, kind: ReferenceGrant, metadata: {name: g}, spec: {from: "
        "[{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: $NS}], "
        "to: [{group: tidegate.dev, kind: Backend}]}}"
    )
    stand.apply(grant, stand.other)
    stand.serves("200 two", "abroad.test")
    stand.plane.kubectl("delete", "referencegrant", "-n", stand.other, "g")
    stand.serves("500 configuration_error", "abroad.test")
    stand.plane.kubectl("delete", "httproute", "-n", stand.namespace, "abroad")


def test_filters_and_redirects(stand: Stand) -> None:
    stand.gateway_of(HTTP)
    changes = (
        "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-set, value: yes-it-is}], "
        "remove: [x-gone]}}, "
        "{type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: x-added, value: here}]}}"
    )
    redirect = (
        "{matches: [{path: {type: PathPrefix, value: /old}}], filters: [{type: RequestRedirect, requestRedirect: "
        "{hostname: b.test, statusCode: 301, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}]}"
    )
    stand.route("all", f"{TO_ONE[:-1]}, filters: [{changes}]}}, {redirect}")
    stand.serves("301", path="/old/x")
    moved = stand.ask(path="/old/x?q=1")
    assert moved.headers["location"] == "http://b.test/new/x?q=1"
    answer = stand.ask(**{"x-gone": "1"})
    assert answer.headers["x-added"] == "here"
    assert stand.one.headers["x-set"] == "yes-it-is"
    assert "x-gone" not in stand.one.headers


def test_a_share_that_leads_nowhere_answers_500(stand: Stand) -> None:
    """And the others go on: by their weights."""
    stand.gateway_of(HTTP)
    refs = ", ".join(f"{{group: tidegate.dev, kind: Backend, name: {name}, weight: 1}}" for name in ("one", "absent"))
    stand.route("all", f"{{backendRefs: [{refs}]}}")
    stand.says("httproute", "all", "parents", {**SERVED, "ResolvedRefs": "False BackendNotFound"})
    stand.serves("500 configuration_error")
    found = Counter(str(stand.ask()) for _ in range(100))
    assert found.keys() == {"200 one", "500 configuration_error"}
    assert 20 < found["200 one"] < 80  # six times the deviation


def test_a_listener_goes_while_somebody_talks_there(stand: Stand) -> None:
    """The session lives on; nobody new comes in."""
    stand.gateway_of(f"{HTTP}, {{name: calls, port: 8080, protocol: HTTP}}")
    stand.route("all", TO_ONE)
    to_voice = "{backendRefs: [{group: tidegate.dev, kind: Backend, name: voice}]}"
    stand.route("calls", to_voice, "name: edge, sectionName: calls", "talk.test")
    stand.serves("200", "talk.test", asking.COMPLETIONS, 8080)
    host, port = stand.address(8080).split(":")
    sock = socket.create_connection((host, int(port)), timeout=20)
    with connect("ws://talk.test/v1/realtime?model=gpt-realtime", sock=sock) as session:
        assert json.loads(session.recv(20))["type"] == "session.created"
        stand.gateway_of(HTTP)
        stand.says("httproute", "calls", "parents", {"Accepted": "False NoMatchingParent"})
        until(lambda: not processes.listens(int(port)), lambda: "it still listens")
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}
        session.send(json.dumps({"type": "conversation.item.create", "item": item}))
        session.send(json.dumps({"type": "response.create", "response": {"output_modalities": ["text"]}}))
        types: list[str] = []
        while "response.done" not in types:
            types.append(json.loads(session.recv(20))["type"])
    stand.serves("200 one")
    stand.plane.kubectl("delete", "httproute", "-n", stand.namespace, "calls")


BAD = {
    "a parent that has no such listener": (
        "name: edge, sectionName: absent",
        "",
        TO_ONE,
        {"Accepted": "False NoMatchingParent"},
    ),
    "a port that no listener has": ("name: edge, port: 81", "", TO_ONE, {"Accepted": "False NoMatchingParent"}),
    "a hostname that no listener has": (
        "name: edge",
        "z.example",
        TO_ONE,
        {"Accepted": "False NoMatchingListenerHostname"},
    ),
    "a kind that nobody knows": (
        "name: edge",
        "",
        "{backendRefs: [{group: a.test, kind: B, name: c}]}",
        {**SERVED, "ResolvedRefs": "False InvalidKind"},
    ),
    "a Service that is not there": (
        "name: edge",
        "",
        "{backendRefs: [{name: absent, port: 80}]}",
        {**SERVED, "ResolvedRefs": "False BackendNotFound"},
    ),
    "no backend at all": (
        "name: edge",
        "",
        "{backendRefs: []}",
        {"Accepted": "True Accepted", "ResolvedRefs": "False BackendNotFound"},
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_reasons_of_the_specification(stand: Stand, what: str) -> None:
    parent, hosts, rule, expected = BAD[what]
    stand.gateway_of("{name: web, port: 80, protocol: HTTP, hostname: '*.test'}")
    stand.route("bad", rule, parent, hosts)
    stand.says("httproute", "bad", "parents", expected)
    generation = stand.plane.get("httproute", "-n", stand.namespace, "bad")["metadata"]["generation"]  # type: ignore[index]
    (entry,) = stand.status("httproute", "bad")["parents"]  # type: ignore[misc]
    assert entry["controllerName"] == "tidegate.dev/controller"
    assert {each["observedGeneration"] for each in entry["conditions"]} == {generation}
    stand.plane.kubectl("delete", "httproute", "-n", stand.namespace, "bad")
