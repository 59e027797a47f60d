"""Secrets that commands take from the environment: other users can see the options of a process."""

from __future__ import annotations

import os
from typing import Final

from pydantic import SecretStr

from tidegate.exits import Exit, Stop

LONGEST_ADMIN_TOKEN: Final = 4096
"""Characters; what reads or sends heads of requests allows for little more in a line."""
ADMIN_TOKEN: Final = "TIDEGATE_ADMIN_TOKEN"  # noqa: S105  (its name)


def secret(variable: str) -> SecretStr | None:
    """What is sent as a bearer token; None where nothing is set. Blanks around it are a file's line break. Raises Stop
    (usage), which does not quote it."""
    value = os.environ.get(variable, "").strip()
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise Stop(Exit.USAGE, f"{variable} holds characters that no token may hold: write ASCII without blanks.")
    return SecretStr(value) if value else None


def admin_token() -> SecretStr | None:
    """None where it is not set, or empty. Raises Stop (usage)."""
    token = secret(ADMIN_TOKEN)
    if token and len(token.get_secret_value()) > LONGEST_ADMIN_TOKEN:
        what = f"has more than {LONGEST_ADMIN_TOKEN:,} characters, too many for a header; 64 are plenty."
        raise Stop(Exit.USAGE, f"{ADMIN_TOKEN} {what}")
    return token


def has_blank(variable: str) -> bool:
    """Whether it is there and holds nothing: whoever wrote it wanted something else."""
    return variable in os.environ and not os.environ[variable].strip()
