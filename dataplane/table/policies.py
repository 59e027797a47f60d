"""What Policies say of those who ask for a Backend: how they are told apart, and what holds for them."""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property
from typing import Literal

from pydantic import Field

from dataplane.table.blocks import Block
from dataplane.table.entry import Frozen, Seconds
from dataplane.table.guardrails import Guardrail


class Variable(Frozen):
    """`${…}` in a header value: where the text comes from when a request is served."""

    source: Literal[
        "request.header",
        "request.query",
        "request.path",
        "model",
        "route",
        "backend",
        "provider",
        "caller.key",
        "caller.team",
    ]
    name: str = ""
    """Header (lower case) or query parameter; empty for the other sources."""


Template = tuple[str | Variable, ...]
"""A header value: literal parts and variables, in order."""


class HeaderValue(Frozen):
    name: str
    """Lower case."""
    value: Template


class HeaderOps(Frozen):
    """Changes of one message's header fields, applied in this order: remove, set, add."""

    remove: tuple[str, ...] = ()
    set: tuple[HeaderValue, ...] = ()
    add: tuple[HeaderValue, ...] = ()


class Transformation(Block):
    request: HeaderOps = HeaderOps()
    response: HeaderOps = HeaderOps()


class ModelAllow(Block):
    patterns: tuple[str, ...]
    """Public model names, each with at most one `*`."""


class Telemetry(Block):
    policy: str = ""
    """Empty: no Policy says anything."""
    log_events: tuple[str, ...] = ()
    """Event types, or `*`."""
    caller_key: bool = False
    """Do metrics name the caller's key?"""


class AuthenticationMode(StrEnum):
    REQUIRED = "Required"
    OPTIONAL = "Optional"
    NONE = "None"


class Location(Frozen):
    """Where the credential is looked for, and nowhere else."""

    kind: Literal["header", "query"]
    name: str
    """A header's in lower case."""


class Authentication(Frozen):
    policy: str
    """Empty where no Policy had to say it (nothing is injected, or a standalone gateway on loopback)."""
    mode: AuthenticationMode
    callers: tuple[str, ...] = ()
    """Ids of `CallerSet`s."""
    location: Location | None = None
    """None: wherever real clients put one."""


class OnRevoke(StrEnum):
    """What becomes of a live session whose caller would not be let in any more."""

    KEEP = "KeepSession"
    END = "EndSession"


class SessionLimits(Block):
    """What one realtime session may take, and who may hold one. The defaults are above what real providers allow, so
    that a session ends by theirs: OpenAI after 60 minutes, xAI after 120 (docs/sessions.md)."""

    policy: str = ""
    """Empty: no Policy says anything, and these are the defaults."""
    idle: Seconds = 1800.0
    """Seconds in which no message passes in either direction."""
    duration: Seconds = 10_800.0
    """Seconds from its beginning to its end."""
    max_message: int = Field(24 * 1024 * 1024, gt=0)
    """Bytes of one message. OpenAI takes 15 MiB of base64 in one append; images are data URIs."""
    max_fragments: int = Field(65_536, gt=0)
    """Frames that one message may come in."""
    origins: tuple[str, ...] = ()
    """Of the pages that may open one: `scheme://host`, with the port where it is not the scheme's own; the host may
    begin with `*.`. Empty: any page."""
    on_revoke: OnRevoke = OnRevoke.KEEP


Per = Literal["Second", "Minute", "Hour", "Day", "Month"]
"""Windows by the UTC calendar."""


class Limit(Frozen):
    """One thing that is counted, and how much of it there may be."""

    kind: Literal["requests", "tokens", "spend", "sessions"]
    max: int = Field(gt=0)
    """In one window, or at a time. Of `spend` in nano-USD, which are exact."""
    per: Per | None = None
    """None: at a time (`sessions`)."""
    count: Literal["Total", "Input", "Output"] = "Total"
    """Which `tokens`."""

    @cached_property
    def name(self) -> str:
        """What is counted, among all that one Policy counts: it does not hold `max`, so that no edit begins anew."""
        return "/".join(filter(None, (self.kind, self.per, self.count if self.count != "Total" else "")))


class CallerLimits(Block):
    """How much callers may take: the block `limits` of one Policy."""

    fleet: bool = False
    """Do all processes count together?"""
    counted_by: Literal["Caller", "Team", "Backend", "Policy"] = "Caller"
    limits: tuple[Limit, ...]
    reserve: int = Field(gt=0)
    """Tokens that are set aside for a turn."""
    refuse_unpriced: bool = True
    end_session: bool = False
    """Does a session end when a turn is refused?"""
    refuse_without_store: bool = False
    """Is everything refused while the fleet's counters cannot be asked?"""


class PolicySet(Frozen):
    """What holds for one Backend on one route."""

    authentication: Authentication | None = None
    """None: nobody said how callers authenticate although a credential is injected; every request is
    answered 401 with the YAML to apply."""
    transformations: tuple[Transformation, ...] = ()
    """From broad to narrow; all that apply to the caller are applied, in order."""
    models: tuple[ModelAllow, ...] = ()
    """All that apply to the caller must allow the name."""
    guardrails: tuple[Guardrail, ...] = ()
    """From broad to narrow; all that apply to the caller hold, of the optional ones those that were asked for."""
    limits: tuple[CallerLimits, ...] = ()
    """All that apply to the caller hold."""
    telemetry: tuple[Telemetry, ...] = ()
    """The first that applies to the caller holds."""
    session: tuple[SessionLimits, ...] = ()
    """The first that applies to the caller holds; the defaults where none does."""


def authentication_yaml(backend: str) -> str:
    """What to apply so that callers of a Backend (`namespace/name`) are let in, for the 401 and for its condition."""
    namespace, _, name = backend.rpartition("/")
    return f"""\
apiVersion: v1
kind: Secret
metadata: {{name: {name}-keys, namespace: {namespace}}}
stringData: {{my-app: CHOOSE-A-LONG-RANDOM-KEY}}
---
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {{name: {name}-callers, namespace: {namespace}}}
spec:
  targetRefs: [{{group: tidegate.dev, kind: Backend, name: {name}}}]
  authentication: {{mode: Required, keys: [{{secretRef: {{name: {name}-keys}}}}]}}
"""
