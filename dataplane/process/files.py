"""Refuse what is new before file descriptors run out, and keep a reserve of them for everything else: the admin port,
reloads, log files, collectors of telemetry.

How many are in use need not be counted. A new descriptor gets the lowest number that is free (POSIX, "File Descriptor
Allocation"), so one with the number n says that all below n are taken. The numbers from `edge` on are the reserve, and
traffic keeps none of them, however sudden it comes: an upstream is not dialled with one, a client's connection that
gets one is told 503 and closed. From `brink` on, in the middle of the reserve, clients are left waiting in the kernel
(`http.listener`).
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import structlog

from dataplane.errors import Refusal

NONE_LEFT = (errno.EMFILE, errno.ENFILE)
"""What the system says where a process has no descriptor left, or the machine."""
LEAST, MOST = 16, 256
"""Descriptors of the reserve, which is an eighth of all."""
CALM = 3
"""Looks in a row that must find enough, so that it does not flicker."""

log = structlog.get_logger("tidegate")


def soft_limit() -> int:
    """How many descriptors this process may have (RLIMIT_NOFILE)."""
    if sys.platform == "win32":
        return sys.maxsize
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


class Files:
    """What traffic may take of the process's descriptors; `limit` is how many there may be."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = soft_limit() if limit is None else limit
        reserve = max(LEAST, min(MOST, self.limit // 8))
        self.edge = max(0, self.limit - reserve)
        self.brink = self.limit - reserve // 2
        self.short = False
        """Was traffic refused one, and are there still few?"""
        self._calm = 0

    def next(self) -> int:
        """The number that the next descriptor will get; `limit` where there will be none."""
        try:
            number = os.open(os.devnull, os.O_RDONLY)
        except OSError:
            return self.limit
        os.close(number)
        return number

    def may_have(self, number: int) -> bool:
        """May traffic have the descriptor of this number? If not, they are short."""
        if number < self.edge:
            return True
        self._calm = 0
        if not self.short:
            self.short = True
            what = "file descriptors are short: new requests are refused until fewer are in use"
            log.warning(what, limit=self.limit, reserve=self.limit - self.edge)
        return False

    @contextmanager
    def place(self) -> Iterator[None]:
        """Keep one for what will be opened behind it. Raises OSError where only the reserve is left."""
        with self._noticing():
            number = os.open(os.devnull, os.O_RDONLY)
        try:
            self._check(number)
            yield
        finally:
            os.close(number)

    def socket(self, family: int, kind: int, protocol: int) -> socket.socket:
        """A socket for traffic. Raises OSError where only the reserve is left."""
        with self._noticing():
            made = socket.socket(family, kind, protocol)
        try:
            self._check(made.fileno())
        except OSError:
            made.close()
            raise
        return made

    def look(self) -> None:
        """See whether there are enough again, where they were short."""
        if not self.short:
            return
        self._calm = self._calm + 1 if self._enough() else 0
        if self._calm == CALM:
            self.short = False
            log.info("file descriptors are enough again: new requests are served", limit=self.limit)

    @contextmanager
    def _noticing(self) -> Iterator[None]:
        """Notice it where the system has none left."""
        try:
            yield
        except OSError as error:
            if error.errno in NONE_LEFT:
                self.may_have(self.limit)
            raise

    def _check(self, number: int) -> None:
        if not self.may_have(number):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def _enough(self) -> bool:
        """Are half as many free below the edge as are in the reserve? Taking them for a moment tells."""
        taken: list[int] = []
        with suppress(OSError):
            for _ in range((self.limit - self.edge) // 2):
                taken.append(os.open(os.devnull, os.O_RDONLY))
                if taken[-1] >= self.edge:
                    break
        for number in taken:
            os.close(number)
        return bool(taken) and taken[-1] < self.edge


def none_left() -> Refusal:
    """What a request is told for which no descriptor is left."""
    return Refusal(
        "overloaded",
        "This gateway has hardly any file descriptors left. Try again later; whoever runs it should raise its limit of "
        "open files, or run more gateways.",
    )
