"""The commands as they are called: help, options, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tidegate.processes import run
from tidegate import cli

COMMANDS = ("serve", "validate", "explain", "simulate", "demo", "talk", "crds")
HEAVY = ("aiohttp", "opentelemetry", "pydantic", "uvloop", "watchfiles", "websockets", "yaml")


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


def test_help_names_every_command_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "--help")
    assert code == 0
    assert "Exit codes: 0 fine" in out
    for command in COMMANDS:
        assert f" {command} " in out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_an_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, out, _ = call(capsys, command, "--help")
    assert code == 0
    assert "Example:" in out
    assert f"tidegate {command}" in out


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from tidegate.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "--version")
    assert code == 0
    assert out.startswith("tidegate ")
    assert out.strip() != "tidegate"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_shell_completion(shell: str) -> None:
    # Detection finds the shell that runs the tests, which may be one without completion.
    done = await run("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert done.code == 0
    assert "TIDEGATE_COMPLETE" in done.out


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["nonsense"], "No such command"),
        (["serve"], "--file"),
        (["serve", "-f", "x.yaml", "--listen", "8080"], "write HOST:PORT"),
        (["serve", "-f", "x.yaml", "--tls-cert", "c.pem"], "go together"),
        (["serve", "-f", "x.yaml", "--upstreams-allow", "10.0.0.1/8"], "10.0.0.0/8"),
        (["serve", "-f", "x.yaml", "--log-format", "xml"], "xml"),
        (["simulate", "--listen", "nowhere"], "write HOST:PORT"),
        (["talk", "ftp://localhost"], "write ws://"),
        (["talk", "ws://[::1"], "write ws://"),
        (["crds", "gateway"], "gateway"),
        (["explain", "/v1", "-f", "x.yaml", "--header", "x"], "NAME: VALUE"),
    ],
)
def test_a_wrong_call_ends_with_2_and_a_hint(
    capsys: pytest.CaptureFixture[str], arguments: list[str], hint: str
) -> None:
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert hint in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("kind: [", ":2:1:"),
        ("kind: Backend\nkind: Policy\n", ":2:"),
        ("apiVersion: tidegate.dev/v1alpha1\nkind: Backnd\n", " #1: Backnd"),
        ("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: '${NOT_SET_HERE}'}\n", "NOT_SET_HERE"),
    ],
)
@pytest.mark.parametrize("command", [["validate"], ["explain", "/"]])
def test_files_that_cannot_be_read_end_with_1_and_a_place(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, place: str, command: list[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    code, out, err = call(capsys, *command, "-f", str(path))
    assert code == 1
    assert f"{path}" in out + err
    assert place in out + err
    assert "Traceback" not in out + err


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = call(capsys, "validate", "-f", str(tmp_path / "none.yaml"))
    assert code == 1
    assert f"{tmp_path / 'none.yaml'}: cannot be read: No such file" in out
