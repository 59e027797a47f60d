"""The settings of an install: what the chart writes is understood, and what is wrong is said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from controller import settings
from controller.compile import ExposeRule, LabelSelector, UpstreamRule

FULL = """
install: {name: tidegate, namespace: gateways, instance: release}
service: {port: 443}
gateways: {serviceType: ClusterIP, serviceAnnotations: {a: b}}
expose:
  allow:
  - namespaces: {matchLabels: {team: voice}}
    hostnames: ["*.example.com"]
    pathPrefixes: [/voice]
upstreams:
  allow:
  - namespaces: {}
    networks: [10.0.0.0/8]
store: true
dataplane: {serviceAccount: gateway}
"""


def read(tmp_path: Path, text: str) -> settings.Settings:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    return settings.read(file)


def test_all_of_it(tmp_path: Path) -> None:
    found = read(tmp_path, FULL)
    install = found.compiled_for(frozenset({"denied"}))
    assert (install.name, install.namespace, install.has_store) == ("tidegate", "gateways", True)
    assert install.denied == {"denied"}
    voice = LabelSelector.model_validate({"matchLabels": {"team": "voice"}})
    assert install.expose == (ExposeRule(voice, ("*.example.com",), ("/voice",)),)
    assert install.upstreams == (UpstreamRule(LabelSelector(), ("10.0.0.0/8",)),)
    assert (found.service.port, found.gateways.service_type) == (443, "ClusterIP")
    assert found.gateways.service_annotations == {"a": "b"}
    assert found.dataplane.service_account == "gateway"
    assert found.labels("controller") == {
        "app.kubernetes.io/name": "tidegate",
        "app.kubernetes.io/instance": "release",
        "app.kubernetes.io/component": "controller",
    }
    assert found.pods == (
        "kubectl get pods --namespace gateways --selector app.kubernetes.io/name=tidegate,"
        "app.kubernetes.io/instance=release,app.kubernetes.io/component=dataplane"
    )


def test_the_least_of_it(tmp_path: Path) -> None:
    found = read(tmp_path, "install: {name: edge-tidegate, namespace: edge, instance: edge}")
    assert found.dataplane.service_account == "edge-tidegate-dataplane"
    assert found.compiled_for(frozenset()).expose == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "install: Field required"),
        ("install: {name: a", "is no YAML"),
        ("install: {name: a, namespace: b, instance: c}\nexposed: {}", "exposed: Extra inputs are not permitted"),
        (FULL.replace("10.0.0.0/8", "10.0.0.1/8"), "upstreams.allow.0.networks.0: Value error, 10.0.0.1/8 has host"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(settings.NotRead, match=re.escape(said)):
        read(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(settings.NotRead, match=r"settings\.yaml: No such file or directory"):
        settings.read(tmp_path / "settings.yaml")
