"""Names of what happens: requests and turns."""

from __future__ import annotations

import random


def new_id() -> str:
    """32 hexadecimal digits that nothing else has. They are no secret; to ask the kernel for them would let another
    thread run each time."""
    return f"{random.getrandbits(128):032x}"
