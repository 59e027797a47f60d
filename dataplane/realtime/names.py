"""The models that are named inside one session: which the client may name, and what either side calls them. Pure.

A session has a model of its own, which never changes. Beside it the client names the model that transcribes what the
user says; in a session that was opened to transcribe and nothing else, that is the only one. Such a name is a public
name like any other: Policies speak of it, and the Backend may say what it stands for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from dataplane import models
from dataplane.dialects import openai
from dataplane.realtime.events import Event
from dataplane.realtime.terms import Terms

HOLDERS: Final = ("session", "response")
"""Fields of an event that describe a session, or one response of it."""
_TRANSCRIPTION: Final = (("audio", "input", "transcription"), ("input_audio_transcription",))
"""Where those say what transcribes, in GA and in beta. Some beta clients leave out the `session` around it."""
_UNNAMED: Final = "(unnamed)"
_GIVEN: Final = 64
"""Names that are remembered."""


class Misnamed(Exception):
    """The client's event does not go on. `code`, `message` and `param` are those of the error event."""

    def __init__(self, message: str, param: str, code: str = "model_not_allowed") -> None:
        super().__init__(message)
        self.message, self.param, self.code = message, param, code


def check_case(holder: Iterable[str], fields: Collection[str]) -> None:
    """Raises Misnamed where one of these fields stands there in another case: some JSON readers (Go's) ignore case, and
    would take `Model` for `model`."""
    for key in holder:
        if key not in fields and (field := key.casefold()) in fields:
            raise Misnamed(f"Write the field {field!r} in lower case.", "", "invalid_event")


class Names:
    """Of one session. Where no Policy limits the caller and the Backend declares no models, only the session's own
    model is looked at."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._others = bool(terms.allow or terms.models)
        """Are the names of other models judged, or changed?"""
        self._given: dict[str, str] = {}
        """What the client calls the models that it named, by the upstream's names, where these differ."""
        self._default: str | None = None
        """What transcribed when the session began; None: the upstream has not said how it is."""
        self._transcribes = ""
        """What does now."""

    # -- client → upstream -------------------------------------------------------------------------------------

    def upstream(self, event: Event) -> Event:
        """The client's event with the names that the upstream knows. Raises Misnamed."""
        for holder in HOLDERS:
            inner = event.get(holder)
            if isinstance(inner, dict):
                named = self._own(inner, holder)
                named = self._with_others(named, holder) if self._others else named
                event = event if named is inner else {**event, holder: named}
        return self._with_others(event, "") if self._others else event

    def _own(self, holder: Event, where: str) -> Event:
        """The object with the upstream's name of the session's own model."""
        if "model" not in holder:
            return holder
        name, own, param = holder["model"], self._terms.upstream_model, f"{where}.model"
        if not own:
            upstream = self._other(name, param) if self._others else name
        elif name in (self._terms.public_model, own):
            upstream = own
        elif self._terms.any_model:
            self._check(name, param)
            upstream = own
        else:
            raise Misnamed(
                f"This session's model is {self._terms.public_model!r}. Open another session for another model.", param
            )
        return holder if upstream == name else {**holder, "model": upstream}

    def _with_others(self, holder: Event, where: str) -> Event:
        """The object with the upstream's name of the model that transcribes, in both spellings."""
        for path in _TRANSCRIPTION:
            holder = self._at(holder, path, where)
        return holder

    def _at(self, holder: Event, path: Sequence[str], where: str) -> Event:
        name, *rest = path
        self._check_case(holder, name)
        inner, where = holder.get(name), f"{where}.{name}".lstrip(".")
        if inner is None:
            return holder
        if not rest:
            new = self._transcription(inner, where)
        else:
            new = self._at(inner, rest, where) if isinstance(inner, dict) else inner
        return holder if new is inner else {**holder, name: new}

    def _transcription(self, value: object, where: str) -> object:
        """What transcribes: an object with a model. One without leaves the choice to the upstream."""
        if isinstance(value, dict):
            self._check_case(value, "model")
        name = value.get("model") if isinstance(value, dict) else None
        upstream = self._other(name, f"{where}.model")
        if not isinstance(value, dict) or upstream == name:
            return value
        return {**value, "model": upstream}

    def _other(self, name: object, param: str) -> object:
        """What the upstream calls another model than the session's own. Raises Misnamed where it may not be named."""
        terms = self._terms
        own = bool(name) and name in (terms.public_model, terms.upstream_model)
        if not own:
            self._check(name, param)
        if not isinstance(name, str) or not name:
            return name
        upstream = terms.upstream_model if own else models.known_as(terms.models, terms.provider, name)
        if upstream is None and terms.allow:
            known = name[: openai.MAX_ID]
            raise Misnamed(
                f"The Backend serves the model {known!r} by another provider than this session's. Name another one.",
                param,
            )
        return self._noted(name, upstream or name)

    def _noted(self, name: str, upstream: str) -> str:
        self._given.pop(upstream, None)
        if upstream != name and len(name) <= openai.MAX_ID:
            if len(self._given) >= _GIVEN:
                self._given.clear()
            self._given[upstream] = name
        return upstream

    def _check(self, name: object, param: str) -> None:
        if not self._terms.allow:
            return
        if not isinstance(name, str) or not name:
            why = (
                f"A Policy limits which models this caller may use: name one. {models.alternatives(self._terms.allow)}"
            )
            raise Misnamed(why.rstrip(), param)
        if why := models.refused(self._terms.allow, name):
            raise Misnamed(why, param)

    def _check_case(self, holder: Event, name: str) -> None:
        if self._terms.allow:
            check_case(holder, (name,))

    # -- upstream → client -------------------------------------------------------------------------------------

    def client(self, session: Event) -> Event:
        """What the upstream says of the session, with the names that the client knows."""
        terms = self._terms
        if terms.public_model != terms.upstream_model == session.get("model"):
            session = {**session, "model": terms.public_model}
        for path in _TRANSCRIPTION if self._given else ():
            session = self._shown(session, path)
        return session

    def _shown(self, holder: Event, path: Sequence[str]) -> Event:
        name, *rest = path or ("model",)
        inner = holder.get(name)
        if path:
            new = self._shown(inner, rest) if isinstance(inner, dict) else inner
        else:
            new = self._given.get(inner, inner) if isinstance(inner, str) else inner
        return holder if new is inner else {**holder, name: new}

    def public(self, upstream: str) -> str:
        """What the client calls a model that it named."""
        return self._given.get(upstream, upstream)

    # -- what the upstream chooses -----------------------------------------------------------------------------

    @property
    def watches(self) -> bool:
        """Is the upstream held to what the caller may use? Where the client named no model, it chooses one by itself:
        to transcribe with, or even, where it knows no `intent`, to answer with."""
        return bool(self._terms.allow) and not self._terms.upstream_model

    def told(self, session: object) -> None:
        """The upstream says how the session is."""
        self._transcribes = openai.transcription_model(session)
        if self._default is None:
            self._default = self._transcribes

    def unasked_transcription(self) -> str:
        """Why the upstream may not transcribe as it does; empty if it may. What the client named was judged then, and
        the upstream may call it something else."""
        name = self._transcribes
        return self._unasked(name) if name and name == self._default else ""

    def unasked_answer(self, model: str) -> str:
        """Why it may not answer with this model (empty: it has not said which)."""
        return self._unasked(model or _UNNAMED)

    def _unasked(self, model: str) -> str:
        why = models.refused(self._terms.allow, self.public(model)) if self.watches else ""
        return f"The provider chose a model by itself. {why} Name one before the first audio." if why else ""
