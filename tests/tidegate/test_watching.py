"""What counts as a change of the configuration: real files, and the events that the system sends for them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from watchfiles import Change

from tidegate import watching
from tidegate.watching import Matters

PATIENCE_S = 10.0
MARK = "zz-mark.yaml"


@asynccontextmanager
async def watched(*paths: Path) -> AsyncIterator[asyncio.Queue[None]]:
    """The changes that were seen, from a watcher that is known to watch."""
    seen: asyncio.Queue[None] = asyncio.Queue()

    async def watch() -> None:
        async for change in watching.changes(paths):
            seen.put_nowait(change)

    watcher = asyncio.create_task(watch())
    try:
        first = paths[0] if paths[0].is_file() else paths[0] / MARK
        async with asyncio.timeout(PATIENCE_S):
            while seen.empty():  # until the system tells of writes at all
                first.write_text(first.read_text() if first.exists() else "")
                await asyncio.sleep(0.02)
        await quiet(seen)
        yield seen
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)


async def quiet(seen: asyncio.Queue[None]) -> None:
    """Let everything that is on its way arrive, and forget it."""
    while True:
        try:
            async with asyncio.timeout(0.3):
                await seen.get()
        except TimeoutError:
            return


async def changed(seen: asyncio.Queue[None]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await seen.get()


async def test_a_file_is_written_in_place_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("a: 1")
    async with watched(path) as seen:
        path.write_text("a: 2")
        await changed(seen)
        await quiet(seen)
        (tmp_path / "config.yaml.tmp").write_text("a: 3")
        (tmp_path / "config.yaml.tmp").rename(path)
        await changed(seen)


@pytest.mark.parametrize(
    ("name", "of_file", "of_folder"),
    [
        ("config.yaml", True, True),
        ("other.yaml", False, True),
        ("other.yml", False, True),
        ("other.json", False, True),
        ("gateway.log", False, False),
        ("config.yaml.swp", False, False),
        ("..data", True, True),
        ("deeper/other.yaml", False, False),
    ],
)
def test_what_matters(tmp_path: Path, name: str, of_file: bool, of_folder: bool) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("a: 1")
    assert Matters([path])(Change.modified, str(tmp_path / name)) is of_file
    assert Matters([tmp_path])(Change.modified, str(tmp_path / name)) is of_folder


async def test_files_come_and_go_in_a_folder(tmp_path: Path) -> None:
    async with watched(tmp_path) as seen:
        (tmp_path / "new.yml").write_text("a: 1")
        await changed(seen)
        await quiet(seen)
        (tmp_path / "new.yml").unlink()
        await changed(seen)


async def test_a_mounted_config_map_changes_by_its_symlink(tmp_path: Path) -> None:
    for version in ("..1", "..2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "config.yaml").write_text(version)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "config.yaml").symlink_to("..data/config.yaml")
    for path in (tmp_path / "config.yaml", tmp_path):
        async with watched(path) as seen:
            (tmp_path / "..data_tmp").symlink_to("..2")
            (tmp_path / "..data_tmp").rename(tmp_path / "..data")
            await changed(seen)


async def test_a_link_to_a_file_elsewhere(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "voice.yaml").write_text("a: 1")
    link = tmp_path / "config.yaml"
    link.symlink_to(real / "voice.yaml")
    async with watched(link) as seen:
        (real / "voice.yaml").write_text("a: 2")
        await changed(seen)


async def test_a_folder_that_is_replaced_is_watched_again(tmp_path: Path) -> None:
    folder, new = tmp_path / "conf", tmp_path / "new"
    for each in (folder, new):
        each.mkdir()
        (each / "voice.yaml").write_text(each.name)
    async with watched(folder) as seen:
        shutil.rmtree(folder)
        new.rename(folder)
        await changed(seen)
        await quiet(seen)
        (folder / "voice.yaml").write_text("a: 2")
        await changed(seen)


async def test_a_folder_that_comes_late_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_MS", 20)
    first = watching.changes([tmp_path / "later" / "deep" / "voice.yaml"])
    seen = asyncio.ensure_future(anext(first))
    await asyncio.sleep(0)
    (tmp_path / "later" / "deep").mkdir(parents=True)
    async with asyncio.timeout(PATIENCE_S):
        await seen
