"""The charts on an API server: what it takes, what an install may do, and what is left when it is gone.

An API server of their own: they delete CRDs, and with these everybody's Backends. It has no node: pods stay pending.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import helm
import pytest
import test_charts
import yaml
from cluster.access import Failed
from cluster.control_plane import ControlPlane
from helm import CHART, CRDS_CHART, NAMESPACE

CONTROLLER = f"system:serviceaccount:{NAMESPACE}:tidegate-controller"
PATIENCE_S = 60.0
ANY = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
POD_MONITORS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "podmonitors.monitoring.coreos.com"},
    "spec": {
        "group": "monitoring.coreos.com",
        "scope": "Namespaced",
        "names": {"kind": "PodMonitor", "plural": "podmonitors"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": ANY}}],
    },
}
"""A stand-in for the Prometheus operator's: only its name is true."""
BACKEND = """
apiVersion: tidegate.dev/v1alpha1
kind: Backend
metadata: {name: voice, namespace: default}
spec: {providers: [{name: openai, openai: {}}]}
"""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("charts") / "plane") as plane:
        for name in (NAMESPACE, "voice", "search", "restricted"):
            plane.kubectl("create", "namespace", name)
            plane.kubectl("wait", "--for=create", "-n", name, "serviceaccount/default", f"--timeout={PATIENCE_S:g}s")
        plane.kubectl("label", "namespace", "restricted", "pod-security.kubernetes.io/enforce=restricted")
        plane.apply(POD_MONITORS)
        plane.await_crds("podmonitors.monitoring.coreos.com")
        yield plane


def until(said: Callable[[], object], what: Callable[[], object]) -> None:
    """Wait until it is so. Fails with `what` where that takes too long."""
    deadline = time.monotonic() + PATIENCE_S
    while not said():
        assert time.monotonic() < deadline, f"after {PATIENCE_S:g} s: {what()}"
        time.sleep(0.2)


# -- what the API server takes


@pytest.mark.parametrize("name", test_charts.NAMES)
def test_every_manifest_is_taken(plane: ControlPlane, name: str) -> None:
    manifests = test_charts.rendered(name)
    taken = plane.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", input=manifests)
    assert taken.count("serverside-applied (server dry run)") == len(helm.parsed(manifests))


@pytest.mark.parametrize("name", test_charts.NAMES)
def test_every_pod_may_run_where_the_level_is_restricted(plane: ControlPlane, name: str) -> None:
    for component, spec in test_charts.pods(helm.parsed(test_charts.rendered(name))).items():
        spec = {key: value for key, value in spec.items() if key != "priorityClassName"}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": component, "namespace": "restricted"},
            "spec": {**spec, "serviceAccountName": "default"},
        }
        plane.kubectl("create", "--dry-run=server", "-f", "-", input=json.dumps(pod))


# -- a life: install, upgrade with a change of CRDs, rollback, uninstall


def install(plane: ControlPlane, *arguments: str | Path) -> str:
    return plane.helm("install", "tidegate", CHART, "--namespace", NAMESPACE, *arguments)


def kinds(plane: ControlPlane) -> set[str]:
    """What can be stored, but for what comes and goes by itself."""
    passing = {"events", "events.events.k8s.io", "leases.coordination.k8s.io", "componentstatuses"}
    return {*plane.kubectl("api-resources", "--verbs=list", "-o", "name").split()} - passing


def objects(plane: ControlPlane, of: set[str]) -> set[str]:
    """All that is stored of these kinds, and the Leases of the install's namespace."""
    each = "jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{'\\n'}{end}"
    listed = plane.kubectl("get", ",".join(sorted(of)), "-A", "--ignore-not-found", "-o", each)
    leases = plane.kubectl("get", "leases", "-n", NAMESPACE, "-o", "name")
    return {*listed.splitlines(), *leases.splitlines()}


def newer(chart: Path, folder: Path) -> Path:
    """The chart of CRDs as a later version might be: Backends have one more field."""
    later = shutil.copytree(chart, folder / "later")
    about = yaml.safe_load((later / "Chart.yaml").read_text())
    (later / "Chart.yaml").write_text(yaml.safe_dump(about | {"version": "0.2.0"}))
    crd = later / "templates" / "backends.yaml"
    text = crd.read_text()
    assert text.count("              providers:\n") == 1
    field = "              note: {type: string}\n"
    crd.write_text(text.replace("              providers:\n", f"{field}              providers:\n"))
    return later


def note(plane: ControlPlane) -> str:
    """Write the new field, and say what is stored of it."""
    plane.kubectl("patch", "tgb/voice", "--type=merge", "-p", '{"spec":{"note":"new"}}', "--warnings-as-errors=false")
    return plane.kubectl("get", "tgb/voice", "-o", "jsonpath={.spec.note}")


