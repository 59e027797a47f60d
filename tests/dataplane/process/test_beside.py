"""What nobody waits for, and what takes long."""

from __future__ import annotations

import asyncio
import threading

import pytest

from dataplane.process.beside import Beside
from dataplane.process.threads import Threads


async def test_so_much_is_done_beside_and_no_more() -> None:
    done: list[int] = []

    async def work(number: int) -> None:
        await asyncio.Event().wait()
        done.append(number)

    beside = Beside(2)
    assert [beside.do(work(number)) for number in range(3)] == [True, True, False]
    await asyncio.sleep(0)
    await beside.stop()
    assert done == []
    assert beside.do(work(3)), "there is room again"
    await asyncio.sleep(0)
    await beside.stop()


async def test_threads_are_so_many_and_belong_to_somebody() -> None:
    threads, running, most = Threads(2), threading.Semaphore(2), threading.Barrier(2)

    def work() -> str:
        assert running.acquire(blocking=False), "a third one"
        most.wait(10)
        running.release()
        return threading.current_thread().name

    names = await asyncio.gather(*[threads.run(work) for _ in range(6)])
    assert len(set(names)) == 2
    threads.stop()
    with pytest.raises(RuntimeError):
        await threads.run(work)
