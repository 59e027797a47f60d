"""What is said on one connection with a gateway, and what that gateway holds. Pure: texts and the time go in, texts go
out, and whoever breaks the dialogue (see `dataplane.table.messages`) is ended with a reason.

One offer at a time is open; the one after it is that of the newest publication there is then. Until it is answered the
connection keeps what it offered, of which each part may be asked for once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from controller.push.publication import Publication
from dataplane.table import Secrets, messages, schemas
from dataplane.table.delta import Written
from dataplane.table.messages import BadMessage, HealthMessage, Hello, Holds, Refuse, Stale, Want
from dataplane.table.watermark import Watermark

HELLO: Final = 10.0
"""Seconds for the first message."""
ANSWER: Final = 60.0
"""Seconds for an answer to an offer, and between two questions about it."""
AGAIN: Final = 10.0
"""Seconds until a table that was refused is offered again, where nothing changes."""
BURST: Final = 400
"""Messages that a gateway may send at once: it asks for 200,000 parts in 100."""
RATE: Final = 20.0
"""Messages a second that it may send all the time."""
REASON: Final = 120
"""Bytes of a reason: what fits into a Close frame."""


class Ended(Exception):
    """The connection is of no more use. `reason` fits into a Close frame."""

    def __init__(self, reason: str) -> None:
        self.reason = reason.encode()[:REASON].decode(errors="ignore")
        super().__init__(self.reason)


class Refused(NamedTuple):
    """A table that a gateway did not take."""

    table: str
    reasons: tuple[str, ...]


class Holding(NamedTuple):
    """What a gateway says that it serves."""

    table: str = ""
    """The table's hash; empty: none yet."""
    watermark: Watermark | None = None
    refused: Refused | None = None
    """The answer to the last offer, where it was that."""


class Answer(NamedTuple):
    """To an offer."""

    kind: Literal["holds", "refuse", "stale"]
    seconds: float
    """Since the offer was made."""
    watermark: Watermark | None = None
    """Of what the gateway serves, where that is newer than the offer."""


@dataclass(slots=True)
class _Open:
    """An offer that is not answered."""

    table: str
    whole: bool
    """Was its outline sent?"""
    parts: Mapping[str, Written] = field(repr=False)
    secrets: Secrets = field(repr=False)
    made: float
    until: float
    asked: set[str] = field(default_factory=set)
    """Parts and secrets that were asked for."""