def test_install_upgrade_rollback_and_uninstall_leave_nothing(plane: ControlPlane, tmp_path: Path) -> None:
    stored = kinds(plane)
    before = objects(plane, stored)
    first = install(plane, "--dry-run=server").partition("NOTES:")[2].partition("is coming up")[0]
    assert "helm install tidegate-crds charts/tidegate-crds" in first
    plane.helm("install", "tidegate-crds", CRDS_CHART, "--namespace", NAMESPACE, "--set", "keep=false")
    plane.await_crds("backends.tidegate.dev", "policies.tidegate.dev")
    notes = install(plane).partition("NOTES:")[2]
    assert "http://tidegate.tidegate-system.svc/ai/voice/v1" in notes
    assert "tidegate-crds" not in notes
    plane.apply(BACKEND)
    assert note(plane) == ""

    plane.helm("upgrade", "tidegate-crds", newer(CRDS_CHART, tmp_path), "--namespace", NAMESPACE, "--reuse-values")
    until(lambda: note(plane) == "new", lambda: "the new field is not stored")
    values = test_charts.FOLDER / "production.values.yaml"
    plane.helm("upgrade", "tidegate", CHART, "--namespace", NAMESPACE, "--values", values)
    assert "tidegate-dataplane" in plane.kubectl("get", "hpa", "-n", NAMESPACE, "-o", "name")

    plane.helm("rollback", "tidegate", "1", "--namespace", NAMESPACE)
    plane.helm("rollback", "tidegate-crds", "1", "--namespace", NAMESPACE)
    assert plane.kubectl("get", "hpa", "-n", NAMESPACE, "-o", "name") == ""
    until(lambda: note(plane) == "", lambda: "the new field is still there")

    made_by_the_controller(plane)
    plane.helm("uninstall", "tidegate", "--namespace", NAMESPACE)
    assert "voice" in plane.kubectl("get", "tgb")
    plane.helm("uninstall", "tidegate-crds", "--namespace", NAMESPACE)
    until(lambda: objects(plane, stored) == before, lambda: objects(plane, stored) ^ before)


def made_by_the_controller(plane: ControlPlane) -> None:
    """What a running one would have: all of it owned by the Lease."""
    lease = plane.get("lease", "tidegate-controller", "-n", NAMESPACE)
    owner = {
        "apiVersion": lease["apiVersion"],
        "kind": lease["kind"],
        "name": "tidegate-controller",
        "uid": lease["metadata"]["uid"],
    }
    port = {"ports": [{"port": 80}]}
    for kind, name, body in (
        ("Secret", "tidegate-ca", {}),
        ("ConfigMap", "tidegate-ca", {}),
        ("Secret", "tidegate-affinity", {}),
        ("Secret", "tidegate-boot", {}),
        ("Service", "tidegate-gw-0a1b2c3d", {"spec": port}),
    ):
        metadata = {"name": name, "namespace": NAMESPACE, "ownerReferences": [owner]}
        plane.apply({"apiVersion": "v1", "kind": kind, "metadata": metadata, **body})


def test_an_upgrade_keeps_what_the_controller_wrote_on_its_lease(plane: ControlPlane) -> None:
    install(plane)
    try:
        held = {"spec": {"holderIdentity": "a", "leaseDurationSeconds": 15}, "metadata": {"annotations": {"x": "1"}}}
        patch = ("patch", "lease", "tidegate-controller", "-n", NAMESPACE, "--type=merge", "-p", json.dumps(held))
        plane.kubectl(*patch)
        plane.helm("upgrade", "tidegate", CHART, "--namespace", NAMESPACE, "--set", "controller.replicas=1")
        lease = plane.get("lease", "tidegate-controller", "-n", NAMESPACE)
        assert lease["spec"]["holderIdentity"] == "a"
        assert lease["metadata"]["annotations"]["x"] == "1"
    finally:
        plane.helm("uninstall", "tidegate", "--namespace", NAMESPACE)


def test_crds_outlive_their_chart_and_are_taken_up_again(plane: ControlPlane) -> None:
    arguments = ("tidegate-crds", "--namespace", NAMESPACE)
    plane.helm("install", "tidegate-crds", CRDS_CHART, "--namespace", NAMESPACE)
    plane.await_crds("backends.tidegate.dev")
    plane.apply(BACKEND)
    plane.helm("uninstall", *arguments)
    assert "voice" in plane.kubectl("get", "tgb", "-o", "name")
    plane.helm("install", "tidegate-crds", CRDS_CHART, "--namespace", NAMESPACE, "--set", "keep=false")
    assert "voice" in plane.kubectl("get", "tgb", "-o", "name")
    plane.helm("uninstall", *arguments)
    plane.kubectl("wait", "--for=delete", "crd/backends.tidegate.dev", f"--timeout={PATIENCE_S:g}s")


# -- one install serves a cluster


