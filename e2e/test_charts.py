"""The charts as Helm renders them, for every values file of e2e/charts.

UPDATE_GOLDENS=1 writes the goldens anew. What an API server says of them is in test_charts_in_cluster.py.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import helm
import pytest
import yaml
from helm import CHART, CRDS_CHART, Document
from processes import ROOT

FOLDER = Path(__file__).parent / "charts"
NAMES = sorted(path.name.removesuffix(".values.yaml") for path in FOLDER.glob("*.values.yaml"))
RELEASES = {"small": "gw"}
"""By values file; the others are named tidegate."""


@cache
def rendered(name: str) -> str:
    return helm.template("--values", FOLDER / f"{name}.values.yaml", release=RELEASES.get(name, "tidegate"))


@pytest.fixture(params=NAMES)
def documents(request: pytest.FixtureRequest) -> list[Document]:
    """What one values file gives."""
    return helm.parsed(rendered(request.param))


def test_lint() -> None:
    values = [FOLDER / f"{name}.values.yaml" for name in NAMES]
    helm.run("lint", "--strict", CRDS_CHART, "--kube-version", helm.KUBERNETES)
    for each in values:
        helm.run("lint", "--strict", CHART, "--kube-version", helm.KUBERNETES, "--values", each)


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str) -> None:
    golden, text = FOLDER / f"{name}.golden.yaml", rendered(name)
    if os.environ.get("UPDATE_GOLDENS"):
        golden.write_text(text)
    assert text == golden.read_text(), "UPDATE_GOLDENS=1 writes it anew; look at the difference"


# -- what is refused


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"dataplain": {}}, "'dataplain' not allowed"),
        ({"dataplane": {"replcias": 3}}, "'replcias' not allowed"),
        ({"dataplane": {"state": {"adress": "x"}}}, "'adress' not allowed"),
        ({"expose": {"allow": [{"namespaces": {"matchLables": {}}, "hostnames": ["*"]}]}}, "'matchLables' not allowed"),
        ({"expose": {"allow": [{"hostnames": ["*"]}]}}, "missing property 'namespaces'"),
        ({"expose": {"allow": [{"namespaces": {}, "hostnames": ["https://x"]}]}}, "/expose/allow/0/hostnames/0"),
        ({"upstreams": {"allow": [{"namespaces": {}, "networks": ["10.0.0.1"]}]}}, "/upstreams/allow/0/networks/0"),
        ({"upstreams": {"proxy": {"url": "http://me:secret@proxy:3128"}}}, "/upstreams/proxy/url"),
        ({"upstreams": {"proxy": {"url": "https://proxy:3128"}}}, "/upstreams/proxy/url"),
        ({"upstreams": {"noProxy": ["a b"]}}, "/upstreams/noProxy/0"),
        ({"upstreams": {"allow": [{"namespaces": {}, "networks": ["10.0.0.0/33"]}]}}, "/upstreams/allow/0/networks/0"),
        ({"dataplane": {"trustProxy": ["fd00::/129"]}}, "/dataplane/trustProxy/0"),
        ({"dataplane": {"drain": {"patience": "1 hour"}}}, "/dataplane/drain/patience"),
        ({"dataplane": {"state": {"url": "redis://:secret@valkey"}}}, "/dataplane/state/url"),
        ({"dataplane": {"service": {"type": "ExternalName"}}}, "/dataplane/service/type"),
        ({"secrets": {"namespaces": ["a", "a"]}}, "/secrets/namespaces"),
        ({"controller": {"image": {"digest": "sha256:12"}}}, "/controller/image/digest"),
        ({"controller": {"replicas": 0}}, "/controller/replicas"),
    ],
)
def test_a_typo_is_refused_by_name(values: Document, said: str, tmp_path: Path) -> None:
    assert said in refusal(values, tmp_path)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"dataplane": {"proxyProtocol": True}}, "name their networks in dataplane.trustProxy"),
        ({"dataplane": {"state": {"password": {"existingSecret": "x"}}}}, "set dataplane.state.url"),
        ({"dataplane": {"usageSink": {"token": {"existingSecret": "x"}}}}, "set dataplane.usageSink.url"),
        ({"upstreams": {"noProxy": ["a.test"]}}, "set upstreams.proxy.url"),
        ({"upstreams": {"proxy": {"url": "http://p:1", "password": {"existingSecret": "x"}}}}, "and no user"),
        ({"dataplane": {"drain": {"patience": "1m", "closing": "61s"}}}, "closing (61s) is the last part of"),
        ({"dataplane": {"service": {"loadBalancerSourceRanges": ["10.0.0.0/8"]}}}, "to LoadBalancer"),
        ({"dataplane": {"otel": {"OTLP_ENDPOINT": "http://x"}}}, "OTLP_ENDPOINT is no variable of OpenTelemetry"),
        ({"dataplane": {"podLabels": {"app.kubernetes.io/name": "x"}}}, "dataplane.podLabels: app.kubernetes.io/name"),
        ({"commonLabels": {"helm.sh/chart": "x"}}, "commonLabels: helm.sh/chart"),
        ({"expose": {"allow": [{"namespaces": {}}]}}, "expose.allow[0] allows nothing"),
    ],
)
def test_values_that_contradict_each_other(values: Document, said: str, tmp_path: Path) -> None:
    assert said in refusal(values, tmp_path)


@pytest.mark.parametrize(
    ("dataplane", "said"),
    [
        ({"autoscaling": {"targetCpu": 0}}, "set targetCpu or targetSessions"),
        ({"autoscaling": {"minReplicas": 11}}, "minReplicas (11) is above maxReplicas (10)"),
        ({"autoscaling": {}, "resources": {"requests": {"cpu": None}}}, "set dataplane.resources.requests.cpu"),
    ],
)
def test_scaling_that_cannot_work(dataplane: dict[str, Document], said: str, tmp_path: Path) -> None:
    scaled = dataplane | {"autoscaling": dataplane["autoscaling"] | {"enabled": True}}
    assert said in refusal({"dataplane": scaled}, tmp_path)


def test_a_name_that_is_too_long() -> None:
    with pytest.raises(helm.Refused, match="release's name is too long"):
        helm.template(release="r" * 43)
    assert helm.template(release="tidegate" + 42 * "r")


def refusal(values: Document, folder: Path) -> str:
    file = folder / "values.yaml"
    file.write_text(json.dumps(values))
    with pytest.raises(helm.Refused) as refused:
        helm.template("--values", file)
    return str(refused.value)


# -- pods


def pods(documents: list[Document]) -> dict[str, Document]:
    """The specs of all pods, by the component that they belong to."""
    found = {}
    for document in documents:
        template = document if document["kind"] == "Pod" else document.get("spec", {}).get("template")
        if template:
            found[template["metadata"]["labels"]["app.kubernetes.io/component"]] = template["spec"]
    return found


def test_pods_are_closed(documents: list[Document]) -> None:
    """The level `restricted` of the Pod Security Standards, and a file system that nobody writes to."""
    assert set(pods(documents)) == {"controller", "dataplane", "test"}
    for component, pod in pods(documents).items():
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] == security["runAsGroup"] == security["fsGroup"] == 65532
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.keys()
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert not {"lifecycle", "hostPort"} & container.keys()
            assert not {"sh", "bash", "/bin/sh"} & set(container.get("command", []))
        assert not any("hostPath" in volume for volume in pod.get("volumes", []))
        assert pod.get("automountServiceAccountToken", True) is (component == "controller")


def test_gateways_have_one_token_and_no_rights(documents: list[Document]) -> None:
    tokens = [
        source["serviceAccountToken"]
        for volume in pods(documents)["dataplane"]["volumes"]
        for source in volume.get("projected", {}).get("sources", [])
        if "serviceAccountToken" in source
    ]
    assert tokens == [{"path": "token", "audience": "tidegate-controller", "expirationSeconds": 3600}]
    accounts = {document["metadata"]["name"] for document in of_kind(documents, "ServiceAccount")}
    [dataplane] = [account for account in accounts if account.endswith("-dataplane")]
    bound = [subject["name"] for binding in bindings(documents) for subject in binding["subjects"]]
    assert dataplane not in bound


def test_every_variable_and_volume_leads_somewhere(documents: list[Document]) -> None:
    for pod in pods(documents).values():
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} == volumes
            names = [variable["name"] for variable in container.get("env", [])]
            assert len(names) == len(set(names))


def test_selectors_find_their_pods_alone(documents: list[Document]) -> None:
    labels = {
        document["metadata"]["name"]: document["spec"]["template"]["metadata"]["labels"]
        for document in of_kind(documents, "Deployment")
    }
    for document in documents:
        spec = document.get("spec", {})
        for selector in filter(None, (spec.get("selector"), spec.get("podSelector"))):
            wanted = selector.get("matchLabels", selector)
            found = [name for name, has in labels.items() if wanted.items() <= has.items()]
            component = document["metadata"]["labels"]["app.kubernetes.io/component"]
            assert [name.rpartition("-")[2] for name in found] == [component]


def test_the_grace_period_is_what_the_data_plane_needs(documents: list[Document]) -> None:
    pod = pods(documents)["dataplane"]
    phases = dict(
        argument.removeprefix("--drain-").replace("-", "_").split("=")
        for argument in pod["containers"][0]["args"]
        if argument.startswith("--drain-")
    )
    program = (
        "import sys, json; from tidegate import durations; from dataplane.process.drain import Drain; "
        "print(Drain(**{n: durations.parse(d, n) for n, d in json.loads(sys.argv[1]).items()}).grace_period)"
    )
    python = ROOT / ".venv" / "bin" / "python"
    said = subprocess.run(
        [python, "-c", program, json.dumps(phases)], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert float(said) <= pod["terminationGracePeriodSeconds"] < float(said) + 2


# -- rights


def of_kind(documents: list[Document], *kinds: str) -> list[Document]:
    return [document for document in documents if document["kind"] in kinds]


def bindings(documents: list[Document]) -> list[Document]:
    return of_kind(documents, "RoleBinding", "ClusterRoleBinding")


def rules(documents: list[Document], kind: str, suffix: str) -> Iterator[tuple[str, str, str]]:
    """(resource, name or "", verb) of a role."""
    [role] = [role for role in of_kind(documents, kind) if role["metadata"]["name"].endswith(suffix)]
    for rule in role["rules"]:
        assert "nonResourceURLs" not in rule
        for resource in rule["resources"]:
            for verb in rule["verbs"]:
                yield from ((resource, name, verb) for name in rule.get("resourceNames", [""]))


def test_no_right_is_a_wildcard(documents: list[Document]) -> None:
    for role in of_kind(documents, "Role", "ClusterRole"):
        for rule in role["rules"]:
            assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])


def test_secrets_are_read_only_where_a_namespace_opted_in(documents: list[Document]) -> None:
    assert "secrets" not in {resource for resource, _, _ in rules(documents, "ClusterRole", "-controller")}
    named = [(name, verb) for resource, name, verb in rules(documents, "Role", "-controller") if resource == "secrets"]
    assert {verb for name, verb in named if not name} == {"create"}
    kept = {name.partition("-boot")[1] or name.rpartition("-")[2] for name, _ in named if name}
    assert kept == {"-boot", "affinity", "ca"}
    assert set(rules(documents, "ClusterRole", "-secrets")) == {("secrets", "", verb) for verb in ("list", "watch")}
    for binding in bindings(documents):
        if binding["roleRef"]["name"].endswith("-secrets"):
            assert binding["kind"] == "RoleBinding"


def test_namespaces_opt_in_by_the_values() -> None:
    bound = {
        binding["metadata"]["namespace"]
        for binding in bindings(helm.parsed(rendered("tenants")))
        if binding["roleRef"]["name"] == "tidegate-secrets"
    }
    assert bound == {"search", "voice"}


def test_the_controller_writes_only_statuses_and_what_is_its_own(documents: list[Document]) -> None:
    writes = {"create", "update", "patch", "delete", "deletecollection"}
    wide = {(resource, verb) for resource, _, verb in rules(documents, "ClusterRole", "-controller") if verb in writes}
    assert {resource for resource, _ in wide if not resource.endswith("/status")} == {
        "gatewayclasses",
        "tokenreviews",
        "events",
    }
    assert ("gatewayclasses", "create") in wide
    assert not {("gatewayclasses", verb) for verb in writes - {"create"}} & wide
    own = {resource for resource, _, verb in rules(documents, "Role", "-controller") if verb in writes}
    assert own == {"leases", "secrets", "configmaps", "services"}


# -- what single values do


def find(name: str, kind: str, suffix: str = "") -> Document:
    [found] = [each for each in of_kind(helm.parsed(rendered(name)), kind) if each["metadata"]["name"].endswith(suffix)]
    return found


def settings(name: str) -> Document:
    """As the controller reads them."""
    return yaml.safe_load(find(name, "ConfigMap", "-controller")["data"]["settings.yaml"])


def test_the_controller_is_told_of_the_install() -> None:
    assert settings("small") == {
        "install": {"name": "gw-tidegate", "namespace": helm.NAMESPACE, "instance": "gw"},
        "service": {"port": 80},
        "gateways": {"serviceType": "ClusterIP", "serviceAnnotations": {}},
        "expose": {"allow": []},
        "upstreams": {"allow": []},
        "store": False,
        "dataplane": {"serviceAccount": "gw-tidegate-dataplane"},
    }
    assert settings("production")["service"] == {"port": 443}
    assert settings("telemetry")["store"] is True
    told, values = settings("tenants"), yaml.safe_load((FOLDER / "tenants.values.yaml").read_text())
    assert {key: told[key] for key in ("expose", "upstreams", "gateways")} == {
        key: values[key] for key in ("expose", "upstreams", "gateways")
    }


def test_pods_are_replaced_when_the_settings_change() -> None:
    def checksum(name: str) -> str:
        template = find(name, "Deployment", "-controller")["spec"]["template"]
        return template["metadata"]["annotations"]["checksum/settings"]

    assert checksum("defaults") == checksum("proxied") != checksum("telemetry")


def test_the_autoscaler_decides_about_replicas() -> None:
    assert "replicas" not in find("production", "Deployment", "-dataplane")["spec"]
    [metric] = find("production", "HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] in (ROOT / "docs" / "reference" / "metrics.md").read_text()


def test_a_listener_with_tls_has_no_plain_port() -> None:
    assert find("production", "Service", "tidegate")["spec"]["ports"] == [
        {"name": "https", "port": 443, "targetPort": "https"}
    ]
    assert find("defaults", "Service", "tidegate")["spec"]["ports"] == [
        {"name": "http", "port": 80, "targetPort": "http"}
    ]


def test_images() -> None:
    def image(name: str, component: str) -> str:
        return pods(helm.parsed(rendered(name)))[component]["containers"][0]["image"]

    digest = f"sha256:{1:064}"
    assert image("production", "controller") == f"registry.example.com/team/tidegate-controller@{digest}"
    assert image("production", "dataplane") == "registry.example.com/team/tidegate-dataplane-fips:0.1.0-1"
    assert image("defaults", "dataplane") == "tidegate-dataplane:0.1.0"


@pytest.mark.parametrize("registry", ["localhost", "registry.example.com/team"])
def test_images_that_were_built_here_are_named_as_the_page_says(registry: str) -> None:
    told = f"image.registry={registry},controller.image.tag=dev,dataplane.image.tag=dev"
    page, built = (ROOT / "docs" / "install.md").read_text(), (ROOT / "images" / "build").read_text()
    assert told.removeprefix("image.registry=localhost,") in page
    for component, pod in pods(helm.parsed(helm.template("--set", told))).items():
        if component != "test":
            name = f"tidegate-{component}:dev"
            assert pod["containers"][0]["image"] == f"{registry}/{name}"
            assert f"localhost/{name}" in page
            assert f"localhost/{name}" in built


def test_the_versions_are_those_of_the_product() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    for chart in (CHART, CRDS_CHART):
        about = yaml.safe_load((chart / "Chart.yaml").read_text())
        assert f'\nversion = "{about["appVersion"]}"\n' in project


def test_helm_test_runs_python_and_no_shell() -> None:
    [container] = pods(helm.parsed(rendered("defaults")))["test"]["containers"]
    assert container["command"] == ["python3", "-c"]
    ast.parse(container["args"][0])


# -- the chart of CRDs


def test_crds_are_those_of_the_product() -> None:
    text = helm.template("--set", "keep=false", chart=CRDS_CHART)
    made = {document["spec"]["names"]["kind"]: document for document in helm.parsed(text)}
    assert list(made) == ["Backend", "Policy"]
    for path in (ROOT / "crds" / "generated").glob("*.yaml"):
        wanted = yaml.safe_load(path.read_text())
        crd = made[wanted["spec"]["names"]["kind"]]
        assert crd["spec"] == wanted["spec"]
        assert wanted["metadata"].get("labels", {}).items() <= crd["metadata"]["labels"].items()
        assert "annotations" not in crd["metadata"]


def test_crds_are_kept_unless_somebody_says_otherwise() -> None:
    for crd in helm.parsed(helm.template(chart=CRDS_CHART)):
        assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
