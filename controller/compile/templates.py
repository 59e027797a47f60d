"""`${…}` in header values, parsed when a Policy is compiled so that no request pays for it or fails on it."""

from __future__ import annotations

import re
from typing import get_args

from dataplane.table import Template, Variable

CREDENTIAL_HEADERS = frozenset(
    [
        "api-key",
        "authorization",
        "cookie",
        "proxy-authorization",
        "sec-websocket-protocol",
        "x-api-key",
        "x-goog-api-key",
    ]
)
CREDENTIAL_PARAMETERS = frozenset(["key", "api-key", "access_token"])
"""Where clients put keys. A template that read one would hand it to whoever reads the header that it fills."""

_SOURCES: tuple[str, ...] = get_args(Variable.model_fields["source"].annotation)
_NAMED = ("request.header", "request.query")
KNOWN = ", ".join(f"${{{source}.NAME}}" if source in _NAMED else f"${{{source}}}" for source in _SOURCES)

_PIECE = re.compile(r"\$\$|\$\{([^}]*)\}|\$|[^$]+")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def parse(text: str) -> Template:
    """A header value as literal parts and variables. `$$` is a dollar sign.

    Raises ValueError, whose message says what may be written instead.
    """
    if re.search(r"[\r\n\0]", text):
        raise ValueError("must be on one line, without CR, LF and NUL")
    parts: list[str | Variable] = []
    literal = ""
    for piece in _PIECE.finditer(text):
        if piece[0] == "$":
            raise ValueError("has a '$' that begins no ${variable}; write $$ for a dollar sign")
        if piece[1] is None:
            literal += "$" if piece[0] == "$$" else piece[0]
            continue
        if literal:
            parts.append(literal)
            literal = ""
        parts.append(_variable(piece[1]))
    return (*parts, literal) if literal else tuple(parts)


def _variable(text: str) -> Variable:
    for source in _NAMED:
        name = text.removeprefix(source + ".")
        if name != text and name:
            return _named(source, name)
    if text in _SOURCES and text not in _NAMED:
        return Variable.model_validate({"source": text})
    raise ValueError(f"unknown variable ${{{text}}}; known: {KNOWN}")


def _named(source: str, name: str) -> Variable:
    if source == "request.header":
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"${{{source}.{name}}} names no header: use letters, digits and '-'")
        name = name.lower()
    if name.lower() in (CREDENTIAL_HEADERS if source == "request.header" else CREDENTIAL_PARAMETERS):
        raise ValueError(
            f"${{{source}.{name}}} may hold a credential, which is no source; for callers use ${{caller.key}}"
        )
    return Variable.model_validate({"source": source, "name": name})
