"""What `/metrics` must say, worked out from what the provider billed and sent and from what the scripts intended.

The arithmetic is its own: nothing of the gateway's reads the ledger. Only what nobody but the gateway can say, how
much it estimates, is taken from its records; which turns are estimated, and how often, is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from dataplane.metering.prices import Cost
from dataplane.metering.usage import Tokens, Usage
from tests.integration.lives.exposition import Book, key

TEAM = "support"
"""Of all callers here."""
Turn = dict[str, object]
"""An entry of the ledger."""
Record = tuple[Usage, Cost]

SAYS = {"input_tokens", "output_tokens", "prompt_tokens", "completion_tokens", "seconds"}
"""One of these says what was used, if it is a number; a total alone says nothing of either direction."""
OPERATIONS = {"realtime": "realtime_inference", "chat": "chat", "transcription": "transcription"}
STATUSES = {"abandoned": "lost", "dropped": "lost"}
CHAT_STATUSES = {"abandoned": "cancelled", "dropped": "failed"}
INPUT, CACHED, OUTPUT = 4, 1, 16
"""USD per million tokens of any modality, as the scripts' table says it."""
_TOKENS = "gen_ai_client_inference_usage"


@dataclass(frozen=True)
class Place:
    """Where a turn went, as labels say it."""

    route: str
    backend: str

    @property
    def labels(self) -> dict[str, str]:
        return {"route": self.route, "backend": self.backend}

    @property
    def who(self) -> dict[str, str]:
        """The same, of metrics that say whose it was."""
        return {**self.labels, "tidegate_caller_team": TEAM}


def says(usage: object) -> bool:
    """Did the provider say what was used?"""
    if not isinstance(usage, dict):
        return False
    return any(isinstance(usage.get(name), int | float) for name in SAYS)


def of_turns(ledger: Iterable[Turn], place: Callable[[Turn], Place], records: Mapping[str, Record]) -> Book:
    """The metrics of turns; `records` by the provider's id of the turn."""
    book = Book()
    for turn in ledger:
        _add_turn(book, turn, place(turn), records)
    return book


def of_unreadable(ledger: Iterable[Turn], place: Callable[[Turn], Place]) -> Book:
    """Turns of which something was said that says nothing."""
    book = Book()
    for turn in ledger:
        if turn["usage"] and not says(turn["usage"]):
            book[key("tidegate_unmetered_total", {**place(turn).labels, "reason": "usage_unreadable"})] += 1
    return book


def _add_turn(book: Book, turn: Turn, place: Place, records: Mapping[str, Record]) -> None:
    model, kind = str(turn["model"]), str(turn["kind"])
    who = {
        "gen_ai_operation_name": OPERATIONS[kind],
        "gen_ai_provider_name": "custom",
        "gen_ai_request_model": model,
        "gen_ai_response_model": model,
        **place.who,
    }
    said, ended = str(turn["status"]), CHAT_STATUSES if kind == "chat" else STATUSES
    status = ended.get(said, said)
    error = {"error_type": status if status in ("failed", "lost") else ""}
    usage = turn["usage"]
    if isinstance(usage, dict) and says(usage):
        told = "reported"
        _add_reported(book, who, error, usage)
    else:
        told = _add_estimated(book, who, records.get(str(turn["id"])))
    book[key("tidegate_turns_total", {**who, "status": status, "usage": told})] += 1
    if kind == "chat":
        for name in ("gen_ai_client_operation_duration", "gen_ai_client_inference_duration"):
            book[key(f"{name}_seconds_count", {**who, **error})] += 1


