"""The operator on a real API server: statuses that are true, whoever dies meanwhile."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

import controllers
import processes
import pytest
import yaml
from cluster.access import Cluster
from controllers import Install, metric, ready, reasons, until
from processes import UPSTREAM_KEY, Process

BACKEND = """
apiVersion: tidegate.dev/v1alpha1
kind: Backend
metadata: {name: voice}
spec:
  providers:
  - name: openai
    openai: {}
    auth: {secretRef: {name: openai-secret}}
  expose: {}
"""
POLICY = """
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {name: open}
spec:
  targetRefs: [{group: tidegate.dev, kind: Backend, name: voice}]
  authentication: {mode: None}
"""
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "openai-secret"},
    "stringData": {"Authorization": UPSTREAM_KEY},
}


@pytest.fixture(scope="module")
def install(cluster: Cluster, tidegate_crds: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Install]:
    with cluster.namespace("install") as namespace:
        install = Install(cluster, namespace, tmp_path_factory.mktemp("install"))
        install.prepare()
        yield install
        install.end()


@pytest.fixture
def controller(install: Install) -> Process:
    """The replica that leads."""
    return install.leader()


def apply(cluster: Cluster, namespace: str, *documents: object) -> None:
    texts = [each if isinstance(each, str) else json.dumps(each) for each in documents]
    cluster.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", input="\n---\n".join(texts))


def backend_says(cluster: Cluster, namespace: str, name: str = "voice", **expected: str) -> None:
    """Wait until the conditions are these."""

    def found() -> dict[str, str]:
        return {each: said for each, said in reasons(cluster, namespace, name).items() if each in expected}

    until(lambda: found() == expected, found)


@pytest.mark.usefixtures("controller")
def test_statuses_say_what_is_missing(cluster: Cluster, namespace: str) -> None:
    apply(cluster, namespace, BACKEND)
    backend_says(
        cluster,
        namespace,
        Accepted="True Accepted",
        ResolvedRefs="False SecretNotFound",
        Authenticated="False NoPolicy",
        Programmed="False NoGateways",
        Ready="False NotReady",
    )
    apply(cluster, namespace, POLICY, SECRET)
    backend_says(cluster, namespace, ResolvedRefs="True ResolvedRefs", Authenticated="True Anonymous")
    policy = reasons(cluster, namespace, "open", "tgp")
    assert policy == {
        "Accepted": "True Accepted",
        "Enforced": "True Enforced",
        "Programmed": "False NoGateways",
    }
    cluster.kubectl("delete", "secret", "-n", namespace, "openai-secret")
    backend_says(cluster, namespace, ResolvedRefs="False SecretNotFound")
    apply(cluster, namespace, SECRET)
    backend_says(cluster, namespace, ResolvedRefs="True ResolvedRefs")
    cluster.kubectl("delete", "tgp", "-n", namespace, "open")
    backend_says(cluster, namespace, Authenticated="False NoPolicy")


def test_no_key_is_said(controller: Process) -> None:
    assert UPSTREAM_KEY not in controller.text()
    assert UPSTREAM_KEY not in processes.fetch(f"http://{controller.ports['admin']}/metrics")


@pytest.mark.usefixtures("controller")
def test_events_tell_of_turns(cluster: Cluster, namespace: str) -> None:
    apply(cluster, namespace, BACKEND)

    def events() -> list[str]:
        return cluster.kubectl("get", "events", "-n", namespace, "-o", "jsonpath={.items[*].reason}").split()

    until(lambda: events() == ["NotReady"], events)


def test_what_is_said_already_is_not_written_again(
    cluster: Cluster, install: Install, controller: Process, namespace: str
) -> None:
    apply(cluster, namespace, BACKEND, POLICY, SECRET)
    backend_says(cluster, namespace, ResolvedRefs="True ResolvedRefs", Programmed="False NoGateways")
    until(lambda: "Programmed" in reasons(cluster, namespace, "open", "tgp"))

    def versions() -> list[str]:
        listed = cluster.kubectl(
            "get", "tgb,tgp", "-n", namespace, "-o", "jsonpath={.items[*].metadata.resourceVersion}"
        )
        return listed.split()

    before = versions()
    cluster.kubectl("label", "secret", "-n", namespace, "openai-secret", "seen=yes")
    controller.stop()
    second = install.leader()
    apply(cluster, namespace, BACKEND.replace("voice", "later"))  # which says that it has written all that it wanted
    backend_says(cluster, namespace, "later", Accepted="True Accepted")
    assert [each for each in versions() if each in before] == before
    assert metric(second, 'tidegate_controller_api_failures_total{for="status"}') == 0


def test_a_thousand_edits_are_few_tables(cluster: Cluster, controller: Process, namespace: str) -> None:
    apply(cluster, namespace, BACKEND, SECRET)
    backend_says(cluster, namespace, ResolvedRefs="True ResolvedRefs")
    before = metric(controller, "tidegate_controller_publications_total")
    generation = edit(cluster, f"/apis/tidegate.dev/v1alpha1/namespaces/{namespace}/backends/voice", 1000)

    def observed() -> object:
        return controllers.conditions(cluster, namespace, "voice")["Accepted"]["observedGeneration"]

    until(lambda: observed() == generation, observed)
    assert metric(controller, "tidegate_controller_publications_total") - before < 200


def edit(cluster: Cluster, path: str, times: int) -> int:
    """Change an object's spec so often, as fast as the API server takes it; its generation then."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    user, server = config["users"][0]["user"], config["clusters"][0]["cluster"]
    context = ssl.create_default_context(cafile=server["certificate-authority"])
    context.load_cert_chain(user["client-certificate"], user["client-key"])
    connection = HTTPSConnection(urlsplit(server["server"]).netloc, context=context, timeout=60)
    generation = 0
    for number in range(times):
        patch = json.dumps({"spec": {"expose": {"hostnames": [f"v{number}.example.com"]}}})
        connection.request("PATCH", path, patch, {"Content-Type": "application/merge-patch+json"})
        answer = connection.getresponse()
        body = json.loads(answer.read())
        assert answer.status == 200, body
        generation = body["metadata"]["generation"]
    connection.close()
    return generation


def test_another_replica_takes_over(cluster: Cluster, install: Install, controller: Process, namespace: str) -> None:
    heir = install.controller("heir")
    assert metric(heir, "tidegate_controller_leader") == 0
    controller.kill()
    apply(cluster, namespace, BACKEND)
    backend_says(cluster, namespace, Accepted="True Accepted")
    assert install.holder() == "heir"
    # Told to end, it gives the Lease away, and nobody has to wait until it has run out.
    last = install.controller("last")
    until(lambda: ready(last))
    assert heir.stop() == 0
    assert '"event":"Lease released"' in heir.text()
    until(lambda: install.holder() == "last", install.holder)


def test_a_kubeconfig_that_is_none(install: Install, tmp_path: Path) -> None:
    missing = tmp_path / "nothing"
    command = [processes.TIDEGATE, "controller", "--config", install.settings, "--kubeconfig", missing]
    process = processes.start("wrong", command, tmp_path)
    assert process.ended() == 3
    assert (
        process.text() == f"tidegate: no API server is known: there is no {missing}; name another with --kubeconfig.\n"
    )
