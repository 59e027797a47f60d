"""One session: its line, what it is meant to come to, and what the client saw of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import Literal, Protocol
from urllib.parse import quote
from weakref import WeakSet

from tests.dataplane import rig
from tests.integration.lives.line import Event, Gone, Line, upgrade
from tests.integration.lives.oracle import Place
from tests.integration.talker import Talker

Road = Literal["calm", "rough", "idle", "brief", "unnamed", "guarded"]
"""A route with its backend, its model and its limits. On the calm one every byte is accounted for; on the unnamed one
sessions only transcribe, and callers may not use what the provider does that with; on the guarded one not
everything may be said."""
ROADS: tuple[Road, ...] = ("calm", "rough", "idle", "brief", "unnamed", "guarded")
LIMITED_KEY = "limited-key-7a6b5c4d3e2f"
"""Of a caller with a budget: each turn must be admitted."""

PLACES: dict[Road, Place] = {road: Place(f"ai/{road}", f"ai/{road}") for road in ROADS}
MODELS: dict[Road, str] = {road: f"voice-{road}" for road in PLACES} | {"unnamed": "None"}
"""The upstream's names; clients know them all as `voice`. Where there is none, the provider says so."""
Side = Literal["client", "upstream"]
"""Whom the gateway talks to."""
Manner = Literal["takes nothing", "sips", "reads on"]
"""What a client does that had stopped to read, once its session ends: it goes on like that, or takes a little now and
then, or everything again."""
SIP = 0.2
"""Seconds from one sip to the next: short enough not to stall."""
INITIATORS = {"client": "client", "upstream": "upstream"}


@dataclass
class Story:
    """What must be written of a session."""

    script: str
    road: Road
    session: str = ""
    """The gateway's id of it."""
    far: str = ""
    """The provider's."""
    status: int = 0
    """Of the answer to the handshake."""
    refusal: str = ""
    reason: str = ""
    code: int = 0
    limited: bool = False
    """Is the caller one whose turns must be admitted?"""
    told: bool = False
    """Must the provider have been heard out, so that none of its turns is an estimate for want of patience?"""
    asked: int = 0
    """Turns that the client asked for."""
    cancels: int = 0
    """Turns that the client cut off."""
    unreadable: int = 0
    """Messages of the upstream's that are no JSON."""
    sent: int = 0
    received: int = 0
    said: int = 0
    """Of the client's leg: bytes, and messages."""

    @property
    def initiator(self) -> str:
        return INITIATORS.get(self.reason.partition("_")[0], "gateway")

    def ends(self, reason: str, code: int) -> None:
        """What it is meant to come to."""
        self.reason, self.code = reason, code


class Host(Protocol):
    """Where sessions are held."""

    @property
    def port(self) -> int: ...

    @property
    def lines(self) -> WeakSet[Line]:
        """To be closed when all is over, however it went."""

    def end_session(self, session_id: str) -> bool: ...

    def revoke(self, session_id: str) -> None:
        """End one session as though its key had been revoked: all have the same."""

    def spend(self, session_id: str) -> None:
        """Let the session's caller have nothing left."""

    async def forgotten(self, session_id: str) -> None:
        """Wait until the gateway does not know that session any more."""

    def narrow(self, session_id: str, to: Side = "client") -> None:
        """Let the kernel hold little of what the gateway sends to one side of that session."""

    async def read(self, session_id: str, messages: int) -> None:
        """Wait until the gateway has read so many of the client's messages."""

    async def full(self, session_id: str) -> None:
        """Wait until more waits for that session's client than should."""


