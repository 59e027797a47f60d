"""Policy: what holds for the requests and sessions of a route, a Backend or one of their parts."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from crds.base import (
    ApiModel,
    HeaderName,
    HeaderText,
    Metadata,
    ModelPattern,
    ObjectName,
    SecretKey,
    Team,
)
from crds.quantities import Duration, Size, lasting, sized
from crds.rules import Rule, Unique, at_least_one, exactly_one, matching, refuse


class Precedence(StrEnum):
    """Which Policy wins where several speak of the same thing."""

    DEFAULT = "Default"
    OVERRIDE = "Override"


class AuthenticationMode(StrEnum):
    """Whether callers must show a key."""

    REQUIRED = "Required"
    OPTIONAL = "Optional"
    NONE = "None"


GROUP_OF_KIND = {"HTTPRoute": "gateway.networking.k8s.io", "Backend": "tidegate.dev"}


def _group_fits_kind(target: TargetRef) -> bool:
    wanted = GROUP_OF_KIND[target.kind]
    if target.group != wanted:
        raise refuse(f"{target.kind} is of group {wanted}: write that", "group")
    return True


class TargetRef(ApiModel):
    """What a Policy is attached to, in the Policy's own namespace."""

    rules: ClassVar = (
        Rule(
            "self.kind == 'HTTPRoute' ? self.group == 'gateway.networking.k8s.io' : self.group == 'tidegate.dev'",
            "for kind HTTPRoute write group gateway.networking.k8s.io, for kind Backend write group tidegate.dev",
            _group_fits_kind,
        ),
    )

    group: Literal["gateway.networking.k8s.io", "tidegate.dev"] = Field(
        description="API group of the target: gateway.networking.k8s.io for an HTTPRoute, tidegate.dev for a Backend."
    )
    kind: Literal["HTTPRoute", "Backend"] = Field(description="Kind of the target.")
    name: ObjectName = Field(description="Name of the target.")
    section_name: ObjectName | None = Field(
        default=None,
        description="One part of the target: a named rule of an HTTPRoute, or a provider of a Backend. Absent: all.",
    )


class Subject(ApiModel):
    """Callers that a Policy is for. Exactly one of key and team."""

    rules: ClassVar = (exactly_one("key", "team", example="team: support"),)

    key: SecretKey | None = Field(
        default=None, description="Name of one caller's key: the name of its entry in the Secret."
    )
    team: Team | None = Field(default=None, description="Team that the callers' keys belong to.")


class HeaderValue(ApiModel):
    """A header and its value."""

    name: HeaderName = Field(description="Name of the header. Case does not matter.")
    value: HeaderText = Field(
        repr=False,  # people write credentials here
        description='Value of the header, on one line. It may hold variables, such as "${caller.team}".',
    )


def _set_once(headers: HeaderOps) -> bool:
    seen: set[str] = set()
    for index, header in enumerate(headers.set):
        if header.name.lower() in seen:
            raise refuse(f'"{header.name}" is set twice; keep one, or use add for a second value', "set", index)
        seen.add(header.name.lower())
    return True


def _removed_only(headers: HeaderOps) -> bool:
    written = {header.name.lower() for header in (*headers.set, *headers.add)}
    for index, name in enumerate(headers.remove):
        if name.lower() in written:
            raise refuse(f'"{name}" is also in set or add; set alone replaces a header', "remove", index)
    return True


