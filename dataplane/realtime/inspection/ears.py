"""Who transcribes what the user says: whoever the client named, or the gateway does, so that it can be judged.

It is switched on where the client did not, and kept on where the client would switch it off; the client sees the
session as it set it up. What counts is what the server has confirmed.
"""

from __future__ import annotations

from collections.abc import Sequence

from dataplane import models
from dataplane.dialects import openai
from dataplane.realtime.events import Event
from dataplane.realtime.names import check_case
from dataplane.realtime.terms import Terms

_PATHS = (("audio", "input", "transcription"), ("input_audio_transcription",))
"""Where a session says what transcribes, in GA and in beta."""
_KNOWN = {"azure": ("whisper-1", "gpt-4o-mini-transcribe"), "xai": ("grok-transcribe",)}
_USUAL = ("gpt-4o-mini-transcribe", "whisper-1", "gpt-4o-transcribe", "gpt-transcribe", "gpt-realtime-whisper")
_TRIES = 8
"""Updates of ours in one session."""


def transcribers(terms: Terms) -> list[str]:
    """The upstream's names of models that may transcribe where the client has named none."""
    usual = [name for name in _KNOWN.get(terms.provider_kind, _USUAL) if not models.refused(terms.allow, name)]
    known = [models.known_as(terms.models, terms.provider, name) for name in usual]
    return [name for name in known if name]


class Ears:
    """Of one session. `always`: the server transcribes, and does not say so; it is asked to all the same, once. `beta`:
    it knows the beta's names alone."""

    def __init__(self, candidates: Sequence[str], *, always: bool = False, beta: bool = False) -> None:
        self._beta = beta
        self.on = always
        """Does the server transcribe, by its own word?"""
        self.wished = always
        """Would it, had the client its way?"""
        self._always = always
        self._candidates = list(candidates)
        self._setting: Event = {}
        """What the server said last that it transcribes with."""
        self._kind: Event = {} if always else {"type": "realtime"}
        self._tries = 1 if always else _TRIES

    # -- client → upstream -------------------------------------------------------------------------------------

    def update(self, event: Event) -> tuple[Event, bool | None]:
        """The client's `session.update` as it goes on; and whether the server is to transcribe, if the client has its
        way (None: it does not say). Raises Misnamed."""
        session, wish = event.get("session"), None
        for path in _PATHS:
            said, value = _at(session, path)
            if not said or not isinstance(session, dict):
                continue
            wish = isinstance(value, dict)
            if not wish and (setting := self._wanted()):
                session = _with(session, path, setting)
        return event if session is event.get("session") else {**event, "session": session}, wish

    # -- upstream → client -------------------------------------------------------------------------------------

    def created(self, session: object) -> None:
        """The session begins."""
        self.heed(session)
        self.wished = self.on

    def heed(self, session: object, *, took: bool = False) -> None:
        """The server says how the session is; `took`: it has taken what has it transcribe."""
        if kind := openai.text(session, "type"):
            self._kind = {"type": kind}
        found = [value for said, value in (_at(session, path, strict=False) for path in _PATHS) if said]
        if found and not self._always:
            settings = [value for value in found if isinstance(value, dict) and value]
            self.on = bool(settings)
            self._setting = settings[0] if settings else self._setting
        elif took:
            self.on = True

    def shown(self, event: Event) -> Event:
        """A server's event that holds the session, as the client set it up."""
        session = event.get("session")
        if self.wished or not isinstance(session, dict):
            return event
        for path in _PATHS:
            if _at(session, path, strict=False)[1] is not None:
                session = _with(session, path, None)
        return event if session is event.get("session") else {**event, "session": session}

    # -- what the gateway asks for -----------------------------------------------------------------------------

    def ask(self) -> Event | None:
        """The session to ask the server for, so that it transcribes; None where it does, or where nothing helps."""
        if (self.on and not self._always) or self._tries == 0 or not (setting := self._wanted()):
            return None
        self._tries -= 1
        if self._beta:
            return {"input_audio_transcription": setting}
        return {**self._kind, "audio": {"input": {"transcription": setting}}}

    def refused(self) -> None:
        """It does not take that."""
        if self._setting:
            self._setting = {}
        elif self._candidates:
            del self._candidates[0]

    def _wanted(self) -> Event:
        return self._setting or ({"model": self._candidates[0]} if self._candidates else {})


def _at(holder: object, path: Sequence[str], *, strict: bool = True) -> tuple[bool, object]:
    """Is there something at the path, and what? Raises Misnamed where it stands there in another case."""
    for name in path:
        if not isinstance(holder, dict):
            return False, None
        if strict:
            check_case(holder, (name,))
        if name not in holder:
            return False, None
        holder = holder[name]
    return True, holder


def _with(holder: Event, path: Sequence[str], value: object) -> Event:
    """The object with another value at the path, where there is one."""
    name, *rest = path
    inner = holder[name]
    return {**holder, name: _with(inner, rest, value) if rest and isinstance(inner, dict) else value}
