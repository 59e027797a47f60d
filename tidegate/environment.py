"""Secrets that commands take from the environment: other users can see the options of a process."""

from __future__ import annotations

import os
from typing import Final

from pydantic import SecretStr

from tidegate.exits import Exit, Stop

ADMIN_TOKEN: Final = "TIDEGATE_ADMIN_TOKEN"  # noqa: S105  (its name)


def secret(variable: str) -> SecretStr | None:
    """What is sent as a bearer token; None where nothing is set. Blanks around it are a file's line break. Raises Stop
    (usage), which does not quote it."""
    value = os.environ.get(variable, "").strip()
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise Stop(Exit.USAGE, f"{variable} holds characters that no token may hold: write ASCII without blanks.")
    return SecretStr(value) if value else None
