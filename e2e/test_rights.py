"""The chart's rights are what the controller needs: it lives by them alone, and an API server's audit log says which it
used. One that is missing shows as a refusal, one that is of no use as a rule that no request needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import helm
import processes
import pytest
import yaml
from cluster.control_plane import ControlPlane
from controllers import Install, reasons, until
from helm import CHART, CRDS_CHART, NAMESPACE
from processes import TIDEGATE, UPSTREAM_KEY

CONTROLLER = f"system:serviceaccount:{NAMESPACE}:tidegate-controller"
RARE = {
    ("get", "backends"),
    ("get", "policies"),
    ("get", "gateways"),
    ("get", "httproutes"),
    ("get", "gatewayclasses"),
}
"""Used when somebody else wrote a status in between."""

OBJECTS = """
apiVersion: v1
kind: Secret
metadata: {name: openai-key, namespace: ai}
stringData: {Authorization: %s}
---
apiVersion: v1
kind: Service
metadata: {name: vllm, namespace: ai}
spec: {ports: [{port: 8000}]}
---
apiVersion: tidegate.dev/v1alpha1
kind: Backend
metadata: {name: voice, namespace: ai}
spec:
  providers:
  - {name: openai, openai: {}, auth: {secretRef: {name: openai-key}}}
  - {name: vllm, custom: {service: {name: vllm, port: 8000}}}
  expose: {}
---
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {name: open, namespace: ai}
spec:
  targetRefs: [{group: tidegate.dev, kind: Backend, name: voice}]
  authentication: {mode: None}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: ai}
spec: {gatewayClassName: tidegate, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: voice, namespace: ai}
spec:
  parentRefs: [{name: public}]
  rules: [{backendRefs: [{group: tidegate.dev, kind: Backend, name: voice}]}]
"""


class Audited(ControlPlane):
    """It notes who asked for what."""

    def _api_server_options(self) -> list[str]:
        policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}
        policy["omitStages"] = ["RequestReceived"]
        (self.folder / "audit.yaml").write_text(yaml.safe_dump(policy))
        files = (f"--audit-policy-file={self.folder / 'audit.yaml'}", f"--audit-log-path={self.folder / 'audit.log'}")
        return [*super()._api_server_options(), *files]

    def asked(self, user: str) -> list[dict[str, object]]:
        lines = (self.folder / "audit.log").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["user"]["username"] == user]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    with Audited(tmp_path_factory.mktemp("rights") / "plane") as plane:
        for name in (NAMESPACE, "ai"):
            plane.kubectl("create", "namespace", name)
            plane.kubectl("wait", "--for=create", "-n", name, "serviceaccount/default", "--timeout=60s")
        plane.helm("install", "tidegate-crds", CRDS_CHART, "--namespace", NAMESPACE)
        plane.install_gateway_api()
        plane.helm("install", "tidegate", CHART, "--namespace", NAMESPACE, "--set", "secrets.namespaces={ai}")
        yield plane


@pytest.fixture(scope="module")
def lived(plane: Audited, tmp_path_factory: pytest.TempPathFactory) -> Audited:
    """A controller, as the chart's account, has done all that it does; and a gateway has been served by it."""
    install = Install(plane, NAMESPACE, tmp_path_factory.mktemp("install"))
    told = plane.kubectl("get", "configmap", "tidegate-controller", "-n", NAMESPACE, "-o", "json")
    install.settings.write_text(json.loads(told)["data"]["settings.yaml"])
    account = plane.service_account(NAMESPACE, "tidegate-controller")
    controller = install.controller("controller", account)
    try:
        until(lambda: install.holder() == "controller", controller.text)
        with gateway(install, controller):
            plane.kubectl("apply", "-f", "-", input=OBJECTS % UPSTREAM_KEY)
            until(lambda: reasons(plane, "ai", "voice").get("Programmed") == "True Programmed", controller.text)
            until(lambda: services(plane), controller.text)
            until(lambda: "tidegate-boot" in names(plane, "secret"), controller.text)
            until(lambda: status(plane, "httproute", "voice").get("parents"), controller.text)
            plane.kubectl("delete", "gateway", "public", "-n", "ai")
            until(lambda: not services(plane), controller.text)
            plane.kubectl("delete", "lease", "tidegate-controller", "-n", NAMESPACE)
            until(lambda: "tidegate-controller" in names(plane, "lease"), controller.text)
    finally:
        install.end()
    return plane


