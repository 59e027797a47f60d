"""Durations and sizes: text with a unit, as Kubernetes and the Gateway API write them, and what it means.

Durations are those of GEP-2257 (https://gateway-api.sigs.k8s.io/geps/gep-2257/): `10s`, `1m30s`, `500ms`. Sizes are
the part of Kubernetes' quantities that people use for bytes: `24Mi`, `512Ki`, `65536`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from pydantic import GetCoreSchemaHandler, StringConstraints
from pydantic_core import CoreSchema, core_schema

from crds.rules import Rule

_MILLISECONDS = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_BYTES = {"": 1, "k": 1_000, "M": 1_000_000, "Ki": 1_024, "Mi": 1_048_576}
_DURATION = "([0-9]{1,5}(h|m|s|ms)){1,4}"
_DURATION_PART = re.compile("([0-9]{1,5})(h|ms|m|s)")
_SIZE = "[0-9]{1,8}(k|M|Ki|Mi)?"

Duration = Annotated[str, StringConstraints(min_length=1, max_length=28)]
"""Use it with `lasting`."""
Size = Annotated[str, StringConstraints(min_length=1, max_length=10)]
"""Use it with `sized`."""


def is_duration(text: str) -> bool:
    """Whether it is well written."""
    return re.fullmatch(_DURATION, text) is not None


def seconds(duration: str) -> float:
    """Seconds of a duration that is well written."""
    return _milliseconds(duration) / 1000


def size(text: str) -> int:
    """Bytes of a size that is well written."""
    digits = text.rstrip("kKMi")
    return int(digits) * _BYTES[text[len(digits) :]]


def lasting(low: str, high: str, *, such_as: str) -> Rule:
    """The duration is neither shorter nor longer than these."""
    message = f"write a duration from {low} to {high} with its units (h, m, s, ms), such as {such_as}"
    bounds = f"duration(self) >= duration('{low}') && duration(self) <= duration('{high}')"
    return _Amount(_cel(_DURATION, bounds), message, _between(_DURATION, _milliseconds, low, high))


def sized(low: str, high: str, *, such_as: str) -> Rule:
    """The size is neither smaller nor larger than these."""
    message = f"write a size from {low} to {high}, such as {such_as}; bytes without a unit need quotes"
    bounds = f"quantity(self).compareTo(quantity('{low}')) >= 0 && quantity(self).compareTo(quantity('{high}')) <= 0"
    return _Amount(_cel(_SIZE, bounds), message, _between(_SIZE, size, low, high))


@dataclass(frozen=True, slots=True)
class _Amount(Rule):
    """Looks at what was written before anything else does: a bare number is told which units there are, and not that
    it needs quotes."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.enforce, handler(source))


def _cel(pattern: str, bounds: str) -> str:
    """The pattern first: `duration()` of anything else would be an error in CEL's words."""
    return f'self.matches(r"^({pattern})$") && {bounds}'


def _between(pattern: str, number: Callable[[str], int], low: str, high: str) -> Callable[[object], bool]:
    well_written, least, most = re.compile(pattern, re.ASCII), number(low), number(high)
    return lambda text: (
        isinstance(text, str) and well_written.fullmatch(text) is not None and least <= number(text) <= most
    )


def _milliseconds(duration: str) -> int:
    return sum(int(number) * _MILLISECONDS[unit] for number, unit in _DURATION_PART.findall(duration))
