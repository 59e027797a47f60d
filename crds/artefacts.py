"""Files made from the models: write them, or say which are stale."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def keep(files: Mapping[Path, str], arguments: Sequence[str], module: str) -> int:
    """Write `files`, or with `--check` compare them with what is there. The exit code: 1 stale, 2 wrong usage."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write(f"usage: python -m {module} [--check]\n")
        return 2
    stale = [path for path, text in files.items() if not path.is_file() or path.read_text("utf-8") != text]
    if not arguments:
        for path in stale:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path], "utf-8")
        return 0
    for path in stale:
        sys.stderr.write(f"{path} is stale: run python -m {module}\n")
    return 1 if stale else 0
