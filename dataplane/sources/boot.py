"""The snapshot that a data plane starts from where no controller answers: files of Secrets that are mounted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dataplane.table.bundle import Bundle, unpacked
from dataplane.table.delta import Unreadable


def read(folder: Path) -> Bundle:
    """What is in the folder, or in folders right below it, where each Secret has its own. Blocks.

    Raises Unreadable, which says where and what is wrong."""
    try:
        return unpacked({path.name: path.read_bytes() for path in _files(folder)})
    except Unreadable as error:
        raise Unreadable(f"{folder}: {error}") from None
    except OSError as error:
        raise Unreadable(f"{error.filename or folder}: {error.strerror}") from None


def _files(folder: Path) -> Iterator[Path]:
    """A mounted Secret's files are links through `..data`, which is passed over."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".."):
            continue
        if path.is_dir():
            yield from (each for each in sorted(path.iterdir()) if each.is_file())
        elif path.is_file():
            yield path
