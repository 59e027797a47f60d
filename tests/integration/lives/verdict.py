"""Do the books agree? The records and the metrics on one side, the ledger and the scripts on the other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

from dataplane.metering.records import SessionSummary
from dataplane.metering.usage import NO_TOKENS, Tokens, Usage
from tests.integration.lives import oracle, sessions
from tests.integration.lives.exposition import Book, differences, key, of_metrics
from tests.integration.lives.life import MODELS, PLACES, Road, Story
from tests.integration.lives.oracle import Place, Turn
from tests.integration.lives.tap import Sent
from tests.integration.lives.tape import Written

CAPACITY = 100_000
RESERVE = 1000
"""Tokens that a budget sets aside for a turn."""
CHATTED = "chat"
"""The script of a chat completion."""


@dataclass(frozen=True)
class Truth:
    """What really happened."""

    ledger: list[Turn]
    sent: Mapping[str, Sent]
    stories: list[Story]
    """Of sessions, of those that were refused, and of chat completions."""
    open: Counter[Road]
    """Sessions that were open at the moment that the tape has marked."""
    spent: int
    """Tokens of the budget of those whose turns had to be admitted."""


def faults(midway: bytes, exposition: bytes, written: Written, truth: Truth) -> Iterator[str]:
    """Everything that the books do not agree on; `midway` is what `/metrics` said when `truth.open` were open."""
    yield from of_records(written, truth)
    yield from _of_open_sessions(of_metrics(midway), truth)
    book = of_metrics(exposition)
    yield from _of_process(book)
    yield from _of_upstream_bytes(book)
    yield from differences(_comparable(book), _wanted(written, truth))


def of_records(written: Written, truth: Truth) -> Iterator[str]:
    """What the records alone do not agree on."""
    yield from _of_turns(written, truth)
    yield from _of_summaries(written, truth.stories)
    yield from _of_patience(truth)
    yield from _of_estimates(written, truth.ledger)
    yield from _of_budget(written, truth)


def _wanted(written: Written, truth: Truth) -> Book:
    roads = {MODELS[road]: place for road, place in PLACES.items()}
    places = {far: roads[sent.model] for far, sent in truth.sent.items() if sent.model in roads}

    def place(turn: Turn) -> Place:
        return places[str(turn["session"])] if turn["session"] else PLACES["calm"]

    stories = [story for story in truth.stories if story.script != CHATTED]
    wanted = oracle.of_turns(truth.ledger, place, {usage.response_id: (usage, cost) for usage, cost in written.turns})
    for book in (
        oracle.of_unreadable(truth.ledger, place),
        sessions.of_stories(stories, truth.sent),
        sessions.of_traffic(stories, truth.sent),
        sessions.of_chats(story for story in truth.stories if story.script == CHATTED),
    ):
        for each, amount in book.items():
            wanted[each] += amount
    return wanted


def _of_open_sessions(book: Book, truth: Truth) -> Iterator[str]:
    for road, place in PLACES.items():
        found = book.get(key("tidegate_realtime_sessions_active", place.who), 0)
        if found != truth.open[road]:
            yield f"{found} sessions are said to be open on the {road} road, not {truth.open[road]}"


# -- metrics that are not sums of what happened --------------------------------------------------------------------

_PROCESS = ("tidegate_event_loop_lag", "tidegate_realtime_sessions_capacity", "tidegate_draining")
_HEALTH = tuple(f"tidegate_upstream_{each}" for each in ("healthy", "ejections", "rate_limited"))
"""Of providers; but that nothing is under way with them in the end is compared."""


def _comparable(book: Book) -> Book:
    """Without the metrics of the process, and without traffic that may have been lost on the way."""
    kept = Book()
    for (name, labels), amount in book.items():
        rough = name.startswith("tidegate_websocket") and ("route", "ai/calm") not in labels
        encoded = name.startswith("tidegate_websocket_io") and ("side", "upstream") in labels
        if not (rough or encoded or name.startswith((*_PROCESS, *_HEALTH))):
            kept[name, labels] = amount
    return kept


def _of_process(book: Book) -> Iterator[str]:
    if not book.get(key("tidegate_event_loop_lag_seconds_count", {})):
        yield "the loop's lag was never measured"
    for name, wanted in (("tidegate_realtime_sessions_capacity", CAPACITY), ("tidegate_draining", 1)):
        if (found := book.get(key(name, {}))) != wanted:
            yield f"{name} is {found}, not {wanted}"


def _of_upstream_bytes(book: Book) -> Iterator[str]:
    """Frames differ between the legs (masks, fragments, pings), what is in them does not."""
    calm = PLACES["calm"].labels
    for here, there in (("received", "sent"), ("sent", "received")):
        far = book.get(key("tidegate_websocket_io_bytes_total", {**calm, "side": "upstream", "direction": here}), 0)
        near = book.get(key("tidegate_websocket_io_bytes_total", {**calm, "side": "client", "direction": there}), 0)
        if not 0.7 * near < far < 1.4 * near:
            yield f"{far} bytes were {here} upstream, and {near} {there} on the client's side"


# -- records -------------------------------------------------------------------------------------------------------


def _of_turns(written: Written, truth: Truth) -> Iterator[str]:
    """Every turn of the ledger has one record, marked as estimated if and only if the provider said nothing."""
    ids = Counter(usage.id for usage, _ in written.turns)
    yield from (f"record {each} came {times} times" for each, times in ids.items() if times > 1)
    turns = {str(turn["id"]): turn for turn in truth.ledger}
    found = Counter(usage.response_id for usage, _ in written.turns)
    broken = {turn for turn, entry in turns.items() if entry["kind"] == "chat" and turn not in found}
    if found.pop("", 0) != len(broken) or any(turns[turn]["reported"] for turn in broken):
        yield f"chat completions without a record: {broken}; records of ones that broke off: {found['']}"
    for turn in (turns.keys() | found.keys()) - broken:
        if (turn in turns, found[turn]) != (True, 1):
            yield f"turn {turn} is {turns.get(turn, 'unknown to the ledger')}, and has {found[turn]} records"
    scripts = {story.session: story.script for story in truth.stories}
    for usage, _ in written.turns:
        billed = turns.get(usage.response_id)
        if billed is not None and (fault := _of_record(usage, billed)):
            yield f"{scripts.get(usage.session)}: {fault} of {usage}, of {billed}"


def _of_record(usage: Usage, turn: Turn) -> str:
    ended = oracle.CHAT_STATUSES if turn["kind"] == "chat" else oracle.STATUSES
    if usage.status != ended.get(str(turn["status"]), turn["status"]):
        return "the status is wrong"
    if oracle.says(turn["usage"]):
        return "" if usage.tokens is not None and not usage.estimated else "was reported"
    if usage.estimated:
        return ""
    silent = turn["kind"] == "chat" or _billed(turn["billed"]).output == 0
    return "" if usage.tokens is None and silent else "must be estimated"


def _of_summaries(written: Written, stories: list[Story]) -> Iterator[str]:
    """A session's summary says what its script intended, and the sum of its records."""
    intended = {story.session: story for story in stories if story.status == 101}
    found = Counter(summary.id for summary in written.sessions)
    for session in intended.keys() | found.keys():
        if (session in intended, found[session]) != (True, 1):
            yield f"session {session} ({intended.get(session)}) has {found[session]} summaries"
    records = defaultdict(list)
    for usage, cost in written.turns:
        records[usage.session].append((usage, cost))
    for summary in written.sessions:
        story = intended.get(summary.id)
        if story is not None and (summary.reason, summary.close_code, summary.initiator) != (
            story.reason,
            story.code,
            story.initiator,
        ):
            yield f"{summary} was meant to be {story}"
        yield from _of_sums(summary, records[summary.id])


