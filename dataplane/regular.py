"""Regular expressions that people write, on RE2 (https://github.com/google/re2/wiki/Syntax). Pure.

Whoever writes an HTTPRoute must not be able to hold up everybody's requests: what RE2 takes for a match grows with the
text and nothing else, and its memory is bounded. It has no look-around and no back-references for that.
"""

from __future__ import annotations

from collections.abc import Callable

import re2

LONGEST = 1024
"""Characters of a pattern."""
_MEMORY = 1024 * 1024
_SHOWN = 100
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False  # it would be to stderr
_OPTIONS.max_mem = _MEMORY


def matcher(pattern: str) -> Callable[[str], bool]:
    """Tells whether the whole of a text matches; bytes that are not UTF-8 (`surrogateescape`) match nothing.

    Raises ValueError, which says what is wrong, for what RE2 does not take."""
    if len(pattern) > LONGEST:
        raise ValueError(f"has more than {LONGEST} characters")
    try:
        compiled = re2.compile(pattern.encode(), options=_OPTIONS)
    except UnicodeEncodeError:
        raise ValueError("is no Unicode text") from None
    except re2.error as error:
        raise ValueError(_said(error)) from None
    fullmatch = compiled.fullmatch
    return lambda text: fullmatch(text.encode("utf-8", "surrogateescape")) is not None


def _said(error: Exception) -> str:
    told = error.args[0] if error.args else b""
    text = told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
