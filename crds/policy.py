"""Policy: what holds for the requests and sessions of a route, a Backend or one of their parts."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from crds.authentication import Authentication
from crds.base import ApiModel, CallerName, Metadata, ModelPattern, ObjectName, Team
from crds.guardrails import Guardrail
from crds.limits import Limits
from crds.rules import Rule, Unique, at_least_one, exactly_one, matching, refuse
from crds.session import SessionLimits
from crds.transformation import Transformation


class Precedence(StrEnum):
    """Which Policy wins where several speak of the same thing."""

    DEFAULT = "Default"
    OVERRIDE = "Override"


GROUP_OF_KIND = {
    "GatewayClass": "gateway.networking.k8s.io",
    "Gateway": "gateway.networking.k8s.io",
    "HTTPRoute": "gateway.networking.k8s.io",
    "Backend": "tidegate.dev",
}
"""What a Policy can be attached to, from broad to narrow."""


def _group_fits_kind(target: TargetRef) -> bool:
    wanted = GROUP_OF_KIND[target.kind]
    if target.group != wanted:
        raise refuse(f"{target.kind} is of group {wanted}: write that", "group")
    return True


class TargetRef(ApiModel):
    """What a Policy is attached to; but for a GatewayClass, which is in none, in the Policy's own namespace."""

    rules: ClassVar = (
        Rule(
            "self.kind == 'Backend' ? self.group == 'tidegate.dev' : self.group == 'gateway.networking.k8s.io'",
            "for kind Backend write group tidegate.dev, for the others write group gateway.networking.k8s.io",
            _group_fits_kind,
        ),
        Rule(
            "self.kind != 'GatewayClass' || !has(self.sectionName)",
            "a GatewayClass has no parts: leave sectionName out",
            lambda target: target.kind != "GatewayClass" or target.section_name is None,
        ),
    )

    group: Literal["gateway.networking.k8s.io", "tidegate.dev"] = Field(
        description="API group of the target: tidegate.dev for a Backend, gateway.networking.k8s.io for the others."
    )
    kind: Literal["GatewayClass", "Gateway", "HTTPRoute", "Backend"] = Field(
        description=(
            "Kind of the target, from broad to narrow. A GatewayClass is all that the install serves, and only for "
            "Policies in the install's own namespace."
        )
    )
    name: ObjectName = Field(description="Name of the target.")
    section_name: ObjectName | None = Field(
        default=None,
        description=(
            "One part of the target: a listener of a Gateway, a named rule of an HTTPRoute, or a provider of a "
            "Backend. Absent: all."
        ),
    )


class Subject(ApiModel):
    """Callers that a Policy is for. Exactly one of key and team."""

    rules: ClassVar = (exactly_one("key", "team", example="team: support"),)

    key: CallerName | None = Field(
        default=None,
        description="Name of one caller: of its key's entry in the Secret, or what its token's claim says.",
    )
    team: Team | None = Field(default=None, description="Team that the callers' keys belong to.")


class ModelAccess(ApiModel):
    """Which models may be asked for."""

    allow: Annotated[tuple[ModelPattern, ...], Unique()] = Field(
        min_length=1,
        max_length=64,
        description=(
            "Public names of allowed models; one '*' in a name stands for any text. A name is compared with these and "
            "with nothing else, so a model that is new needs no change. It holds for the model of a request or of a "
            "session, for every model that a client names inside a session (above all the one that transcribes: allow "
            "it too), and for what /v1/models lists. Where several Policies say so, a model must be allowed by all of "
            "them. Other models get 403, be there such models or not; inside a session, an error event with the code "
            "model_not_allowed."
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
    """What is recorded beyond the metrics, which are always on, and how finely. At least one; what is not said is off,
    whatever a broader Policy says."""

    rules: ClassVar = (at_least_one("log_events", "caller_key"),)

    log_events: Annotated[tuple[EventType, ...], Field(max_length=64), Unique()] | None = Field(
        default=None,
        description="Types of realtime events to log, such as response.done, or '*' for all. Empty or absent: none.",
    )
    caller_key: bool | None = Field(
        default=None,
        strict=True,
        description=(
            "Whether metrics of turns and sessions say which key was used, by its name, and not only which team. Of "
            "many keys those that have no room are counted together as _OTHER. Default false."
        ),
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
        at_least_one("transformation", "authentication", "models", "guardrails", "limits", "session", "telemetry"),
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
            "Override: narrower Policies may add to this one, never replace it. On the way to a Backend of another "
            "namespace, it replaces nothing of the Policies that this Backend has in its own namespace, unless it is "
            "on a GatewayClass."
        ),
    )
    transformation: Transformation | None = Field(
        default=None, description="Changes to the headers of requests and responses."
    )
    authentication: Authentication | None = Field(default=None, description="How callers prove who they are.")
    models: ModelAccess | None = Field(default=None, description="Which models may be asked for.")
    # An empty list could mean that those of others do not hold.
    guardrails: Annotated[tuple[Guardrail, ...], Field(min_length=1, max_length=16), Unique("name")] | None = Field(
        default=None,
        description=(
            "What may be said, in requests, answers and realtime sessions. Where several Policies say so, all of it "
            "holds. Paths of type Passthrough are relayed unread, so that nothing of it holds there."
        ),
    )
    limits: Limits | None = Field(
        default=None,
        description=(
            "How much callers may take. Where several Policies say so, all of it holds. In realtime sessions under "
            "limits of requests, tokens or spend, a turn that the user's voice begins starts one round trip to the "
            "provider later, since it is asked about first."
        ),
    )
    session: SessionLimits | None = Field(
        default=None,
        description=(
            "What one realtime session may take, and who may hold one; a WebSocket of a Responses path is one, too. "
            "WebSockets on paths of type Passthrough are relayed unread: for them origins and onRevoke hold, and "
            "nothing else of this block does."
        ),
    )
    telemetry: Telemetry | None = Field(
        default=None, description="What is recorded beyond the metrics, which are always on."
    )


class Policy(ApiModel):
    """A Policy says what holds for the requests and sessions of Gateways, HTTPRoutes, Backends or parts of them."""

    api_version: Literal["tidegate.dev/v1alpha1"] = "tidegate.dev/v1alpha1"
    kind: Literal["Policy"] = "Policy"
    metadata: Metadata
    spec: PolicySpec
