"""What a simulated provider should do wrong, or slowly, or rarely: named behaviours that can be combined.

A scenario is `name` or `name:number`; several are joined by commas: `slow:20,null-usage`. Who chooses, the
later winning over the earlier: the rules of a file (`Scenarios.load`), then the `?scenario=` of a URL (every
turn of a connection), then `metadata.scenario` of one chat completion or one `response.create`.
"""

import fnmatch
from dataclasses import dataclass
from typing import Self

import yaml

from simulator.shapes import mapping

# name → (number when none is given, or None where the name takes no number; what it does)
_TABLE: dict[str, tuple[float | None, str]] = {
    "slow": (50, "waits this many ms before each piece of an answer (JSON: once)"),
    "wait": (None, "realtime: stops after the first piece, until the client's next event"),
    "stall": (None, "accepts the request or the turn, and never answers"),
    "drop": (None, "closes the TCP connection in the middle of the answer (realtime: resets it)"),
    "status": (503, "chat: answers with this HTTP status (400, 401, 404, 429, 500, 503) and an error"),
    "odd-bytes": (7, "chat stream: sends so many bytes at a time, cutting events anywhere"),
    "crlf": (None, "chat stream: CRLF line ends, comments between events"),
    "reasoning": (None, "chat: spends reasoning tokens"),
    "cache-write": (1, "chat: so many input tokens are written to the cache"),
    "no-usage": (None, "leaves usage out"),
    "null-usage": (None, "sends usage as null"),
    "empty-usage": (None, "sends usage as an object with nothing in it"),
    "odd-usage": (None, "sends usage in which no number is one"),
    "no-details": (None, "sends usage without its details by modality"),
    "total-only": (None, "sends usage with nothing but total_tokens"),
    "zero-usage": (None, "sends usage in which every number is 0"),
    "hang-up": (None, "realtime: as drop, by the end of the connection (FIN) without a CLOSE"),
    "close": (1011, "realtime: as drop, by a CLOSE with this code, be it legal or not"),
    "garble": (None, "realtime: as drop, by a frame that the WebSocket protocol forbids"),
    "freeze": (60_000, "realtime: as drop, by neither sending nor reading for so many ms; then a reset"),
    "at-created": (None, "realtime: a drop, hang-up, close, garble or freeze comes right after response.created"),
    "at-done": (None, "realtime: it comes right before response.done"),
    "after-done": (None, "realtime: it comes right after response.done"),
    "no-cancel": (None, "realtime: does not hear response.cancel"),
    "done-after-close": (None, "realtime: stops after the first piece; response.done answers the client's CLOSE"),
    "done-twice": (None, "realtime: says response.done twice"),
    "flood": (None, "realtime: sends audio as fast as it can, until the turn is cancelled"),
    "unknown-events": (None, "realtime: events that nobody knows, between the pieces and in odd shapes"),
    "not-json": (None, "realtime: a message that is no JSON, behind the first piece"),
    "fail": (None, "realtime: the response ends as failed, with an error"),
    "incomplete": (None, "realtime: the response ends as incomplete after the first piece"),
    "interrupted": (None, "realtime: the response is cancelled by the server (turn_detected)"),
    "deltas": (0, "realtime: so many audio deltas per answer (0: one per piece of transcript)"),
    "delta-bytes": (4800, "realtime: bytes of audio in one delta (4,800 are 100 ms at 24 kHz)"),
    "vad-ms": (500, "realtime: so many ms of appended audio are one utterance for server VAD"),
    "transcript-late": (None, "realtime: the input transcript arrives after the next response.done"),
    "transcript-ms": (0, "realtime: the input transcript arrives so many ms late"),
    "transcript-never": (None, "realtime: the input is transcribed, and nothing is said of it"),
    "transcript-fails": (None, "realtime: the input cannot be transcribed"),
    "rate-limits": (5, "realtime: rate_limits.updated comes so many ms after response.done"),
    "ping": (20_260, "connection: a WebSocket PING every so many ms"),
    "no-pong": (None, "connection: answers no PING"),
    "no-close-reply": (None, "connection: never answers the client's CLOSE"),
    "fragments": (100, "connection: sends messages in frames of so many bytes, with a PING between any two"),
    "drip": (1, "connection: sends so many bytes at a time"),
    "drop-after": (10, "connection: resets TCP after so many events"),
    "expire": (100, "connection: session_expired and close 1001 after so many ms"),
    "silent": (None, "connection: 101, then nothing, whatever the client sends"),
    "no-upgrade": (503, "connection: this HTTP status (401, 429, 503) instead of 101"),
}

