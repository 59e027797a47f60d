"""Goals are met or missed by the median."""

from __future__ import annotations

import pytest

from bench.goals import GOALS, Goal
from bench.loads import ADDED_P50, CPU_MESSAGE, CPU_REQUEST, MEMORY, loads
from bench.relays import C_RELAY, DIRECT, NGINX, TIDEGATE, TIDEGATE_POOL

from .made import cpu, one_round, series

RATIO = Goal("", "paced", CPU_MESSAGE, 1.5, C_RELAY, 1.25)


@pytest.mark.parametrize(("ours", "verdict"), [(12, "met, and the stretch"), (15, "met"), (16, "**missed**")])
def test_a_ratio(ours: float, verdict: str) -> None:
    assert RATIO.verdict({"paced": series("paced", one_round(cpu(Tidegate=ours, C_relay=10)))}) == verdict


def test_another_way_to_run_it() -> None:
    runs = one_round(cpu(Tidegate=10) | {TIDEGATE_POOL: {CPU_MESSAGE.key: 12}})
    assert Goal("", "pool", CPU_MESSAGE, 1.05, TIDEGATE, of=TIDEGATE_POOL).verdict({"pool": series("pool", runs)}) == (
        "**missed**"
    )


def test_what_was_not_measured() -> None:
    assert RATIO.verdict({}) == "not measured"
    assert RATIO.verdict({"paced": series("paced", one_round(cpu(Tidegate=1)))}) == "not measured"


def test_by_itself_and_beyond_the_direct_way() -> None:
    idle = one_round({TIDEGATE: {"rss_kb_session": 33}})
    assert Goal("", "idle", MEMORY, 32).verdict({"idle": series("idle", idle)}) == "**missed**"
    paced = one_round({TIDEGATE: {"down_lat_us.p50": 90}, DIRECT: {"down_lat_us.p50": 31}})
    assert Goal("", "paced", ADDED_P50, 60, DIRECT).verdict({"paced": series("paced", paced)}) == "met"


def test_how_a_goal_is_written() -> None:
    assert RATIO.shown == "≤ 1.5 (stretch 1.25)"
    assert Goal("", "idle", MEMORY, 32).shown == "≤ 32 KB"
    assert Goal("", "paced", ADDED_P50, 60, DIRECT).shown == "≤ 60 µs"
    assert Goal("", "chat", CPU_REQUEST, 1 / 150, NGINX).shown == "≤ 1/150"


def test_every_goal_can_be_measured() -> None:
    """Its load exists, has the figure, and is taken by whom it is compared with."""
    for goal in GOALS:
        load = loads()[goal.load]
        assert goal.figure in load.figures
        assert TIDEGATE in load.contenders
        assert not goal.against or goal.against in load.contenders
