"""The account of one session: a record for each turn and each transcription, once, and their sums."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from dataplane.dialects.openai_usage import says_something
from dataplane.metering.usage import NO_TOKENS, Status, Tokens, Usage
from dataplane.realtime.effects import Effect, Metered, Unmetered
from dataplane.realtime.names import Names
from dataplane.realtime.terms import Terms

SEEN: Final = 1024
"""Finished turns that are remembered, so that one said twice is counted once; and as many that are under way."""


class Account:
    """Puts its records among `effects`."""

    def __init__(self, terms: Terms, effects: deque[Effect], names: Names) -> None:
        self.turns = 0
        self.tokens = NO_TOKENS
        """As the provider reported them."""
        self.estimated = NO_TOKENS
        """Of what it reported nothing of."""
        self.model = ""
        """The model that the upstream says it serves."""
        self._terms = terms
        self._effects = effects
        self._names = names
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._ids = 0

    @property
    def bills_time(self) -> bool:
        """Is the session billed by time?"""
        return self._terms.bills_time

    def time(self, used: Tokens) -> Usage:
        """So much of a session that is billed by time was used. Whoever has a clock says it, and records it."""
        self.tokens += used
        return replace(self._usage("", "completed", used, estimated=False), operation="realtime_session_time")

    def own_id(self, prefix: str = "event") -> str:
        """An id of ours, unique everywhere."""
        self._ids += 1
        return f"{prefix}_gw_{self._terms.id}_{self._ids}"

    def knows(self, key: str) -> bool:
        """Was this counted?"""
        return key in self._seen

    def once(self, key: str) -> bool:
        """Is this the first time that it is to be counted?"""
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > SEEN:
            self._seen.popitem(last=False)
        return True

    def reported(self, read: Callable[[object], Tokens | None], usage: object) -> Tokens | None:
        """What a provider says was used; where it says something that nobody can read, that is counted."""
        tokens = read(usage)
        if tokens is None and says_something(usage):
            self._effects.append(Unmetered("usage_unreadable"))
        return tokens

    def turn(self, response_id: str, status: Status, tokens: Tokens | None, *, estimated: bool) -> None:
        """A turn is over."""
        self.turns += 1
        self._record(self._usage(response_id, status, tokens, estimated=estimated))

    def transcription(self, item: str, model: str, tokens: Tokens | None, status: Status, *, estimated: bool) -> None:
        """What the user said was transcribed, or should have been."""
        usage = self._usage(item, status, tokens, estimated=estimated)
        public = self._names.public(model)
        self._record(
            replace(usage, operation="transcription", request_model=model, response_model=model, public_model=public)
        )

    def _usage(self, response_id: str, status: Status, tokens: Tokens | None, *, estimated: bool) -> Usage:
        terms = self._terms
        return Usage(
            id=self.own_id("use"),
            operation="realtime_inference",
            status=status,
            tokens=tokens,
            provider=terms.provider,
            provider_kind=terms.provider_kind,
            request_model=terms.upstream_model,
            response_model=self.model,
            route=terms.route,
            backend=terms.backend,
            caller=terms.caller,
            session=terms.id,
            response_id=response_id,
            estimated=estimated,
            public_model=terms.public_model,
            by_key=terms.by_key,
        )

    def _record(self, usage: Usage) -> None:
        if usage.tokens is not None and usage.estimated:
            self.estimated += usage.tokens
        elif usage.tokens is not None:
            self.tokens += usage.tokens
        self._effects.append(Metered(usage))
