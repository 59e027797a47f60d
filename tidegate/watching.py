"""When configuration files have changed.

Folders are watched, not files: editors replace a file by another, and Kubernetes changes a mounted ConfigMap by
turning one symlink (`..data`), so that the file itself never seems to change.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import suppress
from pathlib import Path

from watchfiles import Change, awatch

SUFFIXES = (".yaml", ".yml", ".json")
QUIET_MS = 30
"""A change is over when so long nothing more has happened: writers empty a file first, then fill it."""
LONGEST_MS = 1000
LOOK_MS = 1000
"""How often it is looked whether the folders are still those that are watched: one that was moved away or removed
says nothing any more, and neither does another in its place (`git checkout`, `rm -r conf && cp -r new conf`)."""

Folders = dict[Path, tuple[int, int]]
"""Each with what tells it from another of the same name: device and inode."""


async def changes(paths: Iterable[Path]) -> AsyncIterator[None]:
    """Something that may matter has changed, each time. Ends by cancellation alone.

    The first time is soon after the beginning in any case, for what has changed since the files were read."""
    wanted = list(paths)
    other = True
    while True:
        watched = folders(wanted)
        if not watched:
            await asyncio.sleep(LOOK_MS / 1000)
            other = True
            continue
        async for found in _watch(watched, Matters(wanted)):
            if found or other:
                other = False
                yield
            if folders(wanted) != watched:
                other = True  # told once the new ones are watched, so that no change is missed
                break


def _watch(watched: Folders, matters: Matters) -> AsyncGenerator[set[tuple[Change, str]], None]:
    """Sets of changes; an empty one where there were none for `LOOK_MS`."""
    return awatch(
        *watched,
        watch_filter=matters,
        debounce=LONGEST_MS,
        step=QUIET_MS,
        rust_timeout=LOOK_MS,
        yield_on_timeout=True,
        recursive=False,
    )


def folders(paths: Iterable[Path]) -> Folders:
    """The folders to watch: where each path is, and where it leads to if it is a link."""
    found: Folders = {}
    for path in paths:
        for place in (path.absolute(), path.resolve()):
            folder = place if place.is_dir() else place.parent
            with suppress(OSError):
                if folder.is_dir():
                    about = folder.stat()
                    found[folder] = (about.st_dev, about.st_ino)
    return found


class Matters:
    """Which events matter: those of a file that was named, of YAML in a folder that was named, of `..data`."""

    def __init__(self, paths: Iterable[Path]) -> None:
        named = list(paths)
        self._files = {path.name for path in named} | {path.resolve().name for path in named}
        self._folders = {place for path in named if path.is_dir() for place in (path.absolute(), path.resolve())}

    def __call__(self, _change: Change, text: str) -> bool:
        path = Path(text)
        if path.name == "..data" or path.name in self._files:
            return True
        return path.suffix in SUFFIXES and path.parent in self._folders
