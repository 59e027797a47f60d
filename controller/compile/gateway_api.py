"""The part of Gateway API that Tidegate reads: HTTPRoute for hostnames, matches and Backends; ReferenceGrant.

Source: https://gateway-api.sigs.k8s.io/reference/spec/. An API server has checked these objects before a
controller sees them; files have nobody who did, so unknown fields and bad values are refused here. Each rule is
read by itself, since a bad one costs only itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, Field, StringConstraints, ValidationError, model_validator

from controller.compile.paths import comparable
from crds import FieldError, Invalid
from crds.base import ApiModel, HeaderName, Hostname, Label, Metadata, ObjectName
from crds.errors import explain
from crds.rules import refuse
from dataplane.table import matcher

ModelT = TypeVar("ModelT", bound=BaseModel)
Kind = tuple[str, str]
"""API group and kind of an object."""

_NAME = re.compile(r"[a-z0-9][-.a-z0-9]{0,252}")
_METHODS = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]


def _regular(pattern: str) -> None:
    try:
        matcher(pattern)
    except ValueError as error:
        raise refuse(f"is no regular expression that RE2 takes: {error}", "value") from None


def _path(value: str) -> None:
    try:
        comparable(value)
    except ValueError as error:
        raise refuse(str(error), "value") from None


class PathMatch(ApiModel):
    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    value: Annotated[str, StringConstraints(min_length=1, max_length=1024)] = "/"

    @model_validator(mode="after")
    def _fits_its_type(self) -> PathMatch:
        if self.type == "RegularExpression":
            _regular(self.value)
        else:
            _path(self.value)
        return self


class ValueMatch(ApiModel):
    """A header or a query parameter with a value."""

    type: Literal["Exact", "RegularExpression"] = "Exact"
    name: HeaderName
    value: Annotated[str, StringConstraints(min_length=1, max_length=4096)]

    @model_validator(mode="after")
    def _fits_its_type(self) -> ValueMatch:
        if self.type == "RegularExpression":
            _regular(self.value)
        return self


class RouteMatch(ApiModel):
    path: PathMatch = PathMatch()
    headers: tuple[ValueMatch, ...] = Field(default=(), max_length=16)
    query_params: tuple[ValueMatch, ...] = Field(default=(), max_length=16)
    method: _METHODS | None = None


class BackendRef(ApiModel):
    group: str = ""
    kind: str = "Service"
    name: ObjectName
    namespace: Label | None = None
    port: int | None = None
    weight: int = Field(default=1, ge=0, le=1_000_000, strict=True)
    filters: tuple[dict[str, object], ...] = ()


class RouteRule(ApiModel):
    name: ObjectName | None = None
    matches: tuple[RouteMatch, ...] = Field(default=(RouteMatch(),), max_length=64)
    filters: tuple[dict[str, object], ...] = ()
    backend_refs: tuple[BackendRef, ...] = Field(default=(), max_length=16)
    timeouts: object = None
    retry: object = None
    session_persistence: object = None


class RouteSpec(ApiModel):
    parent_refs: object = None
    use_default_gateways: object = None
    hostnames: tuple[Hostname, ...] = Field(default=(), max_length=16)
    written_rules: tuple[dict[str, object], ...] = Field(default=({},), min_length=1, alias="rules")


class RouteDocument(ApiModel):
    api_version: str
    kind: str
    metadata: Metadata
    spec: RouteSpec = RouteSpec()
    status: object = None


class GrantFrom(ApiModel):
    group: str
    kind: str
    namespace: Label


class GrantTo(ApiModel):
    group: str
    kind: str
    name: ObjectName | None = None


class GrantSpec(ApiModel):
    sources: tuple[GrantFrom, ...] = Field(alias="from")
    targets: tuple[GrantTo, ...] = Field(alias="to")


class ReferenceGrant(ApiModel):
    """Lets objects of other namespaces refer to objects of this one."""

    api_version: str
    kind: str
    metadata: Metadata
    spec: GrantSpec

    def permits(self, source: Kind, namespace: str, target: Kind, name: str) -> bool:
        """Whether objects of the kind `source` in `namespace` may refer to this one of the grant's own namespace."""
        return any(
            (each.group, each.kind, each.namespace) == (*source, namespace) for each in self.spec.sources
        ) and any((each.group, each.kind) == target and each.name in (None, name) for each in self.spec.targets)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of an HTTPRoute: what it says, or why it cannot be served where it matches."""

    name: str
    """Its own name, or its index."""
    path: str
    """Of the field: `spec.rules[0]`."""
    named: bool
    """Whether a Policy can target it."""
    matches: tuple[RouteMatch, ...]
    value: RouteRule | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class HTTPRoute:
    hostnames: tuple[str, ...]
    rules: tuple[Rule, ...]


def read_route(document: Mapping[str, object]) -> HTTPRoute:
    """An HTTPRoute. Raises `Invalid` where it is not even known which hosts it is about."""
    spec = _parse(RouteDocument, document).spec
    rules: list[Rule] = []
    for index, raw in enumerate(spec.written_rules):
        rule = _read_rule(raw, index)
        if any(rule.name == other.name for other in rules):
            error = f'{rule.path}.name: two rules are called "{rule.name}"; give each a name of its own'
            rule = Rule(f"rules[{index}]", rule.path, False, rule.matches, error=error)
        rules.append(rule)
    return HTTPRoute(spec.hostnames, tuple(rules))


def read_grant(document: Mapping[str, object]) -> ReferenceGrant:
    """A ReferenceGrant. Raises `Invalid`."""
    return _parse(ReferenceGrant, document)


def _read_rule(raw: Mapping[str, object], index: int) -> Rule:
    path = f"spec.rules[{index}]"
    try:
        rule = _parse(RouteRule, raw, path)
    except Invalid as invalid:
        name = raw.get("name")
        named = isinstance(name, str) and _NAME.fullmatch(name) is not None
        return Rule(str(name) if named else str(index), path, named, _salvaged(raw), error=str(invalid))
    return Rule(rule.name or str(index), path, rule.name is not None, rule.matches, rule)


def _salvaged(raw: Mapping[str, object]) -> tuple[RouteMatch, ...]:
    """The matches of a broken rule that can be read: there it answers 500 rather than leave requests to others."""
    written = raw.get("matches", [{}])
    found: list[RouteMatch] = []
    for match in written if isinstance(written, list) else ():
        try:
            found.append(RouteMatch.model_validate(match, by_alias=True, by_name=False))
        except ValidationError:
            continue
    return tuple(found)


def _parse(model: type[ModelT], value: Mapping[str, object], path: str = "") -> ModelT:
    try:
        return model.model_validate(dict(value), by_alias=True, by_name=False)
    except ValidationError as error:
        found = [explain(model, detail) for detail in error.errors(include_url=False)]
    raise Invalid([FieldError(f"{path}.{each.path}" if path else each.path, each.message) for each in found])