class HeaderOps(ApiModel):
    """Changes to headers. A header that is removed is neither set nor added."""

    rules: ClassVar = (
        Rule(
            "!has(self.set) || self.set.all(h, self.set.exists_one(o, o.name.lowerAscii() == h.name.lowerAscii()))",
            "a header is set twice; keep one, or use add for a second value (case does not matter)",
            _set_once,
        ),
        Rule(
            "!has(self.remove) || self.remove.all(r, "
            "(!has(self.set) || !self.set.exists(h, h.name.lowerAscii() == r.lowerAscii())) && "
            "(!has(self.add) || !self.add.exists(h, h.name.lowerAscii() == r.lowerAscii())))",
            "a header in remove is also in set or add; set alone replaces a header (case does not matter)",
            _removed_only,
        ),
    )

    set: tuple[HeaderValue, ...] = Field(
        default=(), max_length=32, description="Headers to set. A value that the message already has is replaced."
    )
    add: tuple[HeaderValue, ...] = Field(
        default=(), max_length=32, description="Headers to add. Values that the message already has are kept."
    )
    remove: Annotated[tuple[HeaderName, ...], Unique()] = Field(
        default=(), max_length=32, description="Names of headers to remove."
    )


class Transformation(ApiModel):
    """Changes to the headers of requests and responses. At least one of the two."""

    rules: ClassVar = (at_least_one("request", "response"),)

    request: HeaderOps | None = Field(
        default=None, description="Changes to the headers of requests, before they go on to the provider."
    )
    response: HeaderOps | None = Field(
        default=None, description="Changes to the headers of responses, before they go back to the client."
    )


class SecretRef(ApiModel):
    """A Secret in the Policy's own namespace."""

    name: ObjectName = Field(description="Name of the Secret.")


class KeySource(ApiModel):
    """Keys that callers may use."""

    secret_ref: SecretRef = Field(
        description="Secret with the keys. The name of an entry is the caller's name, its value is the key."
    )
    team: Team | None = Field(default=None, description="Team that these callers belong to.")


class Authentication(ApiModel):
    """How callers prove who they are."""

    rules: ClassVar = (
        Rule(
            "self.mode == 'None' || (has(self.keys) && size(self.keys) > 0)",
            "modes Required and Optional need keys: add keys: [{secretRef: {name: NAME}}], or write mode: None",
            lambda auth: auth.mode is AuthenticationMode.NONE or bool(auth.keys),
        ),
        Rule(
            "self.mode != 'None' || !has(self.keys) || size(self.keys) == 0",
            "mode None lets everybody in and takes no keys: remove keys, or write mode: Required",
            lambda auth: auth.mode is not AuthenticationMode.NONE or not auth.keys,
        ),
    )

    mode: AuthenticationMode = Field(
        default=AuthenticationMode.REQUIRED,
        description=(
            "Required: callers without a valid key get 401. Optional: callers without a key are let in as nobody, "
            "a wrong key gets 401. None: everybody is let in."
        ),
    )
    keys: tuple[KeySource, ...] = Field(
        default=(),
        max_length=32,
        description="Where valid keys are. Needed with the modes Required and Optional, not allowed with None.",
    )


class ModelAccess(ApiModel):
    """Which models may be asked for."""

    allow: Annotated[tuple[ModelPattern, ...], Unique()] = Field(
        min_length=1,
        max_length=64,
        description=(
            "Names of allowed models; one '*' in a name stands for any text. Where several Policies say so, a model "
            "must be allowed by all of them. Other models get 403."
        ),
    )


class SessionLimits(ApiModel):
    """What one realtime session may take. At least one; what is not said has its default, whatever a broader Policy
    says: the narrowest Policy with this block wins whole."""

    rules: ClassVar = (at_least_one("idle", "duration", "max_message", "max_fragments"),)

    idle: Annotated[Duration, lasting("1s", "24h", such_as="30m")] | None = Field(
        default=None,
        description=(
            "How long a session may go without a message in either direction, Pings aside. Then it ends with "
            "idle_timeout and close code 1001. From 1s to 24h; default 30m."
        ),
    )
    duration: Annotated[Duration, lasting("1s", "24h", such_as="1h")] | None = Field(
        default=None,
        description=(
            "How long a session may last. Then it ends with session_expired and close code 1001, be it in mid-turn. "
            "Providers have limits of their own: OpenAI ends a session after an hour, xAI after two. "
            "From 1s to 24h; default 3h."
        ),
    )
    max_message: Annotated[Size, sized("1Ki", "64Mi", such_as="24Mi")] | None = Field(
        default=None,
        description=(
            "Size of one message in either direction, in bytes or with a unit (k, M, Ki, Mi). A larger one of the "
            "client's ends the session with message_too_big and close code 1009, one of the provider's with "
            "upstream_protocol_error and 1011. From 1Ki to 64Mi; default 24Mi."
        ),
    )
    max_fragments: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        strict=True,
        json_schema_extra={"format": "int32"},
        description=(
            "WebSocket frames that one message may come in, in either direction. More end the session, as a message "
            "that is too large does: the client's with too_many_fragments. From 1 to 1000000; default 65536."
        ),
    )


