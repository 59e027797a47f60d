"""What a data plane and a controller say to each other: JSON texts on a WebSocket, `GET /v1/tables`.

    data plane                controller
    hello {has, can} ───────▶
             ◀─────────────── offer {table: its hash, its outline}
    want {parts, secrets} ──▶                                        up to 2,000 names, and again until it has all
             ◀─────────────── parts …, secrets …, done               64 KiB each
    holds ──────────────────▶                                        or `refuse` with reasons, or `stale`

    health {unhealthy} ─────▶                                        what has changed of it, whole, every 2 s at most

One offer at a time on a connection: the next comes after `holds`, `refuse` or `stale`. A data plane says `holds` to all
controllers whenever what it serves has changed. Fields that a side does not know are passed over; messages are not, so
those that came later are only for whoever says that it hears them: `health` for controllers whose offers say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Final, Literal, Self, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError, model_validator

from dataplane.table import Secrets
from dataplane.table.delta import Hash, Kind, Outline, Written, first_fault, table_hash
from dataplane.table.entry import canonical
from dataplane.table.watermark import Watermark

PATH: Final = "/v1/tables"
NAMES: Final = 2000
"""Parts and secrets that one `want` asks for."""
PIECE: Final = 64 * 1024
"""Bytes after which a message with parts or secrets ends; a part that is larger travels alone. Whoever reads one does
nothing else meanwhile, for 5 ms."""
LARGEST_ASKED: Final = 1024 * 1024
"""Bytes of a message that a controller reads."""
LARGEST_SENT: Final = 16 * 1024 * 1024
"""Bytes of a message that a data plane reads: an outline of 200,000 parts, or the keys of a Secret of a megabyte."""
REASONS: Final = 20
REASON: Final = 1024
"""Characters."""
HEARD: Final = ("health",)
"""Messages beside those that every controller hears."""
BACKENDS: Final = 1000
"""In one list of `health`."""
ROOM: Final = 512 * 1024
"""Bytes for what is unhealthy, at most."""
WHY: Final = 200
"""Characters of what a provider says."""

Short = Annotated[str, Field(max_length=512)]
Names = Annotated[tuple[Short, ...], Field(max_length=NAMES)]


class BadMessage(ValueError):
    """The peer said what is none of these messages. Never quotes a value."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True)


class Hello(_Message):
    """The data plane's first word, after each dial."""

    type: Literal["hello"] = "hello"
    schemas: Annotated[tuple[int, ...], Field(min_length=1, max_length=16)]
    """That it can read, the best first."""
    table: Literal[""] | Hash = ""
    """That it serves; empty: none."""
    watermark: Watermark | None = None
    pod: Short = ""
    version: Short = ""
    """Of the program."""


class Offer(_Message):
    """What the controller would have served."""

    type: Literal["offer"] = "offer"
    schema_number: int = Field(alias="schema")
    table: Hash
    watermark: Watermark
    outline: Outline | None = None
    """None: it is the table that the data plane says it has."""
    hears: Annotated[tuple[Short, ...], Field(max_length=64)] = ()
    """See `HEARD`."""

    @model_validator(mode="after")
    def _is_what_it_says(self) -> Self:
        if self.outline and (table_hash(self.outline), self.outline.schema_number) != (self.table, self.schema_number):
            raise ValueError("its outline is that of another table")
        return self


class Want(_Message):
    """Of the table on offer, what the data plane has not."""

    type: Literal["want"] = "want"
    table: Hash
    parts: Names = ()
    secrets: Names = ()


class PartsMessage(_Message):
    type: Literal["parts"] = "parts"
    table: Hash
    parts: tuple[tuple[Kind, Hash, dict[str, object]], ...]

    def written(self) -> Iterator[Written]:
        """The parts, as they are read."""
        return (Written(kind, name, canonical(value)) for kind, name, value in self.parts)


class SecretsMessage(_Message):
    type: Literal["secrets"] = "secrets"
    table: Hash
    values: dict[str, SecretStr] = Field(repr=False)
    """By their ids."""


class Done(_Message):
    """All that was wanted has been sent."""

    type: Literal["done"] = "done"
    table: Hash


class Holds(_Message):
    """The data plane serves this table now."""

    type: Literal["holds"] = "holds"
    table: Hash
    watermark: Watermark | None = None


class Refuse(_Message):
    """The table cannot be served; what was served before stays."""

    type: Literal["refuse"] = "refuse"
    table: Hash
    reasons: Annotated[tuple[Annotated[str, Field(max_length=REASON)], ...], Field(max_length=REASONS)]

    @classmethod
    def because(cls, table: str, reasons: Iterable[str]) -> Refuse:
        """With as much as fits of what is wrong."""
        short = [each[:REASON] for each in reasons]
        return cls(table=table, reasons=tuple(short[:REASONS]))


class Stale(_Message):
    """The offer is older than what the data plane serves."""

    type: Literal["stale"] = "stale"
    table: Hash
    """On offer."""
    watermark: Watermark
    """Of what it serves."""


