"""What happens every so often, and how late."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sized
from unittest.mock import patch

from dataplane.process import lifecycle
from dataplane.process.pulse import Every
from dataplane.server import Gateway
from tests.dataplane.realtime.wires import until
from tests.dataplane.rig import Remembering


async def silence(beats: Sized) -> None:
    """Nothing is added while another timer beats."""
    count = len(beats)
    others: list[float] = []
    other = Every(0.001, others.append)
    await until(lambda: len(others) >= 5, "the other beats")
    other.stop()
    assert len(beats) == count


async def test_again_and_again_until_it_is_stopped() -> None:
    beats: list[float] = []
    timer = Every(0.001, beats.append)
    await until(lambda: len(beats) >= 3, "it beats")
    timer.stop()
    await silence(beats)
    assert min(beats) >= 0


async def test_how_late_it_is() -> None:
    beats: list[float] = []
    timer = Every(0.01, beats.append)
    time.sleep(0.1)
    await until(lambda: beats, "it beats")
    timer.stop()
    assert beats[0] >= 0.089


async def test_a_beat_that_fails_is_not_the_last() -> None:
    beats: list[float] = []
    complaints: list[object] = []

    def beat(late: float) -> None:
        beats.append(late)
        raise RuntimeError("once more")

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    timer = Every(0.001, beat)
    await until(lambda: len(beats) >= 2, "it beats")
    timer.stop()
    assert complaints


async def test_the_meter_is_told_how_late_the_loop_is() -> None:
    with patch.object(lifecycle, "LAG_EVERY", 0.001), patch.object(Remembering, "loop_lag", autospec=True) as loop_lag:
        gateway = Gateway(meter=Remembering())
        await gateway.start("127.0.0.1", 0)
        await until(lambda: loop_lag.call_count >= 3, "it is measured")
        await gateway.stop()
        assert loop_lag.call_args.args[1] >= 0
        await silence(loop_lag.call_args_list)
