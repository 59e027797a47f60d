"""Markdown pages as the tests read them: fenced blocks, headings, links."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})\s*(.*)$")
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$")
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?[^)]*\)|(?:src|href)=\"([^\"]+)\"")
_DEFINITION = re.compile(r"^\[[^\]]+\]:\s+(\S+)")
_CODE = re.compile(r"(`+).+?\1")
_COMMENT = re.compile(r"^<!--\s*(.+?)\s*-->$")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its kind (the first word of the info string), the other words, and the comment right above."""

    page: Path
    line: int
    kind: str
    words: tuple[str, ...]
    comment: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str:
        """The name under which the page's commands find it: `file=NAME` in the info string."""
        return next((word.removeprefix("file=") for word in self.words if word.startswith("file=")), "")


def pages() -> list[Path]:
    """Every Markdown file of the repository."""
    found = (path for path in ROOT.rglob("*.md") if not _apart(path.relative_to(ROOT)))
    return sorted(found)


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order. Raises ValueError where one is not closed."""
    found: list[Block] = []
    opened: tuple[str, int, str] | None = None
    inside: list[str] = []
    before = ""
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if opened is None and fence:
            opened, inside = (fence[1], number, fence[2]), []
        elif opened and fence and not fence[2] and fence[1].startswith(opened[0]):
            kind, *words = opened[2].split() or [""]
            comment = _COMMENT.match(before)
            text = "".join(f"{each}\n" for each in inside)
            found.append(Block(page, opened[1], kind, tuple(words), comment[1] if comment else "", text))
            opened = None
        elif opened:
            inside.append(line)
        before = line if opened is None else before
    if opened:
        raise ValueError(f"{page}:{opened[1]}: the block is not closed")
    return found


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Each command of a transcript, which begins with `$ `, as it is typed, and what is shown below it."""
    first, *others = re.split(r"^\$ ", text, flags=re.MULTILINE)
    if first.strip():
        yield "", first
    for each in others:
        head = re.match(r"(?:.*\\\n)*.*\n", each)
        assert head, each
        yield head[0].rstrip("\n"), each[head.end() :]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    seen: Counter[str] = Counter()
    found: set[str] = set()
    for _, line in _prose(page):
        if heading := _HEADING.match(line):
            plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).replace("`", "")
            anchor = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
            found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
            seen[anchor] += 1
    return found


def links(page: Path) -> Iterator[tuple[int, str]]:
    """Line and target of every link and picture."""
    for number, line in _prose(page):
        text = _CODE.sub("", line)
        if definition := _DEFINITION.match(text):
            yield number, definition[1]
        for link in _LINK.finditer(text):
            yield number, link[1] or link[2]


def _prose(page: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not in fenced blocks."""
    fence = ""
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        mark = _FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and not mark[2] and mark[1].startswith(fence):
            fence = ""
        elif not fence:
            yield number, line


def _apart(path: Path) -> bool:
    """Caches, environments, and what npm installed."""
    return any(part.startswith(".") or part == "node_modules" for part in path.parts)
