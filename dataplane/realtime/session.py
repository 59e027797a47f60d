"""What is true of one realtime session: its model, the turns in flight, what was used, why it ends.

No sockets, no clock: messages go in, verdicts come back, and effects are queued for the relay. Turns are kept by
`response_id`, since responses out of band run beside the default one, and each is metered when its
`response.done` comes: once, however often it is said.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from dataplane.dialects import openai, openai_beta
from dataplane.dialects.openai_usage import response_usage, transcription_usage
from dataplane.metering.usage import NO_TOKENS, Caller, Operation, Status, Tokens, Usage
from dataplane.realtime import endings, events
from dataplane.realtime.audio import MAX_EVENT_ID, CanonicalAudio
from dataplane.realtime.endings import Ending
from dataplane.realtime.gate import KEEP, Verdict

SEEN = 4096
"""Finished turns that are remembered, so that one said twice is counted once; and as many that are open."""
MAX_ID = 256
"""Characters of an id, type or model name that are kept. Real ones have some 40."""

Direction = Literal["client", "upstream"]

_STATUSES: dict[str, Status] = {
    "completed": "completed",
    "cancelled": "cancelled",
    "failed": "failed",
    "incomplete": "incomplete",
}


@dataclass(frozen=True, slots=True)
class Terms:
    """What the handshake agreed on; fixed for the session's life."""

    id: str
    route: str
    backend: str
    caller: Caller
    provider: str
    provider_kind: str
    public_model: str
    """The name that the client knows."""
    upstream_model: str
    """The name that the upstream knows."""
    any_model: bool = False
    """The provider overrides whatever model is named."""
    beta: bool = False
    """The client declared the beta shape."""
    log_events: frozenset[str] = frozenset()
    """Event types to log, or `*`."""


@dataclass(frozen=True, slots=True)
class Metered:
    usage: Usage


@dataclass(frozen=True, slots=True)
class Unmetered:
    """Something that may have held usage could not be read."""

    reason: str


@dataclass(frozen=True, slots=True)
class Logged:
    """An event to log: what it was, never what it said."""

    direction: Direction
    type: str
    event_id: str
    response_id: str
    size: int


Trigger = Literal["voice", "client"]
"""Why a turn began: the user fell silent (server VAD), or the client asked for it."""


@dataclass(frozen=True, slots=True)
class Prompted:
    """A turn is due: from here on the user waits for it."""

    trigger: Trigger


@dataclass(frozen=True, slots=True)
class Began:
    """A turn has begun."""

    response_id: str
    trigger: Trigger


@dataclass(frozen=True, slots=True)
class Spoke:
    """The first audio of a turn has come."""

    response_id: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A turn was cut off, by the user's voice or by the client's cancel."""

    response_id: str
    by: Trigger


Progress = Prompted | Began | Spoke | Interrupted
"""How turns go; when each came is for whoever has a clock to say."""


@dataclass(frozen=True, slots=True)
class Tell:
    """An event of ours, to the client or to the upstream."""

    to: Direction
    event: events.Event


@dataclass(frozen=True, slots=True)
class Finish:
    """The session is over."""

    ending: Ending
    message: str


Effect = Metered | Unmetered | Logged | Progress | Tell | Finish


@dataclass(frozen=True, slots=True)
class Refused:
    """The upstream's first event was an error: the session never began."""

    code: str
    message: str
    close_reason: str = ""


