"""What `/metrics` says, as plain sums: name and labels → number. Everything is in it that is not a matter of time."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache

from prometheus_client.parser import text_string_to_metric_families

Key = tuple[str, frozenset[tuple[str, str]]]


class Book(defaultdict[Key, float]):
    """Numbers by key; what is not in it is 0."""

    def __init__(self) -> None:
        super().__init__(float)


UNSURE = {"gen_ai_response_model"}
"""Of a chat completion that broke off only some name their model."""


def key(name: str, labels: Mapping[str, str]) -> Key:
    """Of one number. Labels that do not apply are left out."""
    chat = labels.get("gen_ai_operation_name") == "chat"
    return name, frozenset((k, v) for k, v in labels.items() if v and not (chat and k in UNSURE))


@lru_cache(maxsize=4)
def of_metrics(exposition: bytes) -> Book:
    """The book that a scrape is."""
    book = Book()
    lines = [line for line in exposition.decode().splitlines(keepends=True) if "_bucket{" not in line]
    for family in text_string_to_metric_families("".join(lines)):
        for sample in family.samples:
            if _counts(sample.name):
                labels = {k: v for k, v in sample.labels.items() if not k.startswith("otel_scope")}
                book[key(sample.name, labels)] += sample.value
    return book


def _counts(name: str) -> bool:
    """Not how long something took, nor how it is spread."""
    return not name.endswith(("_created", "_seconds_sum", "target_info"))


def differences(found: Mapping[Key, float], wanted: Mapping[Key, float]) -> list[str]:
    """What the two do not agree on. Money and seconds are sums of fractions: equal up to their rounding."""
    pairs = {each: (found.get(each, 0.0), wanted.get(each, 0.0)) for each in found.keys() | wanted.keys()}
    return sorted(
        f"{name}{dict(sorted(labels))}: {is_}, not {should_be}"
        for (name, labels), (is_, should_be) in pairs.items()
        if not math.isclose(is_, should_be, rel_tol=1e-9, abs_tol=1e-9)
    )