def _of_sums(summary: SessionSummary, records: list[oracle.Record]) -> Iterator[str]:
    said = [(usage.tokens, cost) for usage, cost in records if usage.tokens is not None and not usage.estimated]
    guessed = [(usage.tokens, cost) for usage, cost in records if usage.tokens is not None and usage.estimated]
    turns = sum(usage.operation == "realtime_inference" for usage, _ in records)
    sums = (
        ("turns", summary.turns, turns),
        ("tokens", summary.tokens, sum((tokens for tokens, _ in said), NO_TOKENS)),
        ("estimated tokens", summary.estimated, sum((tokens for tokens, _ in guessed), NO_TOKENS)),
        ("cost", summary.cost or 0, sum(cost.usd or 0 for _, cost in said)),
        ("estimated cost", summary.estimated_cost or 0, sum(cost.usd or 0 for _, cost in guessed)),
    )
    yield from (f"{summary}: {what} should be {wanted}" for what, found, wanted in sums if found != wanted)


def _of_patience(truth: Truth) -> Iterator[str]:
    """Who was to be heard out has said what was used, before it was left."""
    unsaid = {turn["session"]: turn for turn in truth.ledger if not turn["reported"]}
    for story in truth.stories:
        if story.told and story.far in unsaid:
            yield f"{story}: nobody waited for {unsaid[story.far]}"


