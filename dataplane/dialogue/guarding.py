"""Guardrails on one connection: what is asked for is judged, and what is said of each response, lane by lane."""

from __future__ import annotations

from dataplane.affinity.bodies import Json
from dataplane.dialogue import messages
from dataplane.dialogue.messages import Asked
from dataplane.dialogue.socket import Message
from dataplane.exchange import Exchange
from dataplane.guardrails.texts import responses_request, speaks
from dataplane.http import guarded
from dataplane.http.jury import Blocked, Jury
from dataplane.http.responses import Outcome
from dataplane.http.responses_guarded import OVER, Responses
from dataplane.http.spoken import Texts
from dataplane.services import Services


class Guarding:
    """Those that hold for who asks."""

    def __init__(self, services: Services, exchange: Exchange) -> None:
        self._services, self._exchange = services, exchange
        self._guards = exchange.guards()
        self._texts: dict[str, Texts] = {}
        """Of the response that is under way, by lane."""
        self._dialects: dict[str, Responses] = {}
        self._ids: dict[str, str] = {}
        """The provider's, of the last response of each lane."""
        self._refused: set[str] = set()
        """Lanes of whose response nothing more is shown."""
        judges = self._jury("")
        self.watches = judges.watches("output")
        """Is what is said judged?"""
        self.enforces = judges.enforces("output")
        """Can it be changed or stopped?"""
        self.waits = judges.judges["output"].waits
        """Must somebody be asked before it is shown?"""

    async def ask(self, asked: Asked, model: str) -> bool:
        """Judge what is asked for; was anything masked? Raises Blocked."""
        if not self._guards:
            return False
        return await self._jury(model).asked(lambda: responses_request(asked.body), speaks=speaks(asked.body))

    def lane_of(self, message: Message) -> str:
        """That which a message of the provider's is of."""
        return messages.lane_said({} if message.binary else guarded.parsed(message.data) or {})

    def read(self, message: Message) -> Json:
        """An event of the provider's; empty where it is none. Raises Blocked where that cannot be judged."""
        event = None if message.binary else guarded.parsed(message.data)
        if event is None and self.enforces:
            raise self._jury("").unreadable("output", "the provider sent what is not a JSON object", "")
        about = event.get("response") if event else None
        if event and isinstance(about, dict):
            self._ids[messages.lane_said(event)] = str(about.get("id", ""))
        return event or {}

    async def say(self, event: Json, model: str) -> list[bytes]:
        """What is shown of an event. Raises Blocked."""
        lane, over = messages.lane_said(event), event.get("type") in OVER
        if event.get("type") == "response.created":
            self._leave(lane)
        texts = self._texts.setdefault(lane, Texts(self._jury(model)))
        dialect = self._dialects.setdefault(lane, Responses(Outcome(), None))
        try:
            if lane in self._refused:
                return []
            return [guarded.written(shown, texts.jury) async for shown in dialect.judged(texts, event)]
        finally:
            if over:
                self._leave(lane)

    def refuse(self, event: Json) -> None:
        """Show nothing more of the response that an event is of, and let nobody go on from it."""
        self._services.refused.add(self._ids.get(messages.lane_said(event), ""))
        if event.get("type") not in OVER:
            self._refused.add(messages.lane_said(event))

    def _leave(self, lane: str) -> None:
        if (texts := self._texts.pop(lane, None)) is not None:
            texts.jury.done("output")
        self._dialects.pop(lane, None)
        self._refused.discard(lane)

    def _jury(self, model: str) -> Jury:
        return Jury(self._services, self._exchange, self._guards, model)


def ends(blocked: Blocked) -> bool:
    """Does it end the connection, and not only what was asked?"""
    return not blocked.hit.guardrail.refuse_turn
