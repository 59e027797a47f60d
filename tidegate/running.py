"""How a server's process runs: its loop, its signals, work beside the loop, its limit of open files."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def run(main: Coroutine[object, object, T]) -> T:
    """Run to the end on the fastest loop that there is."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    if sys.platform == "win32":
        return asyncio.new_event_loop
    import uvloop

    return uvloop.new_event_loop


async def beside(work: Callable[[], T]) -> T:
    """Do it in a thread that the end of the process does not wait for, as it does for those of `asyncio.to_thread`: a
    file on a disk that does not answer, and a pipe that nobody fills, may block it for good."""
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()  # whoever waits may give up; what came of it is told all the same

    def call() -> None:
        try:
            result = work()
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(result)

    threading.Thread(target=call, daemon=True).start()
    return await asyncio.wrap_future(done)


class Signals:
    """SIGTERM, SIGINT and SIGHUP of this process, from when it is made, in a running loop.

    The first of SIGTERM and SIGINT asks to stop: SIGTERM in peace, SIGINT (Ctrl-C) without waiting for anybody, as
    does a second signal. One more cancels the task that made this: what is not over by then is dropped."""

    def __init__(self) -> None:
        self.hurry = asyncio.Event()
        """Set where what is under way is not to be waited for."""
        self._stop = asyncio.Event()
        self._hangup = asyncio.Event()
        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._terminated)
        loop.add_signal_handler(signal.SIGINT, self._interrupted)
        loop.add_signal_handler(signal.SIGHUP, self._hangup.set)

    async def stopped(self) -> None:
        """Wait for the first signal."""
        await self._stop.wait()

    async def hung_up(self) -> None:
        """Wait for SIGHUP. Those that come while nobody waits count as one."""
        await self._hangup.wait()
        self._hangup.clear()

    def _terminated(self) -> None:
        if self._stop.is_set():
            self._interrupted()
        self._stop.set()

    def _interrupted(self) -> None:
        if self.hurry.is_set() and self._task:
            self._task.cancel()
        self.hurry.set()
        self._stop.set()


def raise_open_files() -> None:
    """Raise the soft limit of open files to the hard one: a session takes two."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):  # macOS calls the hard limit infinite and then takes no more than its own
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 10_240)), hard))