def test_a_second_install_is_refused(installed: ControlPlane) -> None:
    """Whatever its name, and wherever it would be; and nothing of it is left."""
    for release, namespace in (("second", "voice"), ("tidegate", "search")):
        with pytest.raises(Failed, match=r'ClusterRole "tidegate-.*" .*exists and cannot be imported'):
            installed.helm("install", release, CHART, "--namespace", namespace)
        assert not installed.kubectl("get", "deployments,services", "-n", namespace, "-o", "name")


# -- rights


@pytest.fixture(scope="module")
def installed(plane: ControlPlane) -> Iterator[ControlPlane]:
    install(plane, "--set", "secrets.namespaces={voice}")
    yield plane
    plane.helm("uninstall", "tidegate", "--namespace", NAMESPACE)


def may(plane: ControlPlane, verb: str, what: str, namespace: str = "", user: str = CONTROLLER) -> bool:
    """May this user do that to `resource[.group][/subresource][:name]`, of a namespace or ("") of all?"""
    asked = attributes(what) | {"verb": verb, "namespace": namespace}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": ["system:serviceaccounts"], "resourceAttributes": asked},
    }
    answer = plane.kubectl("create", "-o", "json", "-f", "-", input=json.dumps(review))
    return bool(json.loads(answer)["status"]["allowed"])


def attributes(what: str) -> dict[str, str]:
    path, _, name = what.partition(":")
    plural, _, part = path.partition("/")
    resource, _, group = plural.partition(".")
    return {"resource": resource, "group": group, "subresource": part, "name": name}


@pytest.mark.parametrize(
    ("verb", "what", "namespace"),
    [
        ("watch", "backends.tidegate.dev", ""),
        ("patch", "policies.tidegate.dev/status", "voice"),
        ("list", "httproutes.gateway.networking.k8s.io", ""),
        ("patch", "httproutes.gateway.networking.k8s.io/status", "voice"),
        ("watch", "endpointslices.discovery.k8s.io", "search"),
        ("create", "tokenreviews.authentication.k8s.io", ""),
        ("create", "events.events.k8s.io", "voice"),
        ("list", "secrets", "voice"),
        ("update", "leases.coordination.k8s.io:tidegate-controller", NAMESPACE),
        ("patch", "secrets:tidegate-boot-7", NAMESPACE),
        ("get", "secrets:tidegate-affinity", NAMESPACE),
        ("patch", "configmaps:tidegate-ca", NAMESPACE),
        ("delete", "services", NAMESPACE),
        ("watch", "pods", NAMESPACE),
    ],
)
def test_the_controller_may(installed: ControlPlane, verb: str, what: str, namespace: str) -> None:
    assert may(installed, verb, what, namespace)


@pytest.mark.parametrize(
    ("verb", "what", "namespace"),
    [
        ("list", "secrets", ""),
        ("list", "secrets", NAMESPACE),
        ("get", "secrets:openai", "search"),
        ("get", "secrets:other", NAMESPACE),
        ("delete", "secrets:tidegate-ca", NAMESPACE),
        ("patch", "secrets:tidegate-affinity", NAMESPACE),
        ("update", "secrets:openai", "voice"),
        ("create", "secrets", "voice"),
        ("update", "backends.tidegate.dev", "voice"),
        ("patch", "backends.tidegate.dev", "voice"),
        ("update", "gatewayclasses.gateway.networking.k8s.io", ""),
        ("delete", "gateways.gateway.networking.k8s.io", "voice"),
        ("create", "services", "voice"),
        ("list", "pods", "voice"),
        ("create", "pods", NAMESPACE),
        ("create", "serviceaccounts/token", NAMESPACE),
        ("update", "leases.coordination.k8s.io:other", NAMESPACE),
        ("get", "configmaps:tidegate-controller", NAMESPACE),
        ("create", "rolebindings.rbac.authorization.k8s.io", NAMESPACE),
        ("impersonate", "users", ""),
    ],
)
def test_the_controller_may_not(installed: ControlPlane, verb: str, what: str, namespace: str) -> None:
    assert not may(installed, verb, what, namespace)


def test_gateways_may_nothing(installed: ControlPlane) -> None:
    account = f"system:serviceaccount:{NAMESPACE}:tidegate-dataplane"
    for verb, what in (("get", "secrets:tidegate-boot"), ("list", "backends.tidegate.dev"), ("get", "configmaps")):
        assert not may(installed, verb, what, NAMESPACE, user=account)


def test_a_namespace_opts_in_by_the_command_of_the_condition(installed: ControlPlane) -> None:
    """The text of the condition SecretAccessDenied, whose ClusterRole and ServiceAccount the chart must have."""
    command = (
        "create", "rolebinding", "tidegate-secrets", "--clusterrole=tidegate-secrets",
        f"--serviceaccount={NAMESPACE}:tidegate-controller", "-n", "search",
    )  # fmt: skip
    installed.kubectl(*command)
    assert may(installed, "watch", "secrets", "search")
    installed.kubectl("delete", "rolebinding", "tidegate-secrets", "-n", "search")
    assert not may(installed, "watch", "secrets", "search")
