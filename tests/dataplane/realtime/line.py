"""A session, told what peers say message by message, with what comes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from dataplane.metering.usage import Tokens, Usage
from dataplane.realtime.effects import Began, Effect, Interrupted, Metered, Prompted, Spoke, Tell
from dataplane.realtime.gate import SNIFF
from dataplane.realtime.session import Session
from dataplane.realtime.steps import Verdict
from dataplane.realtime.terms import Terms
from tests.dataplane.realtime.play import TERMS

USAGE = {"input_tokens": 10, "output_tokens": 5, "input_token_details": {"text_tokens": 10}}
TOKENS = Tokens(input_text=10, output_unknown=5)
WHISPER = {"audio": {"input": {"transcription": {"model": "whisper-1"}}}}


class Line:
    """A session with what comes of it, by kind."""

    def __init__(self, terms: Terms = TERMS) -> None:
        self.session = Session(terms)
        self.effects: list[Effect] = []

    def upstream(self, kind: str, **fields: object) -> Verdict:
        return self.said(json.dumps({"type": kind, **fields}).encode())

    def passes(self, kind: str, **fields: object) -> None:
        """An event that nobody has to read, in compact JSON as the vendor writes it."""
        payload = json.dumps({"type": kind, **fields}, separators=(",", ":")).encode()
        if not self.session.listening.flows(b".." + payload, 2, 2 + len(payload)):
            assert not self.session.listening.wants(payload[:SNIFF], len(payload))
        self.effects += self.session.effects()

    def said(self, payload: bytes, *, binary: bool = False) -> Verdict:
        verdict = self.session.read_upstream(payload, binary=binary)
        self.effects += self.session.effects()
        return verdict

    def client(self, event: object) -> Verdict:
        verdict = self.session.read_client(json.dumps(event).encode(), binary=False)
        self.effects += self.session.effects()
        return verdict

    def begun(self, *names: str) -> Line:
        for name in names:
            self.upstream("response.created", response={"id": name})
        return self

    def done(self, name: str, status: object = "completed", usage: object = USAGE) -> Line:
        self.upstream("response.done", response={"id": name, "status": status, "usage": usage})
        return self

    @property
    def metered(self) -> list[Usage]:
        return [effect.usage for effect in self.effects if isinstance(effect, Metered)]

    @property
    def turns(self) -> list[tuple[str, str, Tokens | None]]:
        return [(usage.response_id, usage.status, usage.tokens) for usage in self.metered]

    @property
    def progress(self) -> list[Effect]:
        """How turns went, of late."""
        kinds = Prompted | Began | Spoke | Interrupted
        found: list[Effect] = [effect for effect in self.effects if isinstance(effect, kinds)]
        self.effects.clear()
        return found

    @property
    def told(self) -> Iterator[tuple[str, dict[str, object]]]:
        return ((effect.to, effect.event) for effect in self.effects if isinstance(effect, Tell))
