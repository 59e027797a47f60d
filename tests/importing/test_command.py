"""`tidegate import` as it is called."""

from __future__ import annotations

import io
import stat
import sys
from pathlib import Path

import pytest

from tests.importing.cases import FOLDER
from tidegate import cli
from tidegate.documents import Documents
from tidegate.validate import check

CONFIG = """\
model_list:
- model_name: voice
  litellm_params: {model: openai/gpt-realtime, api_key: sk-a-literal-key}
- model_name: claude
  litellm_params: {model: anthropic/claude-sonnet-4-5}
general_settings: {master_key: sk-a-master-key-of-some-length}
"""


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        cli.main(["import", *map(str, arguments)])
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("config.yaml")
    path.write_text(CONFIG)
    return path


def test_objects_go_to_stdout_and_the_report_to_stderr(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    code, out, err = call(capsys, config, "--namespace", "ai")
    assert code == 0
    Path("out.yaml").write_text(out)
    report = check(["out.yaml"])
    assert report.ok, report.text()
    assert "sk-a-literal-key" in out
    assert err == (
        "config.yaml:5: model_list[1].litellm_params.model: dropped: anthropic has no kind of provider in Tidegate; "
        "where it speaks the OpenAI API, write openai/MODEL and api_base; the deployment is left out\n"
        "Imported: 1 Backend, 1 Policy, 2 Secrets. Fields dropped: 1, changed: 0.\n"
    )


def test_a_folder_is_written_and_nothing_overwritten(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    code, out, _ = call(capsys, config, "-o", "made/gateway")
    assert (code, out) == (0, "")
    folder = Path("made/gateway")
    assert sorted(path.name for path in folder.iterdir()) == ["backends.yaml", "policies.yaml", "secrets.yaml"]
    assert stat.S_IMODE((folder / "secrets.yaml").stat().st_mode) == 0o600
    assert check([folder], Documents({})).ok
    (folder / "backends.yaml").write_text("mine")
    (folder / "policies.yaml").unlink()
    code, _, err = call(capsys, config, "-o", folder)
    assert code == 2
    assert "has backends.yaml, secrets.yaml already" in err
    assert (folder / "backends.yaml").read_text() == "mine"
    assert not (folder / "policies.yaml").exists()


def test_stdin(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CONFIG.encode())))
    code, out, err = call(capsys, "-")
    assert code == 0
    assert "name: voice" in out
    assert err.startswith("stdin:5: ")


def test_the_environment_is_read_for_what_is_no_credential(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROCESS_BASE", "https://llm.example.com/v1")
    monkeypatch.setenv("SHARED_KEY", "sk-of-the-environment")
    code, out, err = call(capsys, FOLDER / "litellm-providers.in.yaml")
    assert code == 0
    assert "url: https://llm.example.com/v1" in out
    assert "sk-of-the-environment" not in out + err


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        ((), 2, "Missing argument"),
        (("missing.yaml",), 2, "missing.yaml: cannot be read: No such file or directory"),
        (("config.yaml", "--namespace", "Not A Name"), 2, "--namespace"),
        (("latin-1.yaml",), 2, "latin-1.yaml: is not UTF-8 text"),
        (("large.yaml",), 2, "is larger than 16 MiB"),
        (("empty.yaml",), 2, "nothing was imported: there is nothing in these files"),
        (("nothing.yaml",), 2, "nothing was imported: see above"),
        (("broken.yaml",), 2, "nothing was imported: broken.yaml:2:"),
        (("config.yaml", "-o", "config.yaml"), 1, "config.yaml: cannot be written"),
    ],
)
def test_what_cannot_be_done(
    capsys: pytest.CaptureFixture[str], config: Path, arguments: tuple[str, ...], code: int, why: str
) -> None:
    Path("latin-1.yaml").write_bytes("model_list: [é]".encode("latin-1"))
    Path("empty.yaml").touch()
    Path("nothing.yaml").write_text("model_list: []")
    Path("broken.yaml").write_text("model_list: [sk-a-key\n")
    with Path("large.yaml").open("wb") as file:
        file.truncate(16 * 2**20 + 1)
    found, out, err = call(capsys, *arguments)
    assert (found, out) == (code, "")
    assert why in " ".join(err.replace("│", " ").split())
    assert "sk-a-key" not in err
