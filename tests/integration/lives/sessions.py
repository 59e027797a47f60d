"""The metrics of sessions, worked out from what the scripts intended, the clients saw and the provider sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tests.integration.lives.exposition import Book, key
from tests.integration.lives.life import MODELS, PLACES, Story
from tests.integration.lives.tap import Sent

REALTIME = "tidegate_realtime"
REGISTERED = (3000, 3003, 3008)
"""Of the close codes from 3000 on, those with a meaning at IANA."""


def of_stories(stories: Iterable[Story], sent: Mapping[str, Sent]) -> Book:
    """`sent` by the provider's ids of sessions."""
    book = Book()
    for story in stories:
        place = PLACES[story.road].labels
        status = str(story.status)
        book[key("tidegate_http_requests_total", {**place, "status": status, "code": story.refusal})] += 1
        book[key("tidegate_http_request_duration_seconds_count", place)] += 1
        if story.refusal != "invalid_api_key":  # whoever is not known asks for nothing
            book[key(f"{REALTIME}_handshake_duration_seconds_count", {**place, "status": status})] += 1
        if story.status == 101:
            _add_session(book, story, place)
            _add_progress(book, story, place, sent.get(story.far) or Sent())
        if story.status == 101 and story.limited:
            decision = {"policy": "ai/plenty", "limit": "tokens/Month", "outcome": "admitted"}
            seen = sent.get(story.far) or Sent()
            spoken = seen.responses - seen.begun
            book[key("tidegate_limit_decisions_total", decision)] += 1 + story.asked + spoken
    return book


def _add_session(book: Book, story: Story, place: dict[str, str]) -> None:
    code = story.code
    private = code >= 3000 and code not in REGISTERED and story.initiator != "gateway"
    shown = f"{code // 1000}xxx" if private else str(code)
    why = {"code": shown, "reason": story.reason, "initiator": story.initiator}
    book[key(f"{REALTIME}_closes_total", {**place, **why})] += 1
    book[key(f"{REALTIME}_sessions_total", PLACES[story.road].who)] += 1
    book[key(f"{REALTIME}_session_duration_seconds_count", place)] += 1
    if story.reason == "guardrail":
        found = {"policy": "ai/guards", "guardrail": "words", "direction": "input"}
        book[key("tidegate_guardrail_findings_total", {**found, "action": "block", "mode": "enforce"})] += 1


def _add_progress(book: Book, story: Story, place: dict[str, str], sent: Sent) -> None:
    turn = {**place, "gen_ai_response_model": MODELS[story.road]}
    for trigger, heard in sent.first_audios.items():
        metric = f"{REALTIME}_response_time_to_first_audio_seconds_count"
        book[key(metric, {**turn, "trigger": trigger})] += heard
    for by, times in (("voice", sent.voiced), ("client", story.cancels)):
        book[key(f"{REALTIME}_interruptions_total", {**turn, "by": by})] += times
    book[key("tidegate_unmetered_total", {**place, "reason": "undecodable"})] += story.unreadable
    book[key("tidegate_unmetered_total", {**place, "reason": "unanswered"})] += story.asked - sent.begun


def of_traffic(stories: Iterable[Story], sent: Mapping[str, Sent]) -> Book:
    """What passed on the calm road, where nothing is lost on the way: bytes and messages of the client's leg, and
    messages of the upstream's."""
    book = Book()
    for story in stories:
        if story.road != "calm" or story.status != 101:
            continue
        place = PLACES[story.road].labels
        client, upstream = {**place, "side": "client"}, {**place, "side": "upstream"}
        book[key("tidegate_websocket_io_bytes_total", {**client, "direction": "received"})] += story.sent
        book[key("tidegate_websocket_io_bytes_total", {**client, "direction": "sent"})] += story.received
        book[key("tidegate_websocket_messages_total", client)] += story.said
        book[key("tidegate_websocket_messages_total", upstream)] += sent[story.far].messages
    return book


def of_chats(stories: Iterable[Story]) -> Book:
    """Requests of chat completions; what they used is in the ledger."""
    book = Book()
    for story in stories:
        place = PLACES[story.road].labels
        labels = {**place, "status": str(story.status), "code": story.refusal}
        book[key("tidegate_http_requests_total", labels)] += 1
        book[key("tidegate_http_request_duration_seconds_count", place)] += 1
    return book
