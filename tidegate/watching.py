"""When configuration files have changed.

Folders are watched, not files: editors replace a file by another, and Kubernetes changes a mounted ConfigMap by
turning one symlink (`..data`), so that the file itself never seems to change.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from watchfiles import Change, awatch

SUFFIXES = (".yaml", ".yml", ".json")
QUIET_MS = 30
"""A change is over when so long nothing more has happened: writers empty a file first, then fill it."""
LONGEST_MS = 1000


async def changes(paths: Iterable[Path]) -> AsyncIterator[None]:
    """Something that may matter has changed, each time. Ends by cancellation alone."""
    wanted = list(paths)
    async for _ in awatch(
        *folders(wanted), watch_filter=Matters(wanted), debounce=LONGEST_MS, step=QUIET_MS, recursive=False
    ):
        yield


def folders(paths: Iterable[Path]) -> set[Path]:
    """The folders to watch: where each path is, and where it leads to if it is a link."""
    found: set[Path] = set()
    for path in paths:
        for place in (path.absolute(), path.resolve()):
            folder = place if place.is_dir() else place.parent
            if folder.is_dir():
                found.add(folder)
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