@dataclass
class Life:
    """A session as its script sees it."""

    host: Host
    rng: Random
    story: Story
    pieces: bool = False
    """Does the client send its messages in fragments?"""
    manner: Manner = "reads on"
    busy: bool = False
    """Is a turn under way? Then another must be out of band."""
    turns: list[str] = field(default_factory=list)
    """Ids of the turns that its state has begun, and that go on until they are cancelled."""
    _line: Line | None = field(default=None, repr=False)

    @property
    def line(self) -> Line:
        assert self._line is not None, "open it first"
        return self._line

    async def open(self, scenario: str = "", *, window: int = 0, key: str = "") -> bool:
        """Ask for the session, and read its first event; whether there is one."""
        model = "intent=transcription" if self.story.road == "unnamed" else "model=voice"
        path = f"/v1/realtime?{model}&scenario={quote(scenario)}"
        host = f"{self.story.road}.test"
        key = key or (LIMITED_KEY if self.story.limited else rig.CLIENT_KEY)
        self._line = await Line.open(self.host.port, upgrade(host, path, key), window=window)
        self.host.lines.add(self._line)
        self.story.status = await self.line.answered()
        if self.story.status != 101:
            error = (await self.line.body())["error"]
            assert isinstance(error, dict)
            self.story.refusal = error["code"]
            self.line.reset()
            return False
        self.story.session = self.line.field("x-tidegate-request-id")
        if "silent" not in scenario:
            session = (await self.event("session.created"))["session"]
            assert isinstance(session, dict)
            assert session.get("model") == ("voice" if "model=voice" in path else None), "the public name"
            self.story.far = session["id"]
        return True

    @property
    def talker(self) -> Talker:
        return Talker(self, self.rng)

    async def hold(self, kind: str) -> None:
        """A whole turn of a kind."""
        if kind == "noise":
            await self.talker.respond("not-json")
        else:
            await self.talker.hold(kind)
        self.story.cancels += kind == "cancelled"

    async def ask(self, scenario: str, **response: object) -> None:
        """Ask for a response that behaves so; out of band, if another is under way."""
        if self.busy:
            response = {**response, "conversation": "none"}
        self.busy = True
        await self.say("response.create", response={"metadata": {"scenario": scenario}, **response})

    async def say(self, kind: str, **fields: object) -> None:
        await self.send(json.dumps({"type": kind, **fields}))

    async def send(self, message: str) -> None:
        self.story.asked += message.startswith('{"type": "response.create"')
        if self.pieces:
            size = len(message.encode())
            self.line.send_pieces(message, [self.rng.randrange(size + 1) for _ in range(self.rng.randint(1, 4))])
        else:
            await self.line.send(message)

    async def recv(self) -> bytes:
        """The next message that is an event."""
        while not (message := await self.line.recv()).startswith(b"{"):
            self.story.unreadable += 1
        return message

    async def event(self, *kinds: str) -> Event:
        """Read to the next event of these types. Raises Gone."""
        while True:
            event: Event = json.loads(await self.recv())
            if event["type"] in kinds:
                return event
            assert event["type"] != "error", event

    async def created(self) -> None:
        """Read until the turn that was asked for begins, which goes on until it is cancelled."""
        response = (await self.event("response.created"))["response"]
        assert isinstance(response, dict)
        self.turns.append(response["id"])

    async def stop_reading(self) -> None:
        """Take nothing more; returns when the gateway has noticed."""
        self.line.stop_reading()
        await self.host.full(self.story.session)
        if self.manner == "sips":
            self.line.stop_reading(SIP)

    @property
    def attentive(self) -> bool:
        """Does it hear what it is told at the end?"""
        return self.line.reads or self.manner == "reads on"

    async def last_words(self) -> list[Event]:
        """The error events that came before the end."""
        self.line.read_on()
        words: list[Event] = []
        try:
            while True:
                event = json.loads(await self.recv())
                if event["type"] == "error":
                    words.append(event["error"])
        except Gone:
            return words

    async def over(self) -> None:
        """Read to the end; the Close frame must be the one that was meant, if anybody hears it."""
        if not self.attentive:
            await self.host.forgotten(self.story.session)
            self.line.read_on()
            await self.line.gone()
            return
        self.line.read_on()
        code = await self.line.closed()
        assert code == self.story.code, f"{self.story}: closed with {code}"
        await self.line.gone()

    def count(self) -> None:
        """Write down what passed the client's leg."""
        line, story = self.line, self.story
        story.sent, story.received, story.said = line.sent, line.received, line.said