class Session:
    """One session. `read_client` and `read_upstream` judge messages; `effects()` hands out what else follows."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.opened: Literal[True] | Refused | None = None
        """None until the upstream's first message."""
        self.turns = 0
        self.tokens = NO_TOKENS
        self.model = ""
        """The model that the upstream says it serves."""
        self._effects: deque[Effect] = deque()
        self._transcription_model = ""
        self._open: OrderedDict[str, None] = OrderedDict()
        """Responses that began and have not ended, in order."""
        self._asked = 0
        """`response.create`s that no `response.created` has answered."""
        self._untranscribed: OrderedDict[str, None] = OrderedDict()
        """Items of audio whose transcription, and its usage, is still to come."""
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._ids = 0
        self._leaving = False

    # -- what the relay asks -----------------------------------------------------------------------------------

    @property
    def due(self) -> bool:
        """Are there effects to hand out?"""
        return bool(self._effects)

    def effects(self) -> Iterator[Effect]:
        """What has become due, oldest first; handed out once. What becomes due meanwhile is among it."""
        while self._effects:
            yield self._effects.popleft()

    @property
    def unsettled(self) -> bool:
        """Is there usage that the upstream has yet to report?"""
        return bool(self._open or self._asked or self._untranscribed)

    def leave(self) -> None:
        """The client is gone: cancel what it left running, so that its usage comes now."""
        self._leaving = True
        for response_id in self._open:
            self._cancel(response_id)

    def abandon(self) -> None:
        """The upstream is gone: what never ended is counted as lost."""
        for response_id in list(self._open):
            self._finish_turn(response_id, "lost", None)
        self._asked = 0
        self._untranscribed.clear()

    @property
    def audio(self) -> CanonicalAudio | None:
        """The shape of the client events that go on unread; None where those are to be logged."""
        return None if self._logs(openai.AUDIO_TYPE) else openai.AUDIO

    def wants(self, head: bytes) -> bool:
        """Must the upstream's message that begins so be read?"""
        if self.opened is None:
            return True
        kind = openai.head_type(head)
        if kind is None or kind in openai.METERED or self._logs(kind):
            return True
        return self.terms.beta and kind in openai_beta.RENAMED

    # -- client → upstream -------------------------------------------------------------------------------------

    def read_client(self, payload: bytes, *, binary: bool) -> Verdict:
        """The verdict on a client's message. What is not a strict JSON event is answered here: the upstream may
        read it differently from us."""
        if binary:
            return self._decline("invalid_event", "Binary messages are not supported. Send JSON as text.")
        try:
            event = events.parse(payload)
        except UnicodeDecodeError:
            self._effects.append(Finish(endings.BAD_UTF8, "A text message was not UTF-8."))
            return ()
        except events.BadEvent as error:
            return self._decline("invalid_json", f"The message could not be read: {error}. Send one JSON object.")
        self._log("client", event, len(payload))
        event_id = event.get("event_id")
        if name := _misspelt(event):
            return self._decline("invalid_event", f"Write the field {name!r} in lower case.", event_id=event_id)
        named = self._with_own_model(openai_beta.mended(event))
        if isinstance(named, str):
            return self._decline("model_not_allowed", named, event_id=event_id, param="session.model")
        try:
            verdict: Verdict = KEEP if named is event else (events.dump(named),)
        except events.BadEvent as error:
            return self._decline("invalid_json", f"The message cannot be passed on: {error}.", event_id=event_id)
        if named.get("type") == "response.create":
            self._asked += 1
        return verdict

    def _with_own_model(self, event: events.Event) -> events.Event | str:
        """The event with the upstream's model name; a message where it names another than this session's."""
        if not self.terms.upstream_model:  # a session that began without a model
            return event
        for holder in ("session", "response"):
            inner = event.get(holder)
            if not isinstance(inner, dict) or "model" not in inner:
                continue
            name = inner["model"]
            if not (self.terms.any_model or name in (self.terms.public_model, self.terms.upstream_model)):
                return f"This session's model is {self.terms.public_model!r}. Open another session for another model."
            if name != self.terms.upstream_model:
                event = {**event, holder: {**inner, "model": self.terms.upstream_model}}
        return event

    def _decline(self, code: str, message: str, *, event_id: object = None, param: str = "") -> Verdict:
        if not isinstance(event_id, str) or len(event_id) > MAX_EVENT_ID:
            event_id = None
        self._tell("client", openai.error(self._own_id(), code, message, event_id=event_id, param=param))
        return ()

    # -- upstream → client -------------------------------------------------------------------------------------

    def read_upstream(self, payload: bytes, *, binary: bool) -> Verdict:
        """The verdict on an upstream's message that `wants` chose. It is relayed whatever it is."""
        event = None if binary else events.read(payload)
        if not isinstance(event, dict):
            self.opened = self.opened or True
            self._effects.append(Unmetered("undecodable"))
            return KEEP
        kind = openai.text(event, "type")
        if self.opened is None:
            self.opened = Refused(*_complaint(event)) if kind == "error" else True
        self._log("upstream", event, len(payload))
        self._note(kind, event)
        return self._for_client(event)

    def _note(self, kind: str, event: events.Event) -> None:
        """Learn what the event says about the session."""
        match kind:
            case "session.created" | "session.updated" | "transcription_session.updated":
                self.model = _name(event, "session", "model") or self.model
                self._transcription_model = openai.transcription_model(event.get("session"))[:MAX_ID]
            case "response.created":
                self._begin_turn(_name(event, "response", "id"))
            case "response.done":
                self._response_done(event)
            case "input_audio_buffer.committed" if self._transcription_model:
                _add(self._untranscribed, _name(event, "item_id"))
            case "conversation.item.input_audio_transcription.completed":
                self._transcribed(event)
            case "conversation.item.input_audio_transcription.failed":
                self._untranscribed.pop(_name(event, "item_id"), None)
            case "error" if _refuses_response(event):
                self._answered()

    def _answered(self) -> None:
        self._asked = max(0, self._asked - 1)

    def _begin_turn(self, response_id: str) -> None:
        self._answered()
        if response_id and response_id not in self._seen:
            if (oldest := _add(self._open, response_id)) is not None:
                self._finish_turn(oldest, "lost", None)
            if self._leaving:
                self._cancel(response_id)

    def _response_done(self, event: events.Event) -> None:
        response_id = _name(event, "response", "id") or _name(event, "event_id") or self._own_id()
        if response_id not in self._open and response_id not in self._seen:  # its beginning was never said
            self._answered()
        status = _STATUSES.get(openai.text(event, "response", "status"), "completed")
        self._finish_turn(response_id, status, response_usage(openai.part(event, "response", "usage")))

    def _finish_turn(self, response_id: str, status: Status, tokens: Tokens | None) -> None:
        self._open.pop(response_id, None)
        if self._first_time(response_id):
            self._meter("realtime_inference", response_id, status, tokens)

    def _transcribed(self, event: events.Event) -> None:
        item = _name(event, "item_id")
        self._untranscribed.pop(item, None)
        item = item or _name(event, "event_id") or self._own_id()
        index = openai.part(event, "content_index")
        if self._first_time(f"{item}#{index if isinstance(index, int) else 0}"):
            self._meter("transcription", item, "completed", transcription_usage(event.get("usage")))

    def _meter(self, operation: Operation, response_id: str, status: Status, tokens: Tokens | None) -> None:
        terms, spoken = self.terms, operation == "transcription"
        self.turns += not spoken
        self.tokens += tokens or NO_TOKENS
        usage = Usage(
            id=self._own_id("use"),
            operation=operation,
            status=status,
            tokens=tokens,
            provider=terms.provider,
            provider_kind=terms.provider_kind,
            request_model=self._transcription_model if spoken else terms.upstream_model,
            response_model=self._transcription_model if spoken else self.model,
            route=terms.route,
            backend=terms.backend,
            caller=terms.caller,
            session=terms.id,
            response_id=response_id,
            public_model=self._transcription_model if spoken else terms.public_model,
        )
        self._effects.append(Metered(usage))

    def _for_client(self, event: events.Event) -> Verdict:
        """The event as the client knows it: by its own model name, and in the shape that it declared."""
        shown = event
        session = event.get("session")
        terms = self.terms
        if isinstance(session, dict) and terms.public_model != terms.upstream_model == session.get("model"):
            shown = {**event, "session": {**session, "model": terms.public_model}}
        if terms.beta:
            old = openai_beta.renamed(shown)
            if old is None:
                return ()
            shown = old
        try:
            return KEEP if shown is event else (events.dump(shown),)
        except events.BadEvent:
            return KEEP

    # -- small things ------------------------------------------------------------------------------------------

    def _cancel(self, response_id: str) -> None:
        self._tell("upstream", openai.cancel(self._own_id(), response_id))

    def _tell(self, to: Direction, event: events.Event) -> None:
        self._effects.append(Tell(to, event))

    def _own_id(self, prefix: str = "event") -> str:
        self._ids += 1
        return f"{prefix}_gw_{self.terms.id}_{self._ids}"

    def _first_time(self, key: str) -> bool:
        if key in self._seen:
            return False
        _add(self._seen, key)
        return True

    def _logs(self, kind: str) -> bool:
        return kind in self.terms.log_events or "*" in self.terms.log_events

    def _log(self, direction: Direction, event: events.Event, size: int) -> None:
        kind = _name(event, "type")
        if self._logs(kind):
            response_id = _name(event, "response_id") or _name(event, "response", "id")
            self._effects.append(Logged(direction, kind, _name(event, "event_id"), response_id, size))


