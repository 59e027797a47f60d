"""Both sides' books: what the provider says it billed, and what the gateway says it counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

_OPERATION = "gen_ai_operation_name"
_MODALITY = "gen_ai_token_modality"
_USAGE = "gen_ai_client_inference_usage_"

# Row of the book: the ledger's total, and where the gateway counts it: (metric, operation, modality).
_ROWS: Mapping[str, tuple[str, tuple[str, str, str]]] = {
    "answers, transcripts": ("turns", ("tidegate_turns_total", "", "")),
    "text in": ("input_text_tokens", (f"{_USAGE}input_tokens_total", "realtime_inference", "text")),
    "audio in": ("input_audio_tokens", (f"{_USAGE}input_tokens_total", "realtime_inference", "audio")),
    "of it cached text": (
        "cached_text_tokens",
        (f"{_USAGE}cache_read_input_tokens_total", "realtime_inference", "text"),
    ),
    "of it cached audio": (
        "cached_audio_tokens",
        (f"{_USAGE}cache_read_input_tokens_total", "realtime_inference", "audio"),
    ),
    "text out": ("output_text_tokens", (f"{_USAGE}output_tokens_total", "realtime_inference", "text")),
    "audio out": ("output_audio_tokens", (f"{_USAGE}output_tokens_total", "realtime_inference", "audio")),
    "transcription in": ("transcription_input_tokens", (f"{_USAGE}input_tokens_total", "transcription", "")),
    "transcription out": ("transcription_output_tokens", (f"{_USAGE}output_tokens_total", "transcription", "")),
}


class Entry(NamedTuple):
    """One line: what it is, how much of it the provider billed, how much the gateway counted."""

    name: str
    billed: int
    counted: int


@dataclass(slots=True)
class ModelUse:
    """What one model used: tokens by `text in`, `audio out`, …; and their price in USD."""

    tokens: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    usd: float = 0.0


class Metrics:
    """What `/metrics` said."""

    def __init__(self, exposition: str) -> None:
        self._samples = [sample for family in text_string_to_metric_families(exposition) for sample in family.samples]

    def total(self, name: str, operation: str = "", modality: str = "") -> int:
        """The sum over all label sets with this operation and modality; empty: any."""
        return int(
            sum(
                sample.value
                for sample in self._samples
                if sample.name == name
                and operation in ("", sample.labels.get(_OPERATION))
                and modality in ("", sample.labels.get(_MODALITY))
            )
        )

    def models(self) -> dict[str, ModelUse]:
        """By the model that the provider was asked for."""
        found: dict[str, ModelUse] = defaultdict(ModelUse)
        sides = {f"{_USAGE}input_tokens_total": "in", f"{_USAGE}output_tokens_total": "out"}
        for sample in self._samples:
            if sample.name in sides and sample.value:
                column = f"{sample.labels[_MODALITY]} {sides[sample.name]}"
                found[sample.labels["gen_ai_request_model"]].tokens[column] += int(sample.value)
            elif sample.name == "tidegate_gen_ai_cost_USD_total":
                found[sample.labels["gen_ai_request_model"]].usd += sample.value
        return dict(found)


def compare(totals: Mapping[str, float], metrics: Metrics) -> list[Entry]:
    """The totals of `GET /_ledger` beside the gateway's metrics."""
    return [Entry(name, int(totals[total]), metrics.total(*where)) for name, (total, where) in _ROWS.items()]


def agree(entries: Iterable[Entry]) -> bool:
    """Whether the books are equal, to the token."""
    return all(entry.billed == entry.counted for entry in entries)