NAMES: dict[str, str] = {
    name if number is None else f"{name}:{number:g}": about for name, (number, about) in _TABLE.items()
}


class ScenarioError(ValueError):
    """A scenario, or a file of them, that does not mean anything; the message says where and what would."""


class Options(dict[str, float]):
    """The scenarios in force, by name, each with its number (0 where it takes none)."""

    @classmethod
    def parse(cls, wanted: str) -> Self:
        """Read `name`, `name:number`, or several joined by commas. Raises ScenarioError."""
        return cls(_option(part) for part in wanted.split(",") if part.strip())

    def number(self, name: str) -> float:
        """The number chosen for a scenario, or its default."""
        return self.get(name, _TABLE[name][0] or 0)

    def pace(self) -> float:
        """Seconds to wait before each piece of an answer."""
        return self.get("slow", 0.0) / 1000

    def __or__(self, other: dict[str, float]) -> "Options":  # type: ignore[override]
        return Options({**self, **other})


def _option(part: str) -> tuple[str, float]:
    name, colon, number = part.strip().partition(":")
    if name not in _TABLE:
        raise ScenarioError(f"unknown scenario {name!r}; known: {', '.join(_TABLE)}")
    default = _TABLE[name][0]
    if not colon:
        return name, default or 0
    if default is None or not number.isascii() or not number.isdigit():
        wanted = "takes no number" if default is None else "takes a whole number"
        raise ScenarioError(f"scenario {name!r} {wanted}, not {number!r}")
    return name, float(number)


@dataclass(frozen=True)
class Rule:
    """`options` hold for requests whose model matches the pattern and whose text holds the substring."""

    options: Options
    model: str = "*"
    text: str | None = None

    def matches(self, model: str, text: str | None) -> bool:
        """Whether the rule holds; a rule about text never holds where there is none (`text` None)."""
        return fnmatch.fnmatchcase(model, self.model) and (
            self.text is None or (text is not None and self.text in text)
        )


@dataclass(frozen=True)
class Scenarios:
    """Rules from a file; the first that matches holds."""

    rules: tuple[Rule, ...] = ()

    @classmethod
    def load(cls, text: str) -> Self:
        """Read YAML: a list of `{match: {model: "gpt-*", text: "substring"}, scenario: "slow:20,fail"}`.

        Raises ScenarioError, whose message names the rule and the field.
        """
        try:
            document: object = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ScenarioError(f"not YAML: {error}") from None
        if document is None:
            return cls()
        if not isinstance(document, list):
            raise ScenarioError("the file must be a list of rules: - {match: {model: …}, scenario: …}")
        return cls(tuple(_rule(rule, f"rule {place}") for place, rule in enumerate(document, 1)))

    def choose(self, model: str, text: str | None = None) -> Options:
        """What the file says about a request; `text` is None where a connection is opened."""
        return next((rule.options for rule in self.rules if rule.matches(model, text)), Options())


def _rule(value: object, place: str) -> Rule:
    if not isinstance(value, dict):
        raise ScenarioError(f"{place}: must be an object with `scenario` and, if wanted, `match`")
    _only(value, {"match", "scenario"}, place)
    match = value.get("match") or {}
    if not isinstance(match, dict):
        raise ScenarioError(f"{place}: match: must be an object with `model` or `text`")
    _only(match, {"model", "text"}, f"{place}: match")
    for field, wanted in (*mapping(match).items(), ("scenario", value.get("scenario"))):
        if not isinstance(wanted, str):
            raise ScenarioError(f"{place}: {field}: must be a string")
    try:
        options = Options.parse(value["scenario"])
    except ScenarioError as error:
        raise ScenarioError(f"{place}: scenario: {error}") from None
    return Rule(options, match.get("model", "*"), match.get("text"))


def _only(value: dict[object, object], known: set[str], place: str) -> None:
    if unknown := sorted(map(str, value.keys() - known)):
        raise ScenarioError(f"{place}: unknown field {unknown[0]!r}; known: {', '.join(sorted(known))}")
