"""One realtime session: client events in, server events out. Pure; the clock is an argument.

`receive` takes what the client sent, `due` gives what the server sends, `next_due` says when it would send
something by itself. Source: the OpenAI Realtime API (GA).
"""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import orjson

from simulator import events, responses, session, speech
from simulator.errors import RefusedError, invalid, missing, unknown
from simulator.events import event
from simulator.items import Item, Items, audio_bytes, new_item
from simulator.ledger import Ledger
from simulator.scenarios import Options, ScenarioError, Scenarios
from simulator.shapes import Json, count, mapping, text
from simulator.speech import Transcription
from simulator.timeline import Action, Close, Mishap, Pause, Ping, Receipt, Reset, Said, Script, Timeline
from simulator.turns import Turn

_EXPIRED = "Your session hit the maximum duration of 60 minutes."

# The client events, and their fields besides `type` and `event_id`.
_FIELDS: dict[str, frozenset[str]] = {
    "session.update": frozenset({"session"}),
    "input_audio_buffer.append": frozenset({"audio"}),
    "input_audio_buffer.commit": frozenset(),
    "input_audio_buffer.clear": frozenset(),
    "conversation.item.create": frozenset({"item", "previous_item_id"}),
    "conversation.item.retrieve": frozenset({"item_id"}),
    "conversation.item.delete": frozenset({"item_id"}),
    "conversation.item.truncate": frozenset({"item_id", "content_index", "audio_end_ms"}),
    "response.create": frozenset({"response"}),
    "response.cancel": frozenset({"response_id"}),
}


class _Active(NamedTuple):
    turn: Turn
    script: Script


