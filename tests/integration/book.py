"""Two books of the same turns: what the provider says it billed, and what the gateway's /metrics says.

The oracle's arithmetic is its own: nothing of the gateway's is used to read the ledger.
"""

from __future__ import annotations

from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

Book = Counter[tuple[str, ...]]
"""(measure, operation, model, further labels…) → amount."""

_USAGE = "gen_ai_client_inference_usage_"
_COUNTED = {
    f"{_USAGE}input_tokens_total": "input",
    f"{_USAGE}output_tokens_total": "output",
    f"{_USAGE}cache_read_input_tokens_total": "cached",
    f"{_USAGE}reasoning_output_tokens_total": "reasoning",
}
_PER_TURN = {
    "gen_ai_client_token_usage_sum": "legacy-sum",
    "gen_ai_client_token_usage_count": "legacy-turns",
    "gen_ai_client_inference_operation_input_tokens_sum": "operation-input",
    "gen_ai_client_inference_operation_output_tokens_sum": "operation-output",
    "gen_ai_client_inference_operation_input_tokens_count": "operation-input-turns",
    "gen_ai_client_inference_operation_output_tokens_count": "operation-output-turns",
}
_SAYS = {"input_tokens", "output_tokens", "prompt_tokens", "completion_tokens", "seconds"}
"""One of these says what was used; a total alone says nothing of either direction."""
_ENDED = {"abandoned": "lost", "dropped": "failed"}
_OPERATIONS = {"realtime": "realtime_inference", "chat": "chat", "transcription": "transcription"}


def of_metrics(exposition: bytes) -> Book:
    """The book that a scrape of the gateway keeps."""
    book: Book = Counter()
    for family in text_string_to_metric_families(exposition.decode()):
        for sample in family.samples:
            labels = sample.labels
            who = (labels.get("gen_ai_operation_name", ""), labels.get("gen_ai_request_model", ""))
            if measure := _COUNTED.get(sample.name):
                book[measure, *who, labels["gen_ai_token_modality"]] += int(sample.value)
            elif measure := _PER_TURN.get(sample.name):
                book[measure, *who, labels.get("gen_ai_token_type", "")] += int(sample.value)
            elif sample.name == "tidegate_turns_total":
                book["turns", *who, labels["status"], labels["usage"]] += int(sample.value)
            elif sample.name == "tidegate_gen_ai_cost_lookups_total":
                book["lookups", *who] += int(sample.value)
            elif sample.name == "tidegate_transcription_seconds_total":
                book["milliseconds", *who] += round(sample.value * 1000)
    return +book


def of_ledger(turns: list[dict[str, object]]) -> Book:
    """The book that a correct meter must keep of these turns."""
    book: Book = Counter()
    for turn in turns:
        operation = _OPERATIONS[str(turn["kind"])]
        who = (operation, str(turn["model"]))
        usage = turn["usage"]
        status = _ENDED.get(str(turn["status"]), str(turn["status"]))
        reported = isinstance(usage, dict) and bool(usage.keys() & _SAYS)
        book["turns", *who, status, "reported" if reported else "unreported"] += 1
        if isinstance(usage, dict) and reported:
            _add(book, who, usage)
    return +book


def _add(book: Book, who: tuple[str, str], usage: dict[str, object]) -> None:
    book["lookups", *who] += 1
    if "seconds" in usage:
        book["milliseconds", *who] += round(_number(usage["seconds"]) * 1000)
        return
    names = ("prompt", "completion") if "prompt_tokens" in usage else ("input", "output")
    for direction, name in zip(("input", "output"), names, strict=True):
        total = int(_number(usage.get(f"{name}_tokens")))
        book["legacy-sum", *who, direction] += total
        book["legacy-turns", *who, direction] += 1
        book[f"operation-{direction}", *who, ""] += total
        book[f"operation-{direction}-turns", *who, ""] += 1
        details = usage.get(f"{name}_token_details", usage.get(f"{name}_tokens_details"))
        _add_direction(book, (direction, *who), total, details)
        if isinstance(details, dict):
            _add_direction(
                book, ("cached", *who), int(_number(details.get("cached_tokens"))), details.get("cached_tokens_details")
            )
            book["reasoning", *who, "unknown"] += int(_number(details.get("reasoning_tokens")))


def _add_direction(book: Book, key: tuple[str, ...], total: int, details: object) -> None:
    known = 0
    for modality in ("text", "audio", "image"):
        amount = int(_number(details.get(f"{modality}_tokens"))) if isinstance(details, dict) else 0
        book[(*key, modality)] += amount
        known += amount
    book[(*key, "unknown")] += total - known


def _number(value: object) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0
