"""Every link in the documentation leads somewhere. Addresses on the internet are not tried: no test needs it."""

from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.docs.pages import ROOT, anchors, links, pages

PAGES = {str(page.relative_to(ROOT)): page for page in pages()}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    dead = [f"{name}:{line}: {target}" for line, target in links(PAGES[name]) if not _leads(PAGES[name], target)]
    assert dead == []


def test_every_page_of_docs_is_listed() -> None:
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / target.partition("#")[0]).resolve() for _, target in links(index)}
    assert [str(page) for page in pages() if page.is_relative_to(index.parent) and page not in {*listed, index}] == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `b` c!\n[1](#a-b-c) [2](#a-b) [3](page.md) [4](gone.md)\n\n```\n[5](gone.md)\n```\n`[6](x)`\n")
    assert [target for _, target in links(page) if not _leads(page, target)] == ["#a-b", "gone.md"]


def _leads(page: Path, target: str) -> bool:
    if target.startswith(("https://", "http://", "mailto:")):
        return True
    name, _, anchor = unquote(target).partition("#")
    there = (page.parent / name).resolve() if name else page
    if not there.exists():
        return False
    return not anchor or (there.suffix == ".md" and anchor in anchors(there))
