"""The gateway's records against what the provider booked, when the network between them was bad.

What the proxy between them carried to the gateway says what it can have known: a turn whose end arrived must be
counted to the token, one whose beginning arrived must be counted once, and whatever never arrived must not be taken
for reported.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from e2e.nightly.stand import ENDINGS, Stand
from e2e.nightly.weather import CUT, Connection

Json = dict[str, object]
NAMES = {
    "input": ("input_text", "input_audio", "input_image", "input_unknown"),
    "output": ("output_text", "output_audio", "output_image", "output_unknown"),
}
KINDS = {"realtime": "realtime_inference", "transcription": "transcription", "chat": "chat"}
LATE_S = 0.2
"""What was sent so shortly before the gateway gave the turn up may have been too late."""
_CHAT = re.compile(rb"chatcmpl-\d+")
_SUM = re.compile(r"^(tidegate_\w+|gen_ai_\w+)(\{[^}]*\})? (\S+)$", re.MULTILINE)


@dataclass
class Arrived:
    """What the gateway was sent on one connection to the provider."""

    connection: Connection
    session: str = ""
    begun: dict[str, float] = field(default_factory=dict)
    """Id of a turn → when its beginning was sent, in seconds since the epoch."""
    done: dict[str, float] = field(default_factory=dict)
    """The same of its end."""

    @property
    def garbled(self) -> bool:
        return self.connection.fate == "garbled" and self.connection.struck

    @property
    def cut(self) -> bool:
        return self.connection.fate in CUT and self.connection.struck

    def sent(self, end: int) -> float:
        """When so many bytes had been sent."""
        return self.connection.pieces[bisect_left(self.connection.pieces, (end, 0.0))][1]


def arrived(connection: Connection) -> Arrived:
    """Read what was carried on it, as far as it can be read."""
    found = Arrived(connection)
    for chat in _CHAT.finditer(connection.back):
        name, when = chat[0].decode(), found.sent(chat.end())
        found.begun.setdefault(name, when)
        if not found.cut:
            found.done[name] = when
    for event, end in _events(connection.back):
        match event.get("type"):
            case "session.created":
                found.session = _text(event, "session", "id")
            case "response.created":
                found.begun[_text(event, "response", "id")] = found.sent(end)
            case "response.done":
                found.done[_text(event, "response", "id")] = found.sent(end)
            case "conversation.item.input_audio_transcription.completed":
                found.done[_text(event, "item_id")] = found.sent(end)
    return found


def _events(data: bytearray) -> Iterator[tuple[Json, int]]:
    """The whole events of a server's side of a WebSocket, behind its handshake, and where each ends."""
    start = data.find(b"\r\n\r\n") + 4
    message = b""
    while len(data) - start >= 2:
        opcode, fin, length, size = data[start] & 15, data[start] & 128, data[start + 1] & 127, 2
        if length >= 126:
            size = 4 if length == 126 else 10
            length = int.from_bytes(data[start + 2 : start + size], "big")
        payload, start = start + size, start + size + length
        if len(data) < start:
            return
        if opcode >= 8:
            continue
        message += data[payload:start]
        if fin:
            event, message = _object(message), b""
            if event is not None:
                yield event, start


def _object(text: bytes) -> Json | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _text(event: Json, *path: str) -> str:
    value: object = event
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