class Conversation:
    """The session of connection `number`; `model` is None for one that only transcribes; `asked` are the
    scenarios that the client chose in the URL."""

    def __init__(self, number: int, model: str | None, ledger: Ledger, scenarios: Scenarios, asked: Options) -> None:
        self._number, self._model, self._ledger = number, model, ledger
        self._scenarios, self._asked = scenarios, asked
        self._options = scenarios.choose(model or "") | asked
        self._ids = self._sent = 0
        self.id = self._new_id("sess")
        self._session: Json = {}
        self._items = Items()
        self._planner = responses.Planner(self._new_id("conv"), self._items)
        self._buffer = speech.InputBuffer()
        self._outbox: deque[Action] = deque()
        self._timeline = Timeline()
        self._active: list[_Active] = []
        self._heard: list[Transcription] = []
        self._late: list[Script] = []  # transcripts that wait for the next response.done
        self._spoken = False
        self._over = False

    def open(self, now: float, expires_at: int) -> None:
        """The client is there: `now` on the clock of `due`, `expires_at` in Unix time."""
        if self._model is None:
            self._session = session.transcription(self.id, expires_at)
        else:
            self._session = session.realtime(self.id, self._model, expires_at)
        self._over = "silent" in self._options
        self._send("session.created", session=self._session)
        if "expire" in self._options:
            self._timeline.start(_expire(self._options.number("expire") / 1000), now)
        if "ping" in self._options:
            self._timeline.start(_ping(self._options.number("ping") / 1000), now)

    def receive(self, message: str | bytes, now: float) -> None:
        """A message of the client: text, or bytes, which this API does not take."""
        if self._over:
            return
        client_event_id: str | None = None
        try:
            received = _parse(message)
            given_id = received.get("event_id")
            client_event_id = given_id if isinstance(given_id, str) else None
            _check(received)
            self._handle(received, now)
        except RefusedError as refused:
            self._outbox.append(events.error(refused, client_event_id))
        self._timeline.wake(now)

    def due(self, now: float) -> Iterator[Said]:
        """What is to be sent by now, in order. Usage is booked as it is handed out: take no more than can be sent."""
        while not self._over:
            action = self._outbox.popleft() if self._outbox else self._timeline.step(now)
            if action is None:
                return
            if isinstance(action, Mishap):
                self._lose("dropped")
            elif isinstance(action, Receipt):
                action.book()
                action = action.event
            yield self._stamped(action) if isinstance(action, dict) else action

    def next_due(self) -> float | None:
        """When `due` has something next, unless the client sends something first; None: never."""
        return None if self._over else self._timeline.next_due()

    def end(self, now: float) -> None:  # noqa: ARG002
        """The connection is no more. When that was matters where time is billed."""
        self._lose("abandoned")

    def _lose(self, status: str) -> None:
        """What is under way is booked with that status, without usage."""
        self._over = True
        for active in self._active:
            active.turn.lose(status)
        for transcription in self._heard:
            transcription.lose(status)

    def close(self) -> None:
        """The client has said CLOSE: what waited for that is due."""
        for active in self._active:
            if active.turn.outlives_close and not active.turn.finished:
                self._stop(active, "client_cancelled")

    def _new_id(self, kind: str) -> str:
        self._ids += 1
        return f"{kind}_{self._number:06d}{self._ids:05d}"

    def _send(self, kind: str, **fields: object) -> None:
        self._outbox.append(event(kind, **fields))

    def _stamped(self, action: Json) -> Json:
        self._sent += 1
        if self._sent == self._options.get("drop-after"):
            self._outbox.appendleft(Reset())
        return {**action, "event_id": f"event_{self._number:06d}{self._sent:06d}"}

    def _handle(self, received: Json, now: float) -> None:
        match received["type"]:
            case "session.update":
                change = mapping(received.get("session"))
                self._session = session.updated(self._session, change, spoken=self._spoken)
                self._send("session.updated", session=self._session)
            case "input_audio_buffer.append":
                self._append(received, now)
            case "input_audio_buffer.commit":
                if self._buffer.ms == 0:
                    message = "Error committing input audio buffer: the buffer is empty."
                    raise RefusedError(message, "input_audio_buffer_commit_empty")
                self._commit(self._new_id("item"), now)
            case "input_audio_buffer.clear":
                self._buffer.take()
                self._send("input_audio_buffer.cleared")
            case "response.create":
                self._create_response(mapping(received.get("response")), now)
            case "response.cancel":
                self._cancel(received.get("response_id"))
            case _:
                self._handle_item(received)

    def _handle_item(self, received: Json) -> None:
        item_id = received.get("item_id")
        match received["type"]:
            case "conversation.item.create":
                self._create_item(mapping(received.get("item")), received.get("previous_item_id"))
            case "conversation.item.retrieve":
                self._send("conversation.item.retrieved", item=self._items.find(item_id, "retrieve").body)
            case "conversation.item.delete":
                self._items.delete(item_id)
                self._send("conversation.item.deleted", item_id=item_id)
            case _:
                end_ms = count(received.get("audio_end_ms"))
                self._items.truncate(item_id, end_ms)
                where = {"item_id": item_id, "content_index": count(received.get("content_index"))}
                self._send("conversation.item.truncated", **where, audio_end_ms=end_ms)

    def _create_item(self, given: Json, after: object) -> None:
        item_id = text(given.get("id")) or self._new_id("item")
        self._add_item(new_item(given, item_id, self._bytes_per_ms()), after)

    def _add_item(self, item: Item, after: object = None) -> None:
        previous = self._items.add(item, after)
        self._outbox += [events.item_added(item.body, previous), events.item_done(item.body, previous)]

    # Audio

    def _bytes_per_ms(self) -> int:
        return session.bytes_per_ms(mapping(session.heard(self._session).get("format")))

    def _append(self, received: Json, now: float) -> None:
        """Not acknowledged. With voice activity detection, so many ms of anything are one utterance."""
        self._buffer.append(audio_bytes(received.get("audio"), "audio") / self._bytes_per_ms())
        vad = session.heard(self._session).get("turn_detection")
        if vad is not None and self._buffer.ms >= self._options.number("vad-ms"):
            self._utterance(mapping(vad), now)

    def _utterance(self, vad: Json, now: float) -> None:
        item_id, end_ms = self._new_id("item"), int(self._buffer.ends_at_ms)
        start_ms = end_ms - int(self._buffer.ms)
        self._send("input_audio_buffer.speech_started", audio_start_ms=start_ms, item_id=item_id)
        if vad.get("interrupt_response") and (active := self._in_conversation()):
            self._stop(active, "turn_detected")
        self._send("input_audio_buffer.speech_stopped", audio_end_ms=end_ms, item_id=item_id)
        self._commit(item_id, now)
        if self._model is not None and vad.get("create_response") and not self._in_conversation():
            self._create_response({}, now)

    def _commit(self, item_id: str, now: float) -> None:
        ms = self._buffer.take()
        self._send("input_audio_buffer.committed", previous_item_id=self._items.last_id(), item_id=item_id)
        item = speech.audio_item(item_id, ms)
        self._add_item(item)
        wanted = session.heard(self._session).get("transcription")
        if wanted is None:
            return
        model = text(mapping(wanted).get("model")) or session.TRANSCRIPTION_MODEL
        if "transcript-fails" in self._options:
            self._timeline.start(speech.fail_to_transcribe(item), now)
            return
        transcription = Transcription(item, ms, model, self.id, self._ledger)
        self._heard = [*(one for one in self._heard if not one.booked), transcription]
        if "transcript-late" in self._options and self._model is not None:
            self._late.append(transcription.script())
        elif "transcript-never" not in self._options:
            self._timeline.start(self._later(transcription.script()), now)

    def _later(self, script: Script) -> Script:
        yield Pause(self._options.number("transcript-ms") / 1000)
        yield from script

    # Responses

    def _in_conversation(self) -> _Active | None:
        """The active response of the default conversation."""
        return next((a for a in self._active if a.turn.in_conversation and not a.turn.finished), None)

    def _create_response(self, params: Json, now: float) -> None:
        if self._model is None:
            raise RefusedError("A transcription session creates no responses.", "invalid_value", "type")
        responses.check(params)
        active = self._in_conversation()
        if active and params.get("conversation") != "none":
            message = f"Conversation already has an active response in progress: {active.turn.id}."
            raise RefusedError(message, "conversation_already_has_active_response")
        options = self._turn_options(params)
        plan = self._planner.plan(self._new_id("resp"), params, self._session, options)
        turn = Turn(plan, self._new_id, self._book)
        self._spoken = self._spoken or plan.format is not None
        script = self._play(turn, options.number("rate-limits") / 1000)
        self._active.append(_Active(turn, script))
        self._timeline.start(script, now)

    def _turn_options(self, params: Json) -> Options:
        chosen = self._scenarios.choose(self._model or "", responses.last_text(self._items))
        try:
            own = Options.parse(text(mapping(params.get("metadata")).get("scenario")))
        except ScenarioError as wrong:
            raise invalid("response.metadata.scenario", str(wrong)) from None
        return chosen | self._asked | own

    def _play(self, turn: Turn, rate_limits_after_s: float) -> Script:
        """A turn, and what follows its `response.done`."""
        yield from turn.script()
        self._active = [active for active in self._active if active.turn is not turn]
        late, self._late = self._late, []
        for script in late:
            yield from script
        yield Pause(rate_limits_after_s)
        yield events.rate_limits(turn.spent)

    def _cancel(self, response_id: object) -> None:
        found = self._in_conversation()
        if response_id is not None:
            live = (active for active in self._active if not active.turn.finished)
            found = next((active for active in live if active.turn.id == response_id), None)
        if found is None:
            message = "Cancellation failed: no active response found"
            raise RefusedError(message, "response_cancel_not_active")
        if not found.turn.deaf:
            self._stop(found, "client_cancelled")

    def _stop(self, active: _Active, reason: str) -> None:
        """End a response now: its last events go out before anything else happens."""
        active.turn.end("cancelled", reason=reason)
        while not active.turn.finished:
            step = next(active.script)
            if not isinstance(step, Pause):
                self._outbox.append(step)

    def _book(self, turn: str, status: str, sent: Json | None, billed: Json | None) -> None:
        model = self._model or ""
        self._ledger.record("realtime", turn, session=self.id, model=model, status=status, usage=sent, billed=billed)


def _parse(message: str | bytes) -> Json:
    if isinstance(message, bytes):
        wanted = "Expected a text WebSocket message; binary frames are not supported."
        raise RefusedError(wanted, "invalid_event")
    try:
        received: object = orjson.loads(message)
    except orjson.JSONDecodeError as problem:
        raise RefusedError(f"Could not parse your event as JSON: {problem}", "invalid_json") from None
    if not isinstance(received, dict):
        raise RefusedError("Could not parse your event: expected a JSON object.", "invalid_json")
    return received


def _check(received: Json) -> None:
    if "type" not in received:
        raise missing("type")
    kind = received["type"]
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise invalid("type", f"'{kind}'. Supported values are: {', '.join(map(repr, _FIELDS))}.")
    for field in received:
        if field not in _FIELDS[kind] and field not in ("type", "event_id"):
            raise unknown(field)


def _expire(after_s: float) -> Script:
    yield Pause(after_s)
    yield events.error(RefusedError(_EXPIRED, "session_expired"))
    yield Close(1001, _EXPIRED)


def _ping(every_s: float) -> Script:
    while True:
        yield Pause(max(every_s, 0.001))  # 0 would leave no time for anything else
        yield Ping()
