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
from collections import Counter
from pathlib import Path

from tidegate.cli import main

SIGNALS = {signal.SIGUSR1}


def watch(file: Path) -> None:
    """Wait for signals, for ever."""
    while True:
        signal.sigwait(SIGNALS)
        with file.open("a") as lines:
            lines.write(json.dumps(holding()) + "\n")


def holding() -> dict[str, object]:
    gc.collect()
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
