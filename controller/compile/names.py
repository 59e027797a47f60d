"""Names that lead nowhere: what exists instead, the likeliest first."""

from __future__ import annotations

import difflib
from collections.abc import Collection

_SHOWN = 10


def what_exists(name: str, names: Collection[str]) -> str:
    """The end of a message about an unknown `name`, among these `names`."""
    if not names:
        return "there is none here"
    close = difflib.get_close_matches(name, sorted(names), n=3, cutoff=0.5)
    listed = [*close, *sorted(set(names) - set(close))]
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return f"there is: {', '.join(listed[:_SHOWN])}{more}"
