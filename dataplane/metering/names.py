"""Names from outside (of models, responses, callers), made fit for everything that is told of them.

A provider or a client may call something what it likes. Half a surrogate pair, which JSON can write and UTF-8 cannot,
would break a whole exposition, batch or record; a NUL ends the line for some readers of Prometheus' format.
"""

from __future__ import annotations

import re

LONGEST = 256
"""Characters: a request may name a model of megabytes."""
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def clean(text: str, longest: int = LONGEST) -> str:
    """At most so many characters of a name, with `?` for control characters, line breaks and halves of surrogates."""
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    return text if text.isprintable() else _UNFIT.sub("?", text)
