"""Exit codes, and the errors that are foreseen: they end a command with a sentence, never with a traceback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from errno import EADDRINUSE


class Exit(IntEnum):
    """What a command says to the shell."""

    OK = 0
    FAILED = 1
    """The check failed: an object is not accepted, a file cannot be read, a turn did not complete."""
    USAGE = 2
    """The command was called wrongly; nothing was tried."""
    CANNOT_START = 3
    """The machine is in the way: the port is taken, the certificate cannot be read, nobody answers."""


class Stop(Exception):
    """Ends the command with this message on stderr and this exit code."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@contextmanager
def listening_on(address: str, option: str) -> Iterator[None]:
    """Turn the OSError of opening a port into a Stop that says what to do; `option` chooses the port."""
    try:
        yield
    except OSError as error:
        # asyncio's text is a sentence of its own; the numbers of a look-up are below 0 and not the system's.
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        free_it = "Stop what uses it, or choose" if error.errno == EADDRINUSE else "Choose"
        raise Stop(
            Exit.CANNOT_START, f"cannot listen on {address}: {why}. {free_it} another address with {option}."
        ) from None
