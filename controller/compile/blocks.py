"""What a Policy says, block by block, in the table's terms; what it is attached to is decided later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import crds
from controller.compile import headers
from controller.compile.bounds import session_limits
from controller.compile.guardrails import guardrails
from controller.compile.limits import caller_limits
from crds import FieldError, Invalid
from crds.policy import PolicySpec, Telemetry
from dataplane import table


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks of a valid Policy; authentication needs Secrets, so it stays in `spec`. Guardrails may need them as
    well, for those who judge: see `judges`."""

    spec: PolicySpec
    transformation: table.Transformation | None
    models: table.ModelAllow | None
    guardrails: tuple[table.Guardrail, ...]
    limits: table.CallerLimits | None
    session: table.SessionLimits | None
    telemetry: table.Telemetry | None


def read_policy(document: Mapping[str, object]) -> Blocks:
    """A Policy with templates parsed, headers and regular expressions checked. Raises `Invalid`."""
    policy = cast("crds.Policy", crds.parse(dict(document)))
    spec, name = policy.spec, f"{policy.metadata.namespace}/{policy.metadata.name}"
    subjects = tuple(
        table.Subject(namespace=policy.metadata.namespace, key=subject.key or "", team=subject.team or "")
        for subject in spec.subjects
    )
    return Blocks(
        spec,
        _transformation(spec, name, subjects),
        table.ModelAllow(policy=name, subjects=subjects, patterns=spec.models.allow) if spec.models else None,
        guardrails(spec.guardrails or (), name, subjects),
        caller_limits(spec.limits, name, subjects),
        session_limits(spec.session, name, subjects),
        _telemetry(spec.telemetry, name, subjects),
    )


def _telemetry(written: Telemetry | None, name: str, subjects: tuple[table.Subject, ...]) -> table.Telemetry | None:
    if written is None:
        return None
    return table.Telemetry(
        policy=name,
        subjects=subjects,
        log_events=written.log_events or (),
        caller_key=written.caller_key or False,
    )


def _transformation(spec: PolicySpec, name: str, subjects: tuple[table.Subject, ...]) -> table.Transformation | None:
    if spec.transformation is None:
        return None
    errors: list[FieldError] = []
    request, found = headers.compiled(spec.transformation.request, "spec.transformation.request")
    errors += found
    response, found = headers.compiled(spec.transformation.response, "spec.transformation.response")
    errors += found
    if errors:
        raise Invalid(errors)
    return table.Transformation(policy=name, subjects=subjects, request=request, response=response)