def _name(event: events.Event, *path: str) -> str:
    """An id, type or model name, of bounded length."""
    return openai.text(event, *path)[:MAX_ID]


def _add(names: OrderedDict[str, None], name: str) -> str | None:
    """Add to an ordered set; the oldest, which it gives up where it has grown over SEEN."""
    names[name] = None
    return names.popitem(last=False)[0] if len(names) > SEEN else None


def _misspelt(event: events.Event) -> str:
    """A field that is judged here, and stands there in another case; empty where none does. Some JSON readers (Go's)
    ignore case, and would take `Model` for `model`."""
    fields = [(name, _JUDGED) for name in event]
    for holder in ("session", "response"):
        if isinstance(inner := event.get(holder), dict):
            fields += [(str(name), _JUDGED_INSIDE) for name in inner]
    return next((name.casefold() for name, judged in fields if name not in judged and name.casefold() in judged), "")


_JUDGED = frozenset({"type", "session", "response"})
_JUDGED_INSIDE = frozenset({"model"})


def _complaint(event: events.Event) -> tuple[str, str]:
    return openai.text(event, "error", "code"), openai.text(event, "error", "message")


def _refuses_response(event: events.Event) -> bool:
    """Does this error answer a `response.create`, so that no response will come of it?"""
    code, param = openai.text(event, "error", "code"), openai.text(event, "error", "param")
    return code == "conversation_already_has_active_response" or param.startswith("response")