class Failing(_Message):
    """Why a provider is not healthy."""

    reason: Annotated[str, Field(max_length=32)] = ""
    """One of `dataplane.faults.REASONS`; of a data plane of another version perhaps one that is not known here."""
    why: Annotated[str, Field(max_length=WHY)] = ""
    """In words, which may be the provider's own: one line."""

    @classmethod
    def because(cls, reason: str, why: str) -> Failing:
        """With as much as fits, on one line."""
        line = " ".join(why.split())
        if not line.isprintable():
            line = "".join(each if each.isprintable() else "?" for each in line)
        return cls(reason=reason, why=line if len(line) <= WHY else f"{line[: WHY - 1]}…")


class HealthMessage(_Message):
    """How the Backends are doing that the data plane was asked for. Each message holds for all of them."""

    type: Literal["health"] = "health"
    unhealthy: Annotated[dict[Short, dict[Short, Failing]], Field(max_length=BACKENDS)] = Field(default_factory=dict)
    """Those without a healthy provider, and what is wrong with each provider."""
    healthy: Annotated[tuple[Short, ...], Field(max_length=BACKENDS)] | None = ()
    """Those that have one for sure, since it did what it was asked; None: all others, too many to be named. Of what is
    in neither list nothing is known."""

    @classmethod
    def of(cls, unhealthy: Mapping[str, Mapping[str, Failing]], healthy: Sequence[str]) -> HealthMessage:
        """With as many as fit; the same ones each time."""
        room, told = ROOM, {}
        for name in sorted(unhealthy)[:BACKENDS]:
            room -= _size(name, unhealthy[name])
            if room < 0:
                break
            told[name] = dict(unhealthy[name])
        return cls(unhealthy=told, healthy=tuple(sorted(healthy)) if len(healthy) <= BACKENDS else None)


def _size(name: str, providers: Mapping[str, Failing]) -> int:
    """Bytes that it takes at most: JSON may double a character."""
    return 16 + len(name) + sum(80 + len(each) + 2 * len(found.why.encode()) for each, found in providers.items())


FromDataPlane = Hello | Want | Holds | Refuse | Stale | HealthMessage
FromController = Offer | PartsMessage | SecretsMessage | Done

_ASKED: TypeAdapter[FromDataPlane] = TypeAdapter(Annotated[FromDataPlane, Field(discriminator="type")])
_SENT: TypeAdapter[FromController] = TypeAdapter(Annotated[FromController, Field(discriminator="type")])


def encode(message: FromDataPlane | FromController) -> str:
    """The text that travels."""
    if isinstance(message, Offer) and message.outline:
        plain = {**message.model_dump(by_alias=True, exclude={"outline"}), "outline": message.outline.plain()}
    elif isinstance(message, SecretsMessage):
        values = {name: value.get_secret_value() for name, value in message.values.items()}
        plain = {"type": message.type, "table": message.table, "values": values}
    else:
        plain = message.model_dump(by_alias=True)
    return orjson.dumps(plain).decode()


def read_by_controller(text: str | bytes) -> FromDataPlane:
    """Raises BadMessage."""
    return _read(_ASKED, text, LARGEST_ASKED)


def read_by_data_plane(text: str | bytes) -> FromController:
    """Raises BadMessage."""
    return _read(_SENT, text, LARGEST_SENT)


def in_pieces(table: str, parts: Iterable[Written], secrets: Secrets) -> Iterator[str]:
    """The texts that answer a `want`, `done` at the end; each is made when it is asked for."""
    head = f'{{"type":"parts","table":"{table}","parts":['
    for items in _batches((f'["{kind}","{name}",{json.decode()}]' for kind, name, json in parts)):
        yield f"{head}{','.join(items)}]}}"
    head = f'{{"type":"secrets","table":"{table}","values":{{'
    for items in _batches(f"{_json(name)}:{_json(value.get_secret_value())}" for name, value in secrets.items()):
        yield f"{head}{','.join(items)}}}}}"
    yield encode(Done(table=table))


MessageT = TypeVar("MessageT", FromDataPlane, FromController)


def _read(kinds: TypeAdapter[MessageT], text: str | bytes, largest: int) -> MessageT:
    if isinstance(text, bytes):
        raise BadMessage("a message is binary; they are texts")
    if len(text) > largest:
        raise BadMessage(f"a message has more than {largest:,} characters")
    try:
        return kinds.validate_python(orjson.loads(text))
    except orjson.JSONDecodeError as error:
        raise BadMessage(f"a message is no JSON: {error.msg}") from None
    except ValidationError as error:
        raise BadMessage(f"a message cannot be read: {first_fault(error)}") from None


def _batches(items: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for item in items:
        if batch and size + len(item) > PIECE:
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += len(item) + 1
    if batch:
        yield batch


def _json(text: str) -> str:
    return orjson.dumps(text).decode()
