"""Two books of the same turns: what the simulator says it billed, and what the gateway's /metrics says.

The arithmetic is this file's own, so that it can contradict the gateway's."""

from __future__ import annotations

import json
import re
from collections import Counter

Book = Counter[tuple[str, str]]
"""(model, input or output) → tokens."""

_SAMPLE = re.compile(r"gen_ai_client_token_usage_sum\{(?P<labels>[^}]*)\} (?P<value>[\d.e+]+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_NAMES = {"input": ("input_tokens", "prompt_tokens"), "output": ("output_tokens", "completion_tokens")}


def of_metrics(exposition: str) -> Book:
    """Tokens by the model that was asked for, and direction."""
    book: Book = Counter()
    for sample in _SAMPLE.finditer(exposition):
        labels = dict(_LABEL.findall(sample["labels"]))
        book[labels["gen_ai_request_model"], labels["gen_ai_token_type"]] += int(float(sample["value"]))
    return +book


def of_ledger(ledger: str) -> Book:
    """The same of the provider's turns."""
    book: Book = Counter()
    for turn in json.loads(ledger)["turns"]:
        for direction, names in _NAMES.items():
            for name in names:
                book[turn["model"], direction] += (turn["usage"] or {}).get(name, 0)
    return +book
