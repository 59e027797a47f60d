"""`tidegate validate`, `explain` and `crds`."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
import yaml

from tests.tidegate import files
from tests.tidegate.test_cli import call


@pytest.fixture
def voice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is all right."""
    for name, value in files.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice("http://127.0.0.1:9100", files.KEYS))
    return path


def test_validate_says_the_conditions(capsys: pytest.CaptureFixture[str], voice: Path) -> None:
    code, out, _ = call(capsys, "validate", "-f", str(voice))
    assert code == 0
    assert f"Backend ai/voice ({voice} #1)" in out
    assert "Authenticated True" in out
    assert files.CALLER_KEY not in out


def test_validate_takes_more_files(capsys: pytest.CaptureFixture[str], voice: Path) -> None:
    other = voice.with_name("other.yaml")
    other.write_text(files.BACKEND.format(name="other", url="http://127.0.0.1:9100"))
    code, out, _ = call(capsys, "validate", "-f", str(voice), str(other))
    assert code == 0
    assert "Backend ai/other" in out


def test_validate_names_file_document_and_field(capsys: pytest.CaptureFixture[str], voice: Path) -> None:
    text = voice.read_text().replace(
        "authentication: {", "transformation: {request: {set: [{name: x, value: '${a}'}]}}}"
    )
    voice.write_text(
        text.partition("transformation: ")[0] + "transformation: {request: {set: [{name: x, value: '${a}'}]}}\n"
    )
    code, out, _ = call(capsys, "validate", "-f", str(voice))
    assert code == 1
    assert f"{voice} #3: spec.transformation.request.set[0].value: unknown variable ${{a}}; known: " in out


def test_validate_for_programs(capsys: pytest.CaptureFixture[str], voice: Path) -> None:
    code, out, _ = call(capsys, "validate", "--json", "-f", str(voice))
    assert code == 0
    assert orjson.loads(out)["ok"] is True


def test_explain_says_what_holds(capsys: pytest.CaptureFixture[str], voice: Path) -> None:
    code, out, _ = call(capsys, "explain", "/v1/realtime", "-f", str(voice), "--model", "m", "--key-name", "laptop")
    assert code == 0
    assert "Realtime" in out
    assert "Policy ai/callers" in out
    assert "team support" in out


def test_explain_takes_more_files(capsys: pytest.CaptureFixture[str], voice: Path) -> None:
    other = voice.with_name("other.yaml")
    other.write_text(files.BACKEND.format(name="other", url="http://127.0.0.1:9100"))
    asked = ("explain", "/ai/other/v1/realtime", "-f", str(voice), str(other), "--model", "m")
    code, out, err = call(capsys, *asked)
    assert (code, "Backend ai/other" in out) == (0, True), err


def test_explain_says_what_would_be_refused(capsys: pytest.CaptureFixture[str], voice: Path) -> None:
    code, out, _ = call(capsys, "explain", "/v1/files", "-f", str(voice))
    assert code == 1
    assert "undeclared_path" in out


def test_explain_takes_headers(capsys: pytest.CaptureFixture[str], voice: Path) -> None:
    route = """\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: canary, namespace: ai}
spec:
  rules:
  - matches: [{headers: [{name: x-canary, value: "on"}]}]
    backendRefs: [{group: tidegate.dev, kind: Backend, name: voice}]
"""
    (voice.with_name("route.yaml")).write_text(route)
    arguments = ("explain", "/v1/realtime", "-f", str(voice.parent), "--model", "m", "--key-name", "laptop")
    assert call(capsys, *arguments)[0] == 1
    code, out, _ = call(capsys, *arguments, "-H", "X-Canary: on")
    assert code == 0
    assert "ai/canary" in out


@pytest.mark.parametrize(
    ("arguments", "kinds"), [([], ["Backend", "Policy"]), (["backend"], ["Backend"]), (["policy"], ["Policy"])]
)
def test_crds(capsys: pytest.CaptureFixture[str], arguments: list[str], kinds: list[str]) -> None:
    code, out, _ = call(capsys, "crds", *arguments)
    assert code == 0
    assert [document["spec"]["names"]["kind"] for document in yaml.safe_load_all(out)] == kinds
