"""The commands as they are called: help, options, exit codes."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tidegate import files
from tests.tidegate.processes import PATIENCE_S, environment, run
from tidegate import cli

COMMANDS = ("serve", "validate", "explain", "guard", "import", "simulate", "demo", "talk", "crds")
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
        (["serve", "-f", "x.yaml", "--trust-proxy", "10.0.0.1/8"], "--trust-proxy"),
        (["serve", "-f", "x.yaml", "--proxy-protocol"], "--trust-proxy"),
        (["serve", "-f", "x.yaml", "--upstream-proxy", "https://p:1"], "called by http://"),
        (
            ["serve", "-f", "x.yaml", "--upstream-proxy", "http://p:1", "--upstream-no-proxy", "a, b c"],
            "'b c' is neither",
        ),
        (["serve", "-f", "x.yaml", "--upstream-no-proxy", "a"], "name it with --upstream-proxy"),
        (["serve", "-f", "x.yaml", "--log-format", "xml"], "xml"),
        (["simulate", "--listen", "nowhere"], "write HOST:PORT"),
        (["talk", "ftp://localhost"], "write ws://"),
        (["talk", "ws://[::1"], "write ws://"),
        (["crds", "gateway"], "gateway"),
        (["explain", "/v1", "-f", "x.yaml", "--header", "x"], "NAME: VALUE"),
        (["explain", "-f", "x.yaml", "y.yaml", "/v1"], "comes first: tidegate explain /v1/realtime -f FILE FILE"),
        (["explain", "-f", "x.yaml", __file__, "/v1"], "is a file; the path"),
        (["validate", "-f", "x.yaml", "--state", "redis:/127"], "--state is no URL: write redis://HOST:6379"),
        (["serve", "-f", "x.yaml", "--state", "redis:/127"], "--state is no URL: write redis://HOST:6379"),
        (["validate", "-f", "x.yaml", "--state", "redis://"], "write redis://HOST:6379"),
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


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_a_standard_stream_that_is_closed(tmp_path: Path, closed: str) -> None:
    """Its number goes to the null device: a socket there would be sent whatever is printed."""
    numbers = tmp_path / "numbers"
    program = (
        "import os, pathlib, sys\n"
        "from tidegate import cli\n"
        "try: cli.main(['--version'])\n"
        "except SystemExit: pass\n"
        "print('said'), print('said', file=sys.stderr), sys.stdin.read()\n"
        f"pathlib.Path({str(numbers)!r}).write_text(' '.join(str(os.fstat(n).st_rdev) for n in range(3)))"
    )
    command = ("sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, program)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr
    null = str(Path(os.devnull).stat().st_rdev)
    shut = [int(part[0]) for part in closed.split()]
    assert all(numbers.read_text().split()[number] == null for number in shut)
    assert ("said" in done.stdout) == (1 not in shut)


async def test_a_gateway_serves_on_without_stdout(tmp_path: Path) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice("http://127.0.0.1:1"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        admin = f"127.0.0.1:{free.getsockname()[1]}"
    serve = f'exec "$0" -m tidegate serve -f {path} --listen 127.0.0.1:0 --admin {admin} 1>&-'
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", serve, sys.executable, env=environment(**files.ENVIRONMENT), stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            while (await run("sessions", "--admin", admin)).code:
                assert process.returncode is None
            process.terminate()
            _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, said) == (0, b"")
