"""What is made from the values' models. What Helm makes of it is tested in e2e/test_charts.py."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from pydantic import ValidationError

from charts.generate import CHARTS, FOLDER, PAGE, render
from charts.parts import Part
from charts.values import Values

EXAMPLES = sorted(path.name for path in (FOLDER.parent / "e2e" / "charts").glob("*.values.yaml"))
NOT_READ = {"global"}


@pytest.mark.parametrize("name", CHARTS)
def test_the_file_of_defaults_says_what_the_model_says(name: str) -> None:
    written = yaml.safe_load((FOLDER / name / "values.yaml").read_text("utf-8"))
    assert written == json.loads(CHARTS[name]().model_dump_json(by_alias=True))


@pytest.mark.parametrize("name", CHARTS)
def test_every_value_is_described(name: str) -> None:
    assert [path for path, part in groups(CHARTS[name]) for path in undescribed(path, part)] == []


@pytest.mark.parametrize("name", CHARTS)
def test_every_value_is_read(name: str) -> None:
    """By a template, by name; what is below `namespaces` of a claim is handed on whole."""
    templates = "".join(path.read_text("utf-8") for path in (FOLDER / name / "templates").rglob("*.*"))
    names = {field.alias or key for _, part in groups(CHARTS[name]) for key, field in part.model_fields.items()}
    assert {each for each in names if not re.search(rf"\.{each}\b", templates)} == NOT_READ


def test_every_value_is_in_the_reference() -> None:
    page = render()[PAGE]
    for path in ("dataplane.drain.patience", "expose.allow[].namespaces.matchLabels", "controller.image.repository"):
        assert f"| `{path}` |" in page


@pytest.mark.parametrize("name", EXAMPLES)
def test_values_of_examples_are_values(name: str) -> None:
    Values.model_validate(yaml.safe_load((FOLDER.parent / "e2e" / "charts" / name).read_text("utf-8")))


def test_unknown_values_are_refused() -> None:
    with pytest.raises(ValidationError, match="replcias"):
        Values.model_validate({"dataplane": {"replcias": 3}})


@pytest.mark.parametrize("network", ["0.0.0.0/0", "10.20.0.0/16", "192.168.255.1/32", "::/0", "fd00:1::/128"])
def test_networks(network: str) -> None:
    assert Values.model_validate({"dataplane": {"trustProxy": [network]}})


@pytest.mark.parametrize(
    "network",
    ["10.0.0.0/33", "10.0.0.0", "10.0.0/8", "256.0.0.0/8", "10.0.0.0/08", "fd00::/129", "fd00/8", "/8"],
)
def test_what_is_no_network_stops_no_controller(network: str) -> None:
    """Helm refuses it, rather than the controller when it starts."""
    for values in (
        {"dataplane": {"trustProxy": [network]}},
        {"dataplane": {"service": {"loadBalancerSourceRanges": [network]}}},
        {"upstreams": {"allow": [{"namespaces": {}, "networks": [network]}]}},
    ):
        with pytest.raises(ValidationError, match="should match pattern"):
            Values.model_validate(values)


def groups(part: type[Part], path: str = "") -> list[tuple[str, type[Part]]]:
    found = [(path, part)]
    for name, field in part.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Part):
            found += groups(field.annotation, f"{path}.{name}")
    return found


def undescribed(path: str, part: type[Part]) -> list[str]:
    return [f"{path}.{name}" for name, field in part.model_fields.items() if not field.description]
