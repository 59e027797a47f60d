"""Standard streams that came closed: `tidegate serve … >&-`, a supervisor that opens none."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def open_closed() -> None:
    """Open them on the null device. The numbers 0 to 2 must not go to sockets, which whoever writes to stdout would
    then write to; and Python has None in the place of such a stream."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            null = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115  (it gets the lowest free number)
            setattr(sys, name, null)
