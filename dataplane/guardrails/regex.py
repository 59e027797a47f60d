"""Patterns that may not be said, in RE2's syntax (`dataplane.regular` says why RE2)."""

from __future__ import annotations

from dataclasses import replace

import re2

from dataplane.guardrails.detection import Detector, Scan, as_matched, by_pattern, compiled, sieve
from dataplane.guardrails.folding import folded, plain
from dataplane.guardrails.widths import width
from dataplane.regular import LONGEST
from dataplane.slices import Slices
from dataplane.table.guardrails import Regex


def detector(regex: Regex, name: str) -> Slices[Detector]:
    """Its rules are the patterns' names. Raises ValueError for a pattern that cannot be used: the text says which."""
    scans: list[Scan] = []
    for each in regex.patterns:
        yield
        try:
            scans += _scans(each.pattern, each.name)
        except ValueError as error:
            raise ValueError(f"pattern {each.name}: {error}") from None
    yield
    return Detector(tuple(scans), lambda _rule: f"[{name}]", sieve(scans))


def _scans(pattern: str, rule: str) -> list[Scan]:
    if len(pattern) > LONGEST:
        raise ValueError(f"it has more than {LONGEST} characters")
    try:
        searched = compiled(pattern)
    except UnicodeEncodeError:
        raise ValueError("it is no Unicode text") from None
    except re2.error as error:
        told = error.args[0] if error.args else b""
        raise ValueError(told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)) from None
    size = width(pattern)
    if size.least == 0:
        raise ValueError("it matches the empty text, and so everything")
    scan = Scan(plain, by_pattern(searched, as_matched(rule)), longest=size.most, sign=searched)
    return [scan, replace(scan, kind=folded)]