def _add_reported(book: Book, who: dict[str, str], error: dict[str, str], usage: Turn) -> None:
    if "seconds" in usage:
        book[key("tidegate_transcription_seconds_total", who)] += _number(usage["seconds"])
        book[key("tidegate_gen_ai_cost_lookups_total", {**who, "status": "unpriced"})] += 1
        return
    names = ("prompt", "completion") if "prompt_tokens" in usage else ("input", "output")
    for direction, name in zip(("input", "output"), names, strict=True):
        total = int(_number(usage.get(f"{name}_tokens")))
        details = usage.get(f"{name}_token_details", usage.get(f"{name}_tokens_details"))
        _add_total(book, who, error, direction, total)
        _add_split(book, who, f"{_TOKENS}_{direction}_tokens_total", total, details)
    _add_parts(book, who, usage, *names)


def _add_total(book: Book, who: dict[str, str], error: dict[str, str], direction: str, total: int) -> None:
    legacy, latest = {**who, "gen_ai_token_type": direction}, {**who, **error}
    book[key("gen_ai_client_token_usage_sum", legacy)] += total
    book[key("gen_ai_client_token_usage_count", legacy)] += 1
    book[key(f"gen_ai_client_inference_operation_{direction}_tokens_sum", latest)] += total
    book[key(f"gen_ai_client_inference_operation_{direction}_tokens_count", latest)] += 1


def _add_split(book: Book, who: dict[str, str], metric: str, total: int, details: object) -> None:
    known = 0
    for modality in ("text", "audio", "image"):
        amount = int(_number(details.get(f"{modality}_tokens"))) if isinstance(details, dict) else 0
        book[key(metric, {**who, "gen_ai_token_modality": modality})] += amount
        known += amount
    book[key(metric, {**who, "gen_ai_token_modality": "unknown"})] += total - known


def _add_parts(book: Book, who: dict[str, str], usage: Turn, into: str, out: str) -> None:
    """Cached and reasoning tokens, which are parts of the others, and the price: nothing is said of what writing costs,
    so it costs what other input costs."""
    read = usage.get(f"{into}_token_details", usage.get(f"{into}_tokens_details"))
    wrote = usage.get(f"{out}_token_details", usage.get(f"{out}_tokens_details"))
    cached = int(_number(read.get("cached_tokens"))) if isinstance(read, dict) else 0
    reasoning = int(_number(wrote.get("reasoning_tokens"))) if isinstance(wrote, dict) else 0
    split = read.get("cached_tokens_details") if isinstance(read, dict) else None
    _add_split(book, who, f"{_TOKENS}_cache_read_input_tokens_total", cached, split)
    wrote_back = int(_number(read.get("cache_write_tokens"))) if isinstance(read, dict) else 0
    unknown = {**who, "gen_ai_token_modality": "unknown"}
    book[key(f"{_TOKENS}_cache_write_input_tokens_total", unknown)] += wrote_back
    book[key(f"{_TOKENS}_reasoning_output_tokens_total", unknown)] += reasoning
    fresh, said = _number(usage.get(f"{into}_tokens")) - cached, _number(usage.get(f"{out}_tokens"))
    book[key("tidegate_gen_ai_cost_lookups_total", {**who, "status": "priced"})] += 1
    usd = (fresh * INPUT + cached * CACHED + said * OUTPUT) / 1_000_000
    book[key("tidegate_gen_ai_cost_USD_total", who)] += usd


def _add_estimated(book: Book, who: dict[str, str], record: Record | None) -> str:
    """What the gateway made of a turn of which it was told nothing."""
    if record is None or record[0].tokens is None:
        return "unreported"
    tokens, cost = record[0].tokens, record[1]
    for direction in ("input", "output"):
        for modality in ("text", "audio", "image", "unknown"):
            labels = {**who, "gen_ai_token_type": direction, "gen_ai_token_modality": modality}
            book[key("tidegate_estimated_tokens_total", labels)] += amount(tokens, direction, modality)
    book[key("tidegate_estimated_transcription_seconds_total", who)] += tokens.seconds
    book[key("tidegate_estimated_cost_USD_total", who)] += float(cost.usd or 0)
    return "estimated"


def amount(tokens: Tokens, direction: str, modality: str) -> int:
    found: int = getattr(tokens, f"{direction}_{modality}")
    return found


def _number(value: object) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0
