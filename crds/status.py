"""What Tidegate says about a Backend or a Policy: the `status` of each kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from crds.base import ApiModel, Label, ObjectName
from crds.rules import Unique

Generation = Annotated[int, Field(ge=0, strict=True, json_schema_extra={"format": "int64"})]


class Condition(ApiModel):
    """One thing that is true, false or unknown of the object: Kubernetes' metav1.Condition."""

    type: Annotated[str, StringConstraints(min_length=1, max_length=316)] = Field(
        description="What the condition is about, such as Ready or Accepted."
    )
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    observed_generation: Generation = Field(
        default=0, description="The metadata.generation that was looked at. Older than the object's: not yet current."
    )
    last_transition_time: AwareDatetime = Field(description="When status last changed.")
    reason: Annotated[str, StringConstraints(min_length=1, max_length=1024)] = Field(
        description="Why, as one word for programs."
    )
    message: Annotated[str, StringConstraints(max_length=32768)] = Field(
        description="Why, as a sentence for people, with what to do."
    )


class BackendStatus(ApiModel):
    """What Tidegate says about the Backend."""

    conditions: Annotated[tuple[Condition, ...], Unique("type")] = Field(
        default=(),
        max_length=8,
        description=(
            "Ready is the sum of the others. Accepted: the spec is valid. ResolvedRefs: what it names exists. "
            "Programmed: every ready gateway serves this generation. Authenticated: it is said how callers "
            "authenticate. Healthy: some provider can be asked, as far as gateways know."
        ),
    )


class AncestorRef(ApiModel):
    """The object that a Policy's effect is reported for."""

    group: Annotated[str, StringConstraints(max_length=253)] = Field(description="API group of the object.")
    kind: Annotated[str, StringConstraints(min_length=1, max_length=63)] = Field(description="Kind of the object.")
    namespace: Label | None = Field(default=None, description="Namespace of the object.")
    name: ObjectName = Field(description="Name of the object.")
    section_name: ObjectName | None = Field(default=None, description="Part of the object. Absent: all of it.")


class PolicyAncestorStatus(ApiModel):
    """What the Policy does to one object."""

    ancestor_ref: AncestorRef = Field(description="The object that this is about.")
    controller_name: Annotated[str, StringConstraints(min_length=1, max_length=253)] = Field(
        description="The controller that says so, as a domain and a path."
    )
    conditions: Annotated[tuple[Condition, ...], Unique("type")] = Field(
        min_length=1,
        max_length=8,
        description="Accepted: the Policy holds there, whole or in part. Programmed: every ready gateway enforces it.",
    )


class PolicyStatus(ApiModel):
    """What Tidegate says about the Policy, as GEP-713 lays it out (https://gateway-api.sigs.k8s.io/geps/gep-713/)."""

    ancestors: tuple[PolicyAncestorStatus, ...] = Field(
        default=(), max_length=16, description="What the Policy does to each object that it is attached to."
    )