# -- estimates -----------------------------------------------------------------------------------------------------


def _of_estimates(written: Written, ledger: list[Turn]) -> Iterator[str]:
    """Estimates are near what was billed; none is of a turn that cost nothing."""
    turns = {str(turn["id"]): turn for turn in ledger}
    guessed, billed = NO_TOKENS, NO_TOKENS
    for usage, _ in written.turns:
        turn = turns.get(usage.response_id)
        if turn is None or not usage.estimated or usage.tokens is None:
            continue
        if turn["billed"] is None and usage.operation != "realtime_inference":
            yield f"{usage}: cost nothing, {turn}"
        guessed, billed = guessed + usage.tokens, billed + _billed(turn["billed"])
    for field in fields(Tokens):
        found, wanted = getattr(guessed, field.name), getattr(billed, field.name)
        if field.name in _ESTIMATED and not 0.4 * wanted <= found <= 1.5 * wanted + 100:
            yield f"{field.name} of all estimates are {found}, and {wanted} were billed"


_ESTIMATED = ("input_text", "input_audio", "output_text", "output_audio", "seconds")


def _billed(usage: object) -> Tokens:
    if not isinstance(usage, dict):
        return NO_TOKENS
    into, out = usage.get("input_token_details", {}), usage.get("output_token_details", {})
    written = out.get("text_tokens", usage.get("output_tokens", 0))
    return Tokens(
        input_text=into.get("text_tokens", 0),
        input_audio=into.get("audio_tokens", 0),
        output_text=written,
        output_audio=out.get("audio_tokens", 0),
        seconds=usage.get("seconds", 0.0),
    )


# -- budgets -------------------------------------------------------------------------------------------------------


def _of_budget(written: Written, truth: Truth) -> Iterator[str]:
    """What was taken of the budget is the sum of the records: of a turn of which nothing is known, what was set aside
    for it, and the same of one that was asked for and never began."""
    stories = {story.session: story for story in truth.stories if story.limited}
    mine = [usage for usage, _ in written.turns if usage.session in stories]
    known = sum(usage.tokens.input + usage.tokens.output for usage in mine if usage.tokens is not None)
    unknown = [usage for usage in mine if usage.tokens is None and usage.operation != "transcription"]
    never = sum(story.asked - (truth.sent.get(story.far) or Sent()).begun for story in stories.values())
    wanted = known + RESERVE * (never + sum(usage.status != "failed" for usage in unknown))
    if truth.spent != wanted:
        yield f"{truth.spent} tokens of the budget are used, not {wanted}"
