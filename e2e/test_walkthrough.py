"""docs/walkthrough.md, typed from top to bottom on a real node.

UPDATE=1 writes into the page what the commands print; otherwise it must be what the page shows, but for ages, times,
addresses, and what is random in names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import installs
import pytest
from cluster.node import Node
from processes import ROOT

from tests.docs.pages import Block, blocks, commands

PAGE = ROOT / "docs" / "walkthrough.md"
UPDATE = bool(os.environ.get("UPDATE"))


@pytest.fixture
def folder(whole_node: Node, images: dict[str, str], tmp_path: Path) -> Iterator[Path]:
    """Where it is typed; what it names is there."""
    assert images
    whole_node.install_gateway_api()
    for name in ("charts", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    for block in blocks(PAGE):
        if block.file:
            (tmp_path / block.file).write_text(block.text)
    try:
        yield tmp_path
    finally:
        installs.sweep(whole_node)


def test_the_walkthrough_is_what_happens(whole_node: Node, folder: Path) -> None:
    printed = {block.line: list(transcript(whole_node, block, folder)) for block in typed()}
    if UPDATE:
        PAGE.write_text(rewritten(printed), "utf-8")
        return
    wrong = [
        f"{block.place}: $ {command}\nprinted:\n{said}\nand the page shows:\n{shown}"
        for block in typed()
        for (command, shown), (_, said) in zip(commands(block.text), printed[block.line], strict=True)
        if plain(shown) != plain(said)
    ]
    assert not wrong, "\n\n".join(wrong)


def typed() -> list[Block]:
    return [block for block in blocks(PAGE) if block.kind == "console"]


def transcript(node: Node, block: Block, folder: Path) -> Iterator[tuple[str, str]]:
    """Each command of a block, with what it prints."""
    every = [command for command, _ in commands(block.text)]
    exits = re.fullmatch(r"exits (\d+)", block.comment)
    for command in every:
        code = int(exits[1]) if exits and command is every[-1] else 0
        said = installs.typed(node, command, folder, code)
        yield command, "\n".join(line.rstrip() for line in said.strip().splitlines()) + "\n"


def rewritten(printed: dict[int, list[tuple[str, str]]]) -> str:
    """The page with these outputs, by the line of their block."""
    lines = PAGE.read_text("utf-8").splitlines(keepends=True)
    for block in reversed(typed()):
        first, last = block.line, block.line + len(block.text.splitlines())
        lines[first:last] = ["".join(f"$ {command}\n{said}" for command, said in printed[block.line])]
    return "".join(lines)


_RANDOM = [
    (re.compile(pattern), name)
    for pattern, name in (
        (r"\b\w{3} \w{3} +\d+ \d\d:\d\d:\d\d \d{4}", "DATE"),
        (r"\b(\d+[smhd])+\b", "AGE"),
        (r"\b\d+\.\d+\.\d+\.\d+\b", "ADDRESS"),
        (r"(?<=-)[0-9a-f]{8,10}-[0-9a-z]{5}\b", "POD"),
        (r"(?<=tidegate-gw-)[0-9a-f]+\b", "HASH"),
        (r"\b\d{5}(?=/TCP)", "PORT"),
    )
]


def plain(text: str) -> list[str]:
    """The lines without what differs from run to run. Their order may: two streams are read."""
    for pattern, name in _RANDOM:
        text = pattern.sub(name, text)
    return sorted(" ".join(line.split()) for line in text.splitlines() if line.strip())