@dataclass(slots=True)
class Channel:
    """`begun`: when it was connected, of the same clock as every `now`."""

    begun: float
    holding: Holding = field(default_factory=Holding)
    version: str = ""
    """Of the gateway's program, as it says."""
    health: HealthMessage | None = None
    """What it says of providers; None: nothing yet, or it is too old for it."""
    _newest: Publication | None = None
    _schema: int = 0
    """0: before its hello."""
    _open: _Open | None = None
    _offered: int = 0
    """Number of the publication that was offered last."""
    _again: float | None = None
    """When what was refused is offered again."""
    _texts: deque[Iterator[str]] = field(default_factory=deque)
    _credit: float = float(BURST)
    _counted: float = 0.0
    """When the credit was."""

    def __post_init__(self) -> None:
        self._counted = self.begun

    def publish(self, publication: Publication, now: float) -> None:
        """Offer this, once no other offer is open."""
        self._newest = publication
        self._offer(now)

    def receive(self, text: str | bytes, now: float) -> Answer | None:
        """What it answers, if it is an answer. Raises Ended."""
        self._count(now)
        try:
            message = messages.read_by_controller(text)
        except BadMessage as error:
            raise Ended(str(error)) from None
        if isinstance(message, Hello) != (not self._schema):
            raise Ended(f"{message.type} is out of order: hello comes first, and once")
        answer: Answer | None = None
        match message:
            case Hello():
                self._greeted(message)
            case Want():
                self._wanted(message, now)
            case Holds():
                answer = self._held(message, now)
            case Refuse():
                if answer := self._answered("refuse", message.table, now):
                    self.holding = self.holding._replace(refused=Refused(message.table, message.reasons))
                    self._again = now + AGAIN
            case Stale():
                if answer := self._answered("stale", message.table, now):
                    answer = answer._replace(watermark=message.watermark)
                    self.holding = self.holding._replace(watermark=message.watermark, refused=None)
            case HealthMessage():
                self.health = message
        self._offer(now)
        return answer

    def tick(self, now: float) -> None:
        """Do what is due: see `due`. Raises Ended."""
        if not self._schema and now >= self.begun + HELLO:
            raise Ended(f"no hello for {HELLO:g} s")
        if self._open and now >= self._open.until:
            raise Ended(f"no answer to an offer for {ANSWER:g} s")
        self._offer(now)

    def due(self) -> float | None:
        """When to call `tick`, if nothing happens before."""
        if not self._schema:
            return self.begun + HELLO
        return self._open.until if self._open else self._again

    def next_text(self, now: float) -> str | None:
        """What to send next; None: nothing for now. It is made when it is asked for: do so when there is room."""
        while self._texts:
            if (text := next(self._texts[0], None)) is not None:
                if self._open:
                    self._open.until = now + ANSWER
                return text
            self._texts.popleft()
        return None

    def _count(self, now: float) -> None:
        self._credit = min(float(BURST), self._credit + (now - self._counted) * RATE) - 1
        self._counted = now
        if self._credit < 0:
            raise Ended(f"more than {RATE:g} messages a second")

    def _greeted(self, hello: Hello) -> None:
        schema = schemas.best(hello.schemas)
        if schema is None:
            served = " and ".join(map(str, schemas.SERVED))
            raise Ended(f"no common schema: this controller serves {served}; upgrade the data plane")
        self._schema = schema
        self.holding = Holding(hello.table, hello.watermark)
        self.version = hello.version

    def _wanted(self, want: Want, now: float) -> None:
        if self._open is None or self._open.table != want.table:
            raise Ended("wants a table that is not on offer")
        parts, secrets, asked = self._open.parts, self._open.secrets, self._open.asked
        for names, offered in ((want.parts, parts), (want.secrets, secrets)):
            for name in names:
                if name in asked or name not in offered:
                    raise Ended("wants what is not part of the table on offer, or was asked for before")
                asked.add(name)
        self._open.until = now + ANSWER
        self._texts.append(
            messages.in_pieces(
                want.table, (parts[name] for name in want.parts), {name: secrets[name] for name in want.secrets}
            )
        )

    def _held(self, holds: Holds, now: float) -> Answer | None:
        refused = self.holding.refused
        answer = self._answered("holds", holds.table, now)
        if answer or (refused and refused.table == holds.table):
            refused = None
        self.holding = Holding(holds.table, holds.watermark, refused)
        if self._open and not self._open.whole:
            # It had this table when the offer was made, and has let it go meanwhile: now it needs the outline.
            self._open, self._offered = None, 0
        return answer

    def _answered(self, kind: Literal["holds", "refuse", "stale"], table: str, now: float) -> Answer | None:
        """None where it is no answer, or one to an earlier offer: gateways hear other controllers, too."""
        if self._open is None or self._open.table != table:
            return None
        answer, self._open, self._again = Answer(kind, now - self._open.made), None, None
        return answer

    def _offer(self, now: float) -> None:
        """Make the next offer, where there is one to make."""
        newest = self._newest
        if newest is None or not self._schema or self._open:
            return
        offered = newest.offered[self._schema]
        again = self._again is not None and now >= self._again
        refused = self.holding.refused
        if not again and (newest.number <= self._offered or (refused and refused.table == offered.table)):
            return
        self._offered, self._again = newest.number, None
        known = offered.table == self.holding.table
        self._open = _Open(offered.table, not known, offered.parts, newest.secrets, now, now + ANSWER)
        self._texts.append(iter([offered.known if known else offered.whole]))