class gateway:  # noqa: N801
    """A gateway as a process, with the token of a pod."""

    def __init__(self, install: Install, controller: processes.Process) -> None:
        self.install, self.controller = install, controller

    def __enter__(self) -> None:
        folder = self.install.folder
        token = self.install.pod("tidegate-dataplane-0")
        until(lambda: "tidegate-ca" in names(self.install.cluster, "configmap"), self.controller.text)
        ca = self.install.cluster.get("configmap", "tidegate-ca", "-n", NAMESPACE)["data"]["ca.crt"]
        (folder / "ca.crt").write_text(ca)
        command = [TIDEGATE, "dataplane", "--controller", self.controller.ports["tables"].partition("/")[0]]
        command += ["--controller-ca", folder / "ca.crt", "--token-file", token, "--pod", "tidegate-dataplane-0"]
        command += ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", *processes.AT_ONCE]
        self.process = processes.start("dataplane", command, folder)

    def __exit__(self, *_: object) -> None:
        self.process.stop()


def names(plane: ControlPlane, kind: str) -> list[str]:
    found = plane.kubectl("get", kind, "-n", NAMESPACE, "-o", "jsonpath={.items[*].metadata.name}")
    return found.split()


def services(plane: ControlPlane) -> list[str]:
    return [name for name in names(plane, "service") if name.startswith("tidegate-gw-")]


def status(plane: ControlPlane, kind: str, name: str) -> dict[str, object]:
    return plane.get(kind, name, "-n", "ai").get("status") or {}


def test_they_suffice(lived: Audited) -> None:
    refused = {
        (event["verb"], event["requestURI"].partition("?")[0])
        for event in lived.asked(CONTROLLER)
        if event["responseStatus"]["code"] == 403
    }
    assert refused == set()


def test_none_is_of_no_use(lived: Audited) -> None:
    """An object that is made by server-side apply takes the right to create it as well."""
    used = set()
    for event in lived.asked(CONTROLLER):
        if not (asked := event.get("objectRef")):
            continue
        what = "/".join(filter(None, [asked["resource"], asked.get("subresource")]))
        verbs = {event["verb"]} | ({"create"} if event["responseStatus"]["code"] == 201 else set())
        used |= {each for verb in verbs for each in ((verb, what), (verb, what, asked.get("namespace", "")))}
    assert sorted(granted() - used - RARE) == []


def granted() -> set[tuple[str, ...]]:
    """(verb, resource) of the chart's ClusterRole, (verb, resource, namespace) of what is for one namespace."""
    found: set[tuple[str, ...]] = set()
    for role in helm.parsed(helm.template()):
        if role["kind"] not in ("Role", "ClusterRole"):
            continue
        where = (NAMESPACE,) if role["kind"] == "Role" else ()
        where = ("ai",) if role["metadata"]["name"].endswith("-secrets") else where
        found |= {
            (verb, what, *where) for rule in role["rules"] for verb in rule["verbs"] for what in rule["resources"]
        }
    return found


def test_the_gateway_class_goes_with_the_release(lived: Audited) -> None:
    """It belongs to no namespace, as the ClusterRole that owns it."""
    role = lived.get("clusterrole", "tidegate-controller")["metadata"]
    (owner,) = lived.get("gatewayclass", "tidegate")["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("ClusterRole", "tidegate-controller", role["uid"])
