"""Two books of the same turns: what the simulator says it billed, and what the gateway's /metrics says.

The arithmetic is this file's own, so that it can contradict the gateway's."""

from __future__ import annotations

import json
import re
from collections import Counter

Book = Counter[tuple[str, str]]
"""(model, input or output) → tokens."""

TOTALS = {
    (False, "input"): "input_tokens",
    (False, "output"): "output_tokens",
    (True, "input"): "transcription_input_tokens",
    (True, "output"): "transcription_output_tokens",
}
"""Is it a transcription, and which direction → name in the provider's totals."""

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


def of_totals(ledger: str) -> Counter[str]:
    """The provider's sums of all that it ever reported, under their names there; of turns it keeps the newest."""
    totals: dict[str, float] = json.loads(ledger)["totals"]
    return +Counter({name: int(totals[name]) for name in TOTALS.values()})


def summed(book: Book, transcribed: str) -> Counter[str]:
    """The same sums of a book by models, one of which transcribes."""
    sums: Counter[str] = Counter()
    for (model, direction), tokens in book.items():
        sums[TOTALS[model == transcribed, direction]] += tokens
    return +sums
