"""Every fenced example of the documentation works. CONTRIBUTING.md says how to write one.

The blocks of a page are run from top to bottom in one folder, as a reader would: `yaml` must be valid objects (and a
file, where it says `file=NAME`), `console` must print what it shows, `json` must parse, `python` must run. Any other
kind fails, so that nothing stands in the documentation untried. `make e2e` runs `sh cluster` and `console cluster`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import crds
from tests.docs.pages import ROOT, Block, blocks, commands, pages
from tests.docs.shell import Mismatch, Shell, matches

PAGES = {
    str(page.relative_to(ROOT)): page
    for page in pages()
    if page.is_relative_to(ROOT / "docs") or page in {ROOT / "README.md", ROOT / "examples" / "README.md"}
}


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if blocks(page)])
def test_examples(name: str, tmp_path: Path) -> None:
    with Shell(tmp_path) as shell:
        for block in blocks(PAGES[name]):
            if wrong := _tried(block, shell):
                pytest.fail(f"{block.place}: {wrong}", pytrace=False)


def _tried(block: Block, shell: Shell) -> str:
    try:
        _try(block, shell)
    except Mismatch as mismatch:
        return str(mismatch)
    return ""


def _try(block: Block, shell: Shell) -> None:
    match block.kind:
        case "yaml":
            _check_yaml(block)
        case "json":
            _check_json(block)
        case "console" | "sh" if block.words == ("cluster",):
            pass  # e2e/test_walkthrough.py and e2e/test_install_page.py run them
        case "console":
            _type(block, shell)
        case "sh":
            for command in _joined(block.text.splitlines()):
                shell.run(command, "")
        case "python":
            shell.write("example.py", block.text)
            shell.run(f"{sys.executable} example.py", "")
        case _:
            raise Mismatch(f"a block of kind {block.kind!r} is not tried by any test; see CONTRIBUTING.md")
    if block.file:
        shell.write(block.file, block.text)


def _check_yaml(block: Block) -> None:
    """Every document of a kind of ours is accepted as it stands; with `invalid` in the info string, none is."""
    for document in yaml.safe_load_all(block.text):
        if not isinstance(document, dict) or not str(document.get("apiVersion", "")).startswith("tidegate.dev/"):
            continue
        try:
            crds.parse(document)
        except crds.Invalid as invalid:
            if "invalid" not in block.words:
                raise Mismatch(str(invalid)) from None
        else:
            if "invalid" in block.words:
                raise Mismatch("this is valid")


def _check_json(block: Block) -> None:
    try:
        json.loads(block.text)
    except ValueError as error:
        raise Mismatch(f"not JSON: {error}") from None


def _type(block: Block, shell: Shell) -> None:
    """Run the lines that begin with `$ `; what follows each is what it prints. Without any, a gateway prints it."""
    exits = re.fullmatch(r"exits (\d+)", block.comment)
    sessions = list(commands(block.text))
    for number, (command, shown) in enumerate(sessions, 1):
        if not command:
            shell.says("serve", shown)
            continue
        shell.run(command.replace("\\\n", "").strip(), shown, int(exits[1]) if exits and number == len(sessions) else 0)


def _joined(lines: list[str]) -> list[str]:
    """Commands without their comments, those over several lines made one."""
    text = "\n".join(line for line in lines if line.strip() and not line.startswith("#"))
    return text.replace("\\\n", "").splitlines()


# -- the machinery itself


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("a\n", "a  \n"),
        ("a…c\n", "abc\n"),
        ("...\nb\n", "1\n2\nb\n"),
        ("a\n...\n", "a\n"),
    ],
)
def test_what_is_shown_matches(shown: str, printed: str) -> None:
    assert matches(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"), [("a\n", "a\nb\n"), ("a.c\n", "abc\n"), ("a\n...\nb\n", "a\n"), ("", "x")]
)
def test_what_is_not_shown_does_not_match(shown: str, printed: str) -> None:
    assert not matches(shown, printed)


@pytest.mark.parametrize(
    "text",
    [
        "```\nx\n```\n",
        "```text\nx\n```\n",
        "```json\n{,}\n```\n",
        "```yaml\napiVersion: tidegate.dev/v1alpha1\nkind: Backend\n```\n",
        "```console\n$ echo one\ntwo\n```\n",
        "```console\n$ false\n```\n",
        "```python\n1 / 0\n```\n",
    ],
)
def test_an_example_that_does_not_work_is_found(text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    [block] = blocks(page)
    with Shell(tmp_path) as shell, pytest.raises(Mismatch):
        _try(block, shell)


def test_curl_without_curl(tmp_path: Path) -> None:
    """What stands in for curl where it is absent says what curl would say."""
    with Shell(tmp_path) as shell:
        shell.run("tidegate simulate", "")
        port = shell._ports["9100"]
        program = [sys.executable, str(Path(__file__).parent / "curl.py")]
        said = subprocess.run(
            [*program, "-s", "-i", f"http://127.0.0.1:{port}/_ledger"], capture_output=True, check=True
        )
        assert b'"turns"' in said.stdout
        assert said.stdout.startswith(b"HTTP/1.1 200 OK\n")
        asked = ["-H", "content-type: application/json", "-d", "{}", f"http://127.0.0.1:{port}/v1/chat/completions"]
        assert b'"error"' in subprocess.run([*program, *asked], capture_output=True, check=True).stdout
