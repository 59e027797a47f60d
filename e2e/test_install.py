"""The whole of it on a real node: installed as docs/install.md says, called by an OpenAI SDK from a pod, replaced under
live sessions, its leader killed, served through a Gateway, and uninstalled without a trace.

The tests are one story, in this order. The provider is the simulator, whose ledger must equal what gateways counted.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import installs
import pytest
from cluster.access import Failed
from cluster.certificates import Authority
from cluster.node import CTR, Node
from cluster.programs import BIN
from installs import BASE, CALLER_KEY, GATEWAYS, NAMESPACE, PROVIDER, SYSTEM, Readings
from processes import ROOT

from tests.docs.pages import blocks

PATIENCE_S = 120.0
SESSIONS = 50
VALUES = """
upstreams: # the provider of these tests is in the cluster, and named by a url
  allow: [{namespaces: {matchLabels: {kubernetes.io/metadata.name: ai}}, networks: [10.96.0.0/16]}]
dataplane: # those that let their calls end are there beside the new ones, and the node is small
  resources: {requests: {cpu: 50m, memory: 64Mi}}
"""
LEFT = {
    f"ConfigMap {SYSTEM} kube-root-ca.crt",
    f"ServiceAccount {SYSTEM} default",
    f"Secret {SYSTEM} sh.helm.release.v1.tidegate-crds.v1",
}
"""What a namespace has, and the chart of the kinds."""


@dataclass
class Install:
    node: Node
    values: Path
    before: set[str]
    readings: Readings = field(init=False)

    def __post_init__(self) -> None:
        self.readings = Readings(self.node)

    def type(self, heading: str) -> str:
        """What docs/install.md has its reader type first under a heading; with our values."""
        page = ROOT / "docs" / "install.md"
        line = page.read_text().splitlines().index(heading)
        block = next(block for block in blocks(page) if block.line > line and block.words == ("cluster",))
        values = f" --values {self.values}" if "helm install tidegate " in block.text else ""
        return installs.typed(self.node, block.text.rstrip() + values)


@pytest.fixture(scope="module")
def install(whole_node: Node, images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Install]:
    assert images
    whole_node.install_gateway_api()
    values = tmp_path_factory.mktemp("install") / "values.yaml"
    values.write_text(VALUES)
    installs.await_leavers(whole_node)
    found = Install(whole_node, values, installs.everything(whole_node))
    try:
        yield found
    finally:
        installs.sweep(whole_node)


def until(said: Callable[[], object], what: Callable[[], object] = lambda: "it is not so") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not said():
        assert time.monotonic() < deadline, f"after {PATIENCE_S:g} s: {what()}"
        time.sleep(0.5)


def test_the_charts_install(install: Install) -> None:
    install.type("## Install")
    for component in ("controller", "dataplane"):
        rollout = ("rollout", "status", "-n", SYSTEM, f"deployment/tidegate-{component}", "--timeout=120s")
        install.node.kubectl(*rollout)
    assert "Phase:          Succeeded" in install.node.helm("test", "tidegate", "-n", SYSTEM)


def test_a_backend_is_ready_and_says_so(install: Install) -> None:
    node = install.node
    installs.run_simulator(node)
    install.type("## A Backend")
    installs.point_to_simulator(node)
    node.kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", "tgb/voice", "--timeout=60s")
    head, line = node.kubectl("get", "tgb", "-n", NAMESPACE).splitlines()
    assert head.split() == ["NAME", "READY", "ACCEPTED", "PROGRAMMED", "AGE"]
    assert line.split()[:-1] == ["voice", "True", "True", "True"]
    assert "Backend" in node.kubectl("get", "tgp", "-n", NAMESPACE)
    said = installs.conditions(node, "tgb", "voice") | installs.conditions(node, "tgp", "callers")
    assert set(said) >= {"Ready", "Accepted", "ResolvedRefs", "Programmed", "Authenticated", "Enforced"}
    assert {each.split()[0] for each in said.values()} == {"True"}


def test_an_sdk_calls_it_from_a_pod_by_its_name(install: Install) -> None:
    installs.run_client(install.node)
    said = installs.call(install.node)
    assert said["chat"]["said"]
    assert [bool(turn["said"]) for turn in said["realtime"]] == [True, True]
    until(install.readings.agree, install.readings.book)
    counted = sum(install.readings.book().values())
    assert counted == said["chat"]["tokens"] + sum(turn["tokens"] for turn in said["realtime"])


def test_gateways_are_replaced_under_live_sessions(install: Install) -> None:
    node, old, before = install.node, set(installs.pods(install.node)), turns(install.node)
    with Calls(node) as calls:
        calls.wait_until_open()
        restarted = ("--reset-then-reuse-values", "--set", "dataplane.podAnnotations.replaced=once")
        node.helm("upgrade", "tidegate", ROOT / "charts" / "tidegate", "-n", SYSTEM, *restarted)
        node.kubectl("rollout", "status", "-n", SYSTEM, "deployment/tidegate-dataplane", "--timeout=120s")
        new = set(installs.pods(node)) - old
        assert len(new) == 2
        until(lambda: all_end(node, old), lambda: node.kubectl("get", "pods", "-n", SYSTEM))
        had = turns(node)
        until(lambda: turns(node) >= had + 2 * SESSIONS, lambda: f"{turns(node)} turns after {had}")
        installs.call(node)
        assert old <= set(installs.pods(node)), "a gateway has ended before its sessions"
        said = calls.end()
    assert said == {"turns": turns(node) - before - installs.TURNS_OF_A_CALL, "cut": []}
    until(install.readings.agree, lambda: f"{install.readings.book()}\n{installs.ledger(node)[-2000:]}")
    until(lambda: set(installs.pods(node)) == new, lambda: installs.pods(node))


def test_another_controller_leads_when_the_leader_is_killed(install: Install) -> None:
    node, leader = install.node, holder(install.node)
    kill(node, leader)
    node.kubectl("delete", "pod", "-n", SYSTEM, leader, "--force", "--grace-period=0")
    until(lambda: holder(node) not in ("", leader), lambda: holder(node))
    node.kubectl("patch", "tgp", "callers", "-n", NAMESPACE, "--type=merge", "-p", CLOSED)
    node.kubectl("wait", "-n", NAMESPACE, "--for=jsonpath={.status.ancestors[0].conditions[0].observedGeneration}=2",
                 "tgp/callers", "--timeout=60s")  # fmt: skip
    until(lambda: "does not allow the model" in refusal(node))
    node.kubectl("patch", "tgp", "callers", "-n", NAMESPACE, "--type=merge", "-p", '{"spec":{"models":null}}')
    until(lambda: not refusal(node), lambda: refusal(node))


def test_a_gateway_serves_by_tls_through_its_own_service(install: Install, tmp_path: Path) -> None:
    node = install.node
    Authority(tmp_path).issue("voice", HOST, hosts=(HOST,))
    pair = (f"--cert={tmp_path / 'voice.crt'}", f"--key={tmp_path / 'voice.key'}")
    node.kubectl("create", "secret", "tls", "voice-tls", "-n", NAMESPACE, *pair)
    node.kubectl("apply", "-f", ROOT / "examples" / "cluster" / "gateway-api")
    installs.point_to_simulator(node, "voice-routed")
    node.kubectl("patch", "gateway", "public", "-n", NAMESPACE, "--type=json", "-p", json.dumps([WITH_TLS]))
    node.kubectl("wait", "-n", NAMESPACE, "--for=condition=Programmed", "gateway/public", "--timeout=60s")
    node.kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", "tgb/voice-routed", "--timeout=60s")
    address = node.kubectl("get", "gateway", "public", "-n", NAMESPACE, "-o", "jsonpath={.status.addresses[0].value}")
    installs.run_client(node, "secure", {address: HOST}, trusts=tmp_path / "ca.crt")
    said = installs.call(node, f"https://{HOST}/v1", pod="secure")
    assert [bool(turn["said"]) for turn in said["realtime"]] == [True, True]
    until(install.readings.agree, install.readings.book)


def test_nothing_secret_was_said(install: Install) -> None:
    for pod in installs.pods(install.node, "app.kubernetes.io/instance=tidegate"):
        installs.assert_quiet(install.node.kubectl("logs", "-n", SYSTEM, pod), f"the log of {pod}")


def test_uninstalling_leaves_what_the_page_says(install: Install) -> None:
    """After the page's commands, and the namespaces' own end, the cluster is what it was."""
    node = install.node
    install.type("## Uninstall")
    node.kubectl("wait", "-n", SYSTEM, "--for=delete", "pod", "--all", "--timeout=120s")
    until(lambda: of_the_system(node) == LEFT, lambda: of_the_system(node))
    node.helm("uninstall", "tidegate-crds", "-n", SYSTEM)
    node.kubectl("delete", "crd", "backends.tidegate.dev", "policies.tidegate.dev")
    node.kubectl("delete", "namespace", NAMESPACE, PROVIDER, SYSTEM, "--timeout=120s")
    until(lambda: installs.everything(node) == install.before, lambda: installs.everything(node) ^ install.before)


def of_the_system(node: Node) -> set[str]:
    """What is in the namespace of the install."""
    return {each for each in installs.everything(node) if f" {SYSTEM} " in each}


HOST = "voice.example.com"
WITH_TLS = {
    "op": "add",
    "path": "/spec/listeners/-",
    "value": {
        "name": "https",
        "port": 443,
        "protocol": "HTTPS",
        "hostname": HOST,
        "tls": {"certificateRefs": [{"name": "voice-tls"}]},
    },
}


CLOSED = '{"spec":{"models":{"allow":["gpt-realtime"]}}}'


def refusal(node: Node) -> str:
    """What the SDK says of a call that is refused."""
    try:
        installs.call(node)
    except Failed as failed:
        return str(failed)
    return ""


def holder(node: Node) -> str:
    return node.kubectl("get", "lease", "tidegate-controller", "-n", SYSTEM, "-o", "jsonpath={.spec.holderIdentity}")


def kill(node: Node, pod: str) -> None:
    """Its process, at once and without its leave."""
    path = "jsonpath={.status.containerStatuses[0].containerID}"
    container = node.kubectl("get", "pod", pod, "-n", SYSTEM, "-o", path).removeprefix("containerd://")
    tasks = node.run(*CTR, "tasks", "list").splitlines()
    pid = next(line.split()[1] for line in tasks if line.startswith(container))
    node.run("kill", "-9", pid)


def turns(node: Node) -> int:
    """That the provider has billed."""
    return int(json.loads(installs.ledger(node))["totals"]["turns"])


def all_end(node: Node, names: set[str]) -> bool:
    """Have they all been told to?"""
    path = "jsonpath={range .items[?(@.metadata.deletionTimestamp)]}{.metadata.name} {end}"
    return names <= set(node.kubectl("get", "pods", "-n", SYSTEM, "-l", GATEWAYS, "-o", path).split())


class Calls:
    """The sessions of e2e/client/many.py, in the client's pod."""

    def __init__(self, node: Node) -> None:
        command = [BIN / "kubectl", "exec", "-i", "-n", NAMESPACE, "client", "--"]
        script = ["python3", "/scripts/many.py", BASE, CALLER_KEY, str(SESSIONS)]
        self._process = subprocess.Popen(
            [*command, *script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"KUBECONFIG": str(node.kubeconfig), "HOME": str(node.folder)},
        )

    def __enter__(self) -> Calls:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def wait_until_open(self) -> None:
        assert self._process.stdout
        assert json.loads(self._process.stdout.readline()) == {"open": True}

    def end(self) -> dict[str, object]:
        """Have each end after its turn."""
        printed, _ = self._process.communicate("enough\n", timeout=60)
        said: dict[str, object] = json.loads(printed)
        return said