EventType = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128),
    matching(
        r"\*|[a-z0-9_]+(\.[a-z0-9_]+)*", "write an event type, such as response.done, or '*' alone for every event"
    ),
]


class Telemetry(ApiModel):
    """What is recorded beyond the metrics, which are always on."""

    log_events: Annotated[tuple[EventType, ...], Unique()] = Field(
        max_length=64,
        description="Types of realtime events to log, such as response.done, or '*' for all. Empty: none.",
    )


def _targets_differ(spec: PolicySpec) -> bool:
    seen: set[tuple[str, str, str | None]] = set()
    for index, target in enumerate(spec.target_refs):
        identity = (target.kind, target.name, target.section_name)
        if identity in seen:
            raise refuse("the same target is listed twice: remove one", "targetRefs", index)
        seen.add(identity)
    return True


class PolicySpec(ApiModel):
    """What the Policy says, and of what."""

    rules: ClassVar = (
        at_least_one("transformation", "authentication", "models", "session", "telemetry"),
        Rule(
            "!has(self.authentication) || !has(self.subjects)",
            "authentication decides who the callers are, so it takes no subjects: "
            "move it to a Policy of its own, or remove subjects",
            lambda spec: spec.authentication is None or not spec.subjects,
        ),
        Rule(
            "self.targetRefs.all(a, self.targetRefs.exists_one(b, a.kind == b.kind && a.name == b.name && "
            "(has(a.sectionName) ? a.sectionName : '') == (has(b.sectionName) ? b.sectionName : '')))",
            "the same target is listed twice: remove one",
            _targets_differ,
        ),
    )

    target_refs: tuple[TargetRef, ...] = Field(
        min_length=1, max_length=16, description="What the Policy is attached to, in its own namespace."
    )
    subjects: tuple[Subject, ...] = Field(
        default=(),
        min_length=1,  # an empty list could mean everyone or nobody
        max_length=64,
        description="Callers that the Policy is for. Absent: everyone. Not together with authentication.",
    )
    precedence: Precedence = Field(
        default=Precedence.DEFAULT,
        description=(
            "Default: a Policy on a narrower target replaces this one's authentication, session and "
            "telemetry. "
            "Override: narrower Policies may add to this one, never replace it."
        ),
    )
    transformation: Transformation | None = Field(
        default=None, description="Changes to the headers of requests and responses."
    )
    authentication: Authentication | None = Field(default=None, description="How callers prove who they are.")
    models: ModelAccess | None = Field(default=None, description="Which models may be asked for.")
    session: SessionLimits | None = Field(
        default=None,
        description=(
            "What one realtime session may take. WebSockets on paths of type Passthrough are relayed unread, and have "
            "no such limits."
        ),
    )
    telemetry: Telemetry | None = Field(
        default=None, description="What is recorded beyond the metrics, which are always on."
    )


class Policy(ApiModel):
    """A Policy says what holds for the requests and sessions of HTTPRoutes, Backends or parts of them."""

    api_version: Literal["tidegate.dev/v1alpha1"] = "tidegate.dev/v1alpha1"
    kind: Literal["Policy"] = "Policy"
    metadata: Metadata
    spec: PolicySpec
