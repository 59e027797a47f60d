"""What may be said: guardrails of Policies, and what each needs to judge a text."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dataplane.table.blocks import Block
from dataplane.table.entry import Frozen, Seconds

PiiKind = Literal["card", "email", "phone", "iban", "ssn", "key"]


class Keywords(Frozen):
    words: tuple[str, ...]
    whole_words: bool = True
    ignore_case: bool = True


class Pattern(Frozen):
    name: str
    pattern: str
    """Of RE2, which takes it: the compiler has asked."""


class Regex(Frozen):
    patterns: tuple[Pattern, ...]


class Pii(Frozen):
    kinds: tuple[PiiKind, ...]


class Webhook(Frozen):
    url: str
    """Of a Service: what it is told that it was asked at."""
    endpoints: str = ""
    """Id of the `EndpointSet` that is dialled, one of its addresses for each connection, instead of the host of
    `url`."""
    secret: str = ""
    """Id of the secret that it is shown as a Bearer; empty: none."""
    networks: tuple[str, ...] = ()
    """Private networks (CIDR) that it may be in."""
    timeout: Seconds = 2.0
    """For all attempts together."""
    retries: int = Field(1, ge=0)


class Moderation(Frozen):
    url: str
    """Base address, without a trailing slash: `https://api.openai.com/v1`."""
    secret: str
    """Id of the secret that it is shown as a Bearer."""
    networks: tuple[str, ...] = ()
    """Private networks (CIDR) that it may be in."""
    model: str
    categories: tuple[str, ...] = ()
    """Empty: whatever is flagged."""
    timeout: Seconds = 2.0


class Guardrail(Block):
    """One guardrail of a Policy. Exactly one of the five that judge is there."""

    name: str
    """Unique among those of one Policy; others on the way may be called alike."""
    input: bool = True
    output: bool = True
    keywords: Keywords | None = None
    regex: Regex | None = None
    pii: Pii | None = None
    webhook: Webhook | None = None
    moderation: Moderation | None = None
    action: Literal["block", "mask", "flag"]
    shadow: bool = False
    """Is what it finds counted and logged, and nothing else?"""
    audio: Literal["cancel", "hold", "pass"] = "cancel"
    """What becomes of spoken output whose transcript is judged."""
    refuse_turn: bool = False
    """In a session: is the turn alone refused, and does the session go on?"""
    open: bool = False
    """Does a text go on that could not be judged? With action `flag`, and in the shadow, it does so anyway."""
    optional: bool = False
    """Does it hold only for connections that ask for it?"""
    reason: str = ""
    """What a client is told; empty: the names of the guardrail and of the rule."""

    @property
    def enforces(self) -> bool:
        """Does what it finds change what is seen?"""
        return not self.shadow and self.action != "flag"
