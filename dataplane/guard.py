"""Telemetry is told what happens, and may not change it: a fault there ends no session and refuses no request."""

from __future__ import annotations

from types import TracebackType

import structlog

log = structlog.get_logger("tidegate")


class Guard:
    """Stands around what only tells. An exception inside goes no further; the first one is logged, since the others
    would come with every turn."""

    def __init__(self) -> None:
        self._noted = False

    def __enter__(self) -> None:
        """Nothing is to be done before."""

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        if not self._noted:
            self._noted = True
            log.error("telemetry failed; from now on such faults are not logged", exc_info=error)
        return True
