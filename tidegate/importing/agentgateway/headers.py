"""Changes of header fields: agentgateway's values are CEL expressions, or plain text; ours are text with variables."""

from __future__ import annotations

import re
from collections.abc import Callable

from controller.compile import templates
from controller.compile.headers import not_removable, not_settable
from tidegate.importing.agentgateway import advice
from tidegate.importing.fields import Fields
from tidegate.importing.patterns import HEADER_NAME, HEADER_TEXT, fits
from tidegate.importing.writing import Object

_MOST = 32
_TEXT = re.compile(r"""\s*(?:"([^"\\]*)"|'([^'\\]*)')\s*""")
_HEADER = re.compile(r"""\s*request\.headers\[(?:"([^"\\]*)"|'([^'\\]*)')\]\s*""")
_PATH = re.compile(r"\s*request\.path\s*")

Value = Callable[[str], str | None]
"""From theirs to ours; None: it cannot be said."""


def from_cel(expression: str) -> str | None:
    """Of text, a header of the request, and the path; anything else is computed, which nothing here does."""
    if text := _TEXT.fullmatch(expression):
        return from_text(text[1] or text[2] or "")
    if header := _HEADER.fullmatch(expression):
        return f"${{request.header.{header[1] or header[2]}}}"
    return "${request.path}" if _PATH.fullmatch(expression) else None


def from_text(text: str) -> str | None:
    """Plain text."""
    return text.replace("$", "$$")


def transformation(block: Fields | None, value: Value) -> Object:
    """The blocks `request` and `response`, as far as they can be taken over."""
    if block is None:
        return {}
    found: Object = {}
    for side in ("request", "response"):
        inside = block.block(side)
        if inside is None:
            continue
        if changes := _changes(inside, value):
            found[side] = changes
        inside.rest(advice.TRANSFORM)
    block.rest(advice.TRANSFORMATION)
    return found


def _changes(side: Fields, value: Value) -> Object:
    found: Object = {}
    written: set[str] = set()
    for operation in ("set", "add"):
        once = written if operation == "set" else None
        if entries := [made for each in side.blocks(operation) if (made := _entry(each, value, once))][:_MOST]:
            found[operation] = entries
            written |= {str(each["name"]).lower() for each in entries}
    if names := _removed(side, written):
        found["remove"] = names
    return found


def _entry(entry: Fields, value: Value, once: set[str] | None) -> Object | None:
    """`once`: names that are set already, where each may be only once."""
    name, written = entry.text("name"), entry.text("value")
    entry.rest({})
    if name is None or written is None:
        entry.missing("dropped", "has no name or no value")
        return None
    if problem := _problem(name, once):
        entry.drop("name", problem)
        return None
    text = value(written)
    if text is None or not fits(HEADER_TEXT, text) or not _parses(text):
        entry.drop("value", advice.VALUE)
        return None
    if once is not None:
        once.add(name.lower())
    return {"name": name, "value": text}


def _problem(name: str, once: set[str] | None) -> str:
    """Why this header cannot be written, or nothing."""
    if not fits(HEADER_NAME, name):
        return "is no name of a header; an HTTPRoute's filters change the path and the host"
    if problem := not_settable(name.lower()):
        return f"cannot be written: {problem}"
    return "is set before it, and that holds" if once and name.lower() in once else ""


def _parses(text: str) -> bool:
    try:
        templates.parse(text)
    except ValueError:
        return False
    return True


def _removed(side: Fields, written: set[str]) -> list[str]:
    found: dict[str, str] = {}
    for name in side.texts("remove"):
        problem = "is no name of a header" if not fits(HEADER_NAME, name) else not_removable(name.lower())
        if name.lower() in written:
            problem = "set replaces a header anyway"
        if problem:
            side.drop("remove", f"one of these cannot be removed: {problem}")
        else:
            found.setdefault(name.lower(), name)
    return list(found.values())[:_MOST]
