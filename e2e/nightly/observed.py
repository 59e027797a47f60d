"""`python observed.py FILE serve …`: the command `tidegate`, as it is. On SIGUSR1 it adds a line to the file that says
what the process holds: asyncio's tasks, timers, the objects that the garbage collector knows, and Python's blocks of
memory."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from tidegate.cli import main

SIGNALS = {signal.SIGUSR1}
STANDS_STILL_S = 10.0
"""Far longer than counting takes."""


def watch(file: Path) -> None:
    """Wait for signals, for ever."""
    while True:
        signal.sigwait(SIGNALS)
        with file.open("a") as lines:
            lines.write(json.dumps(holding()) + "\n")


def holding() -> dict[str, object]:
    """Other threads stand still meanwhile: who looks at all objects has a reference to each, also to a tuple that
    somebody is just filling from an iterator, and CPython takes exception to that (SystemError in tupleobject.c)."""
    gc.collect()
    usual = sys.getswitchinterval()
    sys.setswitchinterval(STANDS_STILL_S)
    time.sleep(usual * 2)  # who waits for its turn already does so by the old interval
    try:
        return _counts()
    finally:
        sys.setswitchinterval(usual)


def _counts() -> dict[str, object]:
    objects = gc.get_objects()
    loops = [each for each in objects if isinstance(each, asyncio.AbstractEventLoop)]
    kinds = Counter(type(each).__name__ for each in objects)
    return {
        "tasks": sum(len(asyncio.all_tasks(loop)) for loop in loops if loop.is_running()),
        "timers": kinds["TimerHandle"],
        "objects": len(objects),
        "blocks": sys.getallocatedblocks(),
    }


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # for all threads, so that `sigwait` gets it
    threading.Thread(target=watch, args=[Path(sys.argv.pop(1))], daemon=True).start()
    sys.argv[0] = "tidegate"
    main()
