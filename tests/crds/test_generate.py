"""The CRDs: fresh, small, and everything in them bounded and described."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from crds import reference
from crds.artefacts import keep
from crds.generate import DIRECTORY, RESOURCES, crd, render, schema
from crds.structural import Schema, as_mapping, structural

KINDS = list(RESOURCES)


def nodes(node: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    yield path, node
    for name, child in as_mapping(node.get("properties", {})).items():
        yield from nodes(as_mapping(child), f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in node:
            yield from nodes(as_mapping(node[key]), f"{path}[]")


def spec_and_status(kind: str) -> list[tuple[str, Schema]]:
    parts = as_mapping(schema(kind)["properties"])
    return [found for part in ("spec", "status") for found in nodes(as_mapping(parts[part]), part)]


def test_what_is_committed_is_what_the_models_say() -> None:
    assert {path.name: path.read_text("utf-8") for path in DIRECTORY.iterdir()} == render()
    assert reference.FILE.read_text("utf-8") == reference.render()


@pytest.mark.parametrize("module", ["crds.generate", "crds.reference"])
def test_the_command_checks(module: str) -> None:
    root = DIRECTORY.parents[1]
    done = subprocess.run([sys.executable, "-m", module, "--check"], capture_output=True, text=True, cwd=root)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_stale_files_are_named_and_rewritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {tmp_path / "new" / "a": "1", tmp_path / "b": "2"}
    (tmp_path / "b").write_text("old")
    assert keep(files, ["--check"], "crds.generate") == 1
    said = capsys.readouterr().err
    assert said.count("is stale: run python -m crds.generate") == 2
    assert (tmp_path / "b").read_text() == "old"
    assert keep(files, [], "crds.generate") == 0
    assert keep(files, ["--check"], "crds.generate") == 0
    assert (tmp_path / "new" / "a").read_text() == "1"
    assert keep(files, ["--chekc"], "crds.generate") == 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_described(kind: str) -> None:
    bare = [path for path, node in spec_and_status(kind) if not path.endswith("[]") and not node.get("description")]
    assert bare == []


@pytest.mark.parametrize("kind", KINDS)
def test_everything_that_can_grow_is_bounded(kind: str) -> None:
    bounds = {"array": {"maxItems"}, "string": {"maxLength", "enum", "format"}, "integer": {"minimum", "format"}}
    for path, node in spec_and_status(kind):
        wanted = {"maxProperties"} if "additionalProperties" in node else bounds.get(str(node["type"]), {"type"})
        assert wanted & node.keys(), path


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_an_api_server_takes(kind: str) -> None:
    for path, node in spec_and_status(kind):
        assert isinstance(node["type"], str), path
        assert not {"$ref", "anyOf", "oneOf", "allOf", "title", "const", "nullable"} & node.keys(), path
        assert not ("properties" in node and "additionalProperties" in node), path
        keys = node.get("x-kubernetes-list-map-keys", [])
        entries = as_mapping(node.get("items", {}))
        assert isinstance(keys, list)
        for key in keys:
            assert key in entries["required"], path  # type: ignore[operator]
        for rule in as_rules(node):
            assert "\n" not in rule["rule"] + rule["message"], path
            assert len(rule["message"]) <= 2048, path


def as_rules(node: Schema) -> list[dict[str, str]]:
    rules = node.get("x-kubernetes-validations", [])
    assert isinstance(rules, list)
    return rules


@pytest.mark.parametrize("kind", KINDS)
def test_a_crd_can_be_applied_by_an_ordinary_kubectl(kind: str) -> None:
    text = render()[f"{RESOURCES[kind].plural}.yaml"]
    assert len(text.encode()) < 250 * 1024
    assert yaml.safe_load(text) == crd(kind)
    assert not any(token in text for token in ("&id", "*id"))


def test_names_and_columns() -> None:
    backend, policy = as_mapping(crd("Backend")["spec"]), as_mapping(crd("Policy")["spec"])
    assert as_mapping(backend["names"])["shortNames"] == ["tgb"]
    assert as_mapping(policy["names"])["shortNames"] == ["tgp"]
    assert as_mapping(policy["names"])["categories"] == ["tidegate"]
    assert columns(backend) == ["Ready", "Accepted", "Programmed", "Healthy", "Age"]
    assert columns(policy) == [
        "Target-Kind",
        "Target",
        "Section",
        "Accepted",
        "Enforced",
        "Programmed",
        "Precedence",
        "Age",
    ]
    assert as_mapping(crd("Policy")["metadata"])["labels"] == {"gateway.networking.k8s.io/policy": "Direct"}


def columns(spec: Schema) -> list[str]:
    versions = spec["versions"]
    assert isinstance(versions, list)
    return [column["name"] for column in versions[0]["additionalPrinterColumns"]]


class _Union(BaseModel):
    port: int | str


class _Loop(BaseModel):
    inner: list["_Loop"]


class _Pair(BaseModel):
    pair: tuple[int, str]


@pytest.mark.parametrize("model", [_Union, _Loop, _Pair])
def test_what_a_structural_schema_cannot_say_is_refused(model: type[BaseModel]) -> None:
    with pytest.raises(ValueError, match="structural schema"):
        structural(model)


def test_the_reference_names_every_field_and_every_rule() -> None:
    text = reference.render()
    for kind in KINDS:
        for path, node in spec_and_status(kind):
            if "." in path and not path.endswith("[]"):
                assert f"`{path}`" in text
            for rule in as_rules(node):
                assert rule["message"][:20].replace("*", r"\*") in text
