"""Work that comes in storms is done a few pieces in a turn of the loop, in its order, and all of it."""

from __future__ import annotations

import asyncio
from functools import partial

from dataplane.process.pace import AT_ONCE, Pace

MANY = 5 * AT_ONCE


async def test_the_first_are_done_at_once_and_the_others_some_a_turn_in_their_order() -> None:
    pace, done = Pace(), list[int]()
    for number in range(MANY):
        pace.do(partial(done.append, number))
    assert len(done) == AT_ONCE
    while len(done) < MANY:
        before = len(done)
        await asyncio.sleep(0)
        assert before < len(done) <= before + AT_ONCE
    assert done == list(range(MANY))


async def test_who_comes_while_others_wait_comes_behind_them() -> None:
    pace, done = Pace(), list[str]()
    pace.later(lambda: done.append("first"))
    pace.do(lambda: done.append("second"))
    assert done == []
    await asyncio.sleep(0)
    assert done == ["first", "second"]


async def test_work_that_leads_to_more() -> None:
    pace, done = Pace(), list[str]()

    def more() -> None:
        done.append("more")
        pace.do(lambda: done.append("again"))

    for _ in range(AT_ONCE + 1):
        pace.do(more)
    for _ in range(4):
        await asyncio.sleep(0)
    assert sorted(done) == ["again"] * (AT_ONCE + 1) + ["more"] * (AT_ONCE + 1)


async def test_a_piece_that_fails_fails_alone() -> None:
    pace, done, failed = Pace(), list[int](), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context["exception"]))

    def fail() -> None:
        raise ValueError

    for number in range(MANY):
        pace.later(fail)
        pace.later(partial(done.append, number))
    while len(done) < MANY:
        await asyncio.sleep(0)
    assert done == list(range(MANY))
    assert len(failed) == MANY


async def test_in_a_hurry_all_is_done_in_one_turn() -> None:
    pace, done = Pace(), list[int]()
    for number in range(MANY):
        pace.do(partial(done.append, number))
    pace.hurry()
    await asyncio.sleep(0)
    assert done == list(range(MANY))


async def test_tasks_wait_for_their_turn_and_those_that_are_cancelled_hold_up_nobody() -> None:
    pace, done = Pace(), list[int]()

    async def work(number: int) -> None:
        await pace.turn()
        done.append(number)

    tasks = [asyncio.create_task(work(number)) for number in range(MANY)]
    await asyncio.sleep(0)
    assert len(done) == AT_ONCE
    for task in tasks[AT_ONCE:-1]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert done == [*range(AT_ONCE), MANY - 1]
