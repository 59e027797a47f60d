"""Header fields as they are written on a command line: `NAME: VALUE`."""

from __future__ import annotations

import re
from typing import Final

from tidegate.exits import Exit, Stop

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110, section 5.6.2: a token."""


def parsed(text: str) -> tuple[str, str]:
    """Name, in lower case, and value. Raises Stop (usage), which repeats nothing of the text: it may be a key."""
    name, colon, value = text.partition(":")
    if not colon or not _NAME.fullmatch(name.strip()):
        raise Stop(Exit.USAGE, "--header: write 'NAME: VALUE'.")
    return name.strip().lower(), value.strip()
