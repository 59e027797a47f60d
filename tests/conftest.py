"""What holds for all tests. Property tests measure no time: machines differ, and coverage slows them down. Assertions
of some helpers say as much as those of tests. Many tests wait for something, so there are more workers than
processors; what takes long begins first, so that no worker is left with it at the end. Coverage is measured where the
pure cores are tested."""

import os
import re
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.house.unmeasured import unmeasured

pytest.register_assert_rewrite("tests.integration.lives", "tests.integration.talker")
settings.register_profile("tidegate", deadline=None, print_blob=False, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tidegate")

HERE = Path(__file__).parent
LONG = ("integration/test_ten", "integration/", "tidegate/", "docs/", "dataplane/realtime/")
"""What takes long, the longest first."""
WHOLE = re.compile(
    "(integration|tidegate|docs)/|dataplane/http/test_smuggling"
    "|dataplane/realtime/test_(orders|fuzz|hostile_clients|live_(?!refusals))"
    "|controller/test_compile_properties|dataplane/telemetry/test_any_text"
)
"""Tests of the product as a whole, and long runs. They reach nothing of the pure cores that others do not, and to
measure them takes as long as they do."""


def pytest_xdist_auto_num_workers() -> int:
    """How many workers `-n auto` means."""
    return 2 * (os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: next((i for i, each in enumerate(LONG) if _place(item).startswith(each)), len(LONG)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    with unmeasured() if WHOLE.match(_place(item)) else nullcontext():
        return (yield)


def _place(item: pytest.Item) -> str:
    return item.path.relative_to(HERE).as_posix()