@dataclass
class Audit:
    """`wrong` is what must not be; `counts` says what became of the turns."""

    turns: list[Json]
    sessions: list[Json]
    ledger: list[Json]
    lines: list[Arrived]
    metrics: str
    wrong: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, stand: Stand, lines: list[Arrived]) -> Self:
        report = json.loads(stand.ledger())
        ledger: list[Json] = report["turns"]
        made = cls(stand.records("turn"), stand.records("session"), ledger, lines, stand.metrics())
        if len(ledger) < report["totals"]["turns"]:
            made.wrong.append("the provider has forgotten turns: the run is too long for this audit")
        return made

    def run(self) -> list[str]:
        self._records_are_unique()
        self._ledger_is_met()
        self._enough_was_seen()
        self._nothing_is_invented()
        self._sessions_end_as_documented()
        self._metrics_say_the_same()
        return self.wrong

    def _records_are_unique(self) -> None:
        for name, keys in (
            ("id", [each["id"] for each in self.turns]),
            ("turn", [_key(each) for each in self.turns if each["response_id"]]),
            ("session", [each["id"] for each in self.sessions]),
        ):
            self.wrong += [f"{count} records of the {name} {key}" for key, count in Counter(keys).items() if count > 1]

    def _ledger_is_met(self) -> None:
        """Each turn of the provider's has its record, as far as the gateway can have known."""
        records = {_key(each): each for each in self.turns}
        lines = {name: each for each in self.lines for name in (each.session, *each.begun, *each.done)}
        for turn in self.ledger:
            name = str(turn["id"])
            line = lines.get(name) or lines.get(str(turn["session"]))
            if line is not None and line.garbled:
                self.counts["on a garbled line"] += 1
            else:
                self._turn_is_met(turn, records.get((KINDS[str(turn["kind"])], name)), line)

    def _turn_is_met(self, turn: Json, record: Json | None, line: Arrived | None) -> None:
        begun = line.begun.get(str(turn["id"])) if line else None
        done = line.done.get(str(turn["id"])) if line else None
        if record is not None and record["tokens"] is not None and not record["estimated"]:
            self._note(_reported(record) == _booked(turn), "counted to the token", f"{record} is not {turn}")
        elif begun is None and done is None and record is None:
            self.counts["never heard of"] += 1
        elif turn["kind"] == "chat" and not _hollow(turn):
            self.counts["left by its client"] += 1
        elif record is None:
            self.wrong.append(f"no record of what arrived: {turn}")
        else:
            in_time = done is not None and done < _ended(record) - LATE_S
            self._note(not in_time or _hollow(turn), "estimated", f"{record} is no report of what arrived: {turn}")

    def _enough_was_seen(self) -> None:
        """Most turns are on connections that nothing has happened to. If they are not met, this audit is blind."""
        if self.counts["counted to the token"] <= len(self.ledger) / 2:
            self.wrong.append(f"of {len(self.ledger)} turns too few were counted to say that all is well")

    def _note(self, right: bool, kind: str, otherwise: str) -> None:
        if right:
            self.counts[kind] += 1
        else:
            self.wrong.append(otherwise)

    def _nothing_is_invented(self) -> None:
        """What is said to be reported was booked, unless its id was garbled on the way."""
        booked = {(KINDS[str(turn["kind"])], turn["id"]) for turn in self.ledger}
        garbled = [line.connection.back for line in self.lines if line.garbled]
        for record in self.turns:
            reported = record["tokens"] is not None and not record["estimated"]
            name = str(record["response_id"]).encode()
            if reported and _key(record) not in booked and not any(name in back for back in garbled):
                self.wrong.append(f"{record} was never booked")

    def _sessions_end_as_documented(self) -> None:
        turns: defaultdict[object, list[Json]] = defaultdict(list)
        for record in self.turns:
            turns[record["session"]].append(record)
        for session in self.sessions:
            if session["reason"] not in ENDINGS:
                self.wrong.append(f"{session} ended in a way that is not documented")
            mine = turns[session["id"]]
            count = sum(each["operation"] == "realtime_inference" for each in mine)
            if session["turns"] != count:
                self.wrong.append(f"{session} has {count} records of turns")
            for name, estimated in (("tokens", False), ("estimated_tokens", True)):
                kept = _sums(each["tokens"] for each in mine if each["estimated"] is estimated)
                if _sums([session[name]]) != kept:
                    self.wrong.append(f"{session} has other {name} than its turns: {kept}")
        known = {"", *(session["id"] for session in self.sessions)}
        self.wrong += [f"no record of the session {name} of {turns[name][0]}" for name in turns.keys() - known]

    def _metrics_say_the_same(self) -> None:
        """The other way that the same numbers leave the gateway."""
        reported = [each for each in self.turns if each["tokens"] is not None and not each["estimated"]]
        estimated = [each for each in self.turns if each["estimated"]]
        for name, labels, records in (
            ("gen_ai_client_token_usage_sum", 'gen_ai_token_type="{}"', reported),
            ("tidegate_estimated_tokens_total", 'gen_ai_token_type="{}"', estimated),
        ):
            for direction in NAMES:
                told = self._sum(name, labels.format(direction))
                kept = sum(_reported(each)[direction] for each in records)
                if told != kept:
                    self.wrong.append(f"{name} of {direction} is {told}, and the records say {kept}")
        for name, records in (
            ("tidegate_turns_total", self.turns),
            ("tidegate_realtime_sessions_total", self.sessions),
            ("tidegate_realtime_closes_total", self.sessions),
        ):
            if (told := self._sum(name)) != len(records):
                self.wrong.append(f"{name} is {told}, and there are {len(records)} records")
        if self.counts["left by its client"] > self._sum("tidegate_http_requests_total", 'status="499"'):
            self.wrong.append("more completions were not counted than clients have left")
        if self._sum("tidegate_realtime_sessions_active"):
            self.wrong.append("sessions are still counted as active")

    def _sum(self, name: str, label: str = "") -> float:
        return sum(
            float(value) for found, labels, value in _SUM.findall(self.metrics) if found == name and label in labels
        )


def _key(record: Json) -> tuple[str, str]:
    return str(record["operation"]), str(record["response_id"])


def _ended(record: Json) -> float:
    """When the gateway thought that the turn was over, in seconds since the epoch."""
    return datetime.fromisoformat(str(record["time"])).timestamp()


def _reported(record: Json) -> dict[str, float]:
    tokens = record["tokens"]
    assert isinstance(tokens, dict)
    return {direction: sum(tokens.get(name, 0) for name in names) for direction, names in NAMES.items()}


def _sums(tokens: Iterable[object]) -> Counter[str]:
    """By kind, without those that are 0."""
    found: Counter[str] = Counter()
    for each in tokens:
        found.update(each if isinstance(each, dict) else {})
    return +found


def _booked(turn: Json) -> dict[str, float]:
    usage = turn["usage"]
    found: dict[str, int] = usage if isinstance(usage, dict) else {}
    return {
        "input": found.get("input_tokens", found.get("prompt_tokens", 0)),
        "output": found.get("output_tokens", found.get("completion_tokens", 0)),
    }


def _hollow(turn: Json) -> bool:
    """Did the provider say nothing of either direction?"""
    usage = turn["usage"]
    said = ("input_tokens", "output_tokens", "prompt_tokens", "completion_tokens", "seconds")
    return not isinstance(usage, dict) or not any(name in usage for name in said)
