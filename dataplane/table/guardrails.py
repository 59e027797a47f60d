"""What Policies say of what may be said: guardrails, each of one detector."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dataplane.table.entry import Frozen, Seconds
from dataplane.table.policies import Block

PiiKind = Literal["card", "email", "phone", "iban", "ssn", "key"]


class Keywords(Frozen):
    words: tuple[str, ...]
    whole_words: bool = True
    ignore_case: bool = True


class Pattern(Frozen):
    name: str
    pattern: str
    """In RE2's syntax."""


class Regex(Frozen):
    patterns: tuple[Pattern, ...]


class Pii(Frozen):
    kinds: tuple[PiiKind, ...]


class Webhook(Frozen):
    url: str
    endpoints: str = ""
    """Id of the `EndpointSet` where it is a Service; empty: the host of `url`."""
    secret: str = ""
    """Id of the secret that is sent as its `Authorization`; empty: none."""
    timeout: Seconds = 2.0
    retries: int = Field(1, ge=0)


class Moderation(Frozen):
    url: str
    secret: str
    model: str
    categories: tuple[str, ...] = ()
    """Empty: whatever is flagged."""
    timeout: Seconds = 2.0


class Guardrail(Block):
    """Exactly one of `keywords`, `regex`, `pii`, `webhook` and `moderation` is there."""

    name: str
    input: bool
    output: bool
    keywords: Keywords | None = None
    regex: Regex | None = None
    pii: Pii | None = None
    webhook: Webhook | None = None
    moderation: Moderation | None = None
    action: Literal["block", "mask", "flag"]
    shadow: bool = False
    """Is what it finds only counted and logged?"""
    audio: Literal["cancel", "hold", "pass"] = "cancel"
    """What becomes of spoken output whose transcript is judged."""
    refuse_turn: bool = False
    """Does a session lose the turn that is blocked, and go on?"""
    open: bool = False
    """Does text pass that the webhook or the moderation did not judge?"""
    optional: bool = False
    """Does it hold only for connections that ask for it?"""
    reason: str = ""
    """What a client is told; empty: the guardrail's name and rule."""
