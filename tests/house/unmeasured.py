"""Without coverage."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from coverage import Coverage

MEASURES = ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")
"""The environment by which coverage is measured in processes that one starts."""


@contextmanager
def unmeasured() -> Iterator[None]:
    """What runs inside is not measured, nor are processes that it starts."""
    measuring = Coverage.current()
    if measuring is None:
        yield
        return
    measuring.stop()
    try:
        with patch.dict(os.environ):
            for name in MEASURES:
                os.environ.pop(name, None)
            yield
    finally:
        measuring.start()
