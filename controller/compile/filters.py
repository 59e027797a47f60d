"""Filters of HTTPRoutes: changes of headers, and redirects. What is not served is a fault of its rule, which answers
500 then: a filter that was skipped might have been there for a reason."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, Field, StringConstraints, ValidationError

from controller.compile.gateway_api import Rule
from controller.compile.headers import not_removable, not_settable
from controller.compile.objects import Identity
from crds.base import ApiModel, HeaderName, HeaderText, Hostname
from crds.errors import explain
from dataplane import table

ModelT = TypeVar("ModelT", bound=BaseModel)
_SAFE = re.compile(r"(?:/[!-~]*)?")
_CHANGES = {"RequestHeaderModifier": "requestHeaderModifier", "ResponseHeaderModifier": "responseHeaderModifier"}
_REDIRECT = "RequestRedirect"
_STATUSES = (301, 302, 303, 307, 308)


class Header(ApiModel):
    name: HeaderName
    value: HeaderText = Field(repr=False)


class HeaderModifier(ApiModel):
    set: tuple[Header, ...] = ()
    add: tuple[Header, ...] = ()
    remove: tuple[HeaderName, ...] = ()


class PathModifier(ApiModel):
    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"]
    replace_full_path: Annotated[str, StringConstraints(max_length=1024)] | None = None
    replace_prefix_match: Annotated[str, StringConstraints(max_length=1024)] | None = None


class RequestRedirect(ApiModel):
    scheme: Literal["http", "https"] | None = None
    hostname: Hostname | None = None
    path: PathModifier | None = None
    port: int | None = Field(default=None, ge=1, le=65535, strict=True)
    status_code: int = Field(default=302, strict=True)


@dataclass(frozen=True, slots=True)
class Fault:
    reason: str
    message: str


class _Refused(Exception):
    def __init__(self, message: str, reason: str = "UnsupportedValue") -> None:
        super().__init__(message)
        self.fault = Fault(reason, message)


@dataclass(frozen=True, slots=True)
class Filters:
    """What the filters of a rule do, and what is wrong with them and with those of its backendRefs."""

    changes: tuple[table.Transformation, ...] = ()
    redirect: table.Redirect | None = None
    needs_backends: bool = True
    """Is no redirect written, be it one that cannot be read?"""
    of_refs: tuple[tuple[table.Transformation, ...], ...] = ()
    """Those of each backendRef."""
    faults: tuple[Fault, ...] = ()


def read_filters(rule: Rule, route: Identity) -> Filters:
    if rule.value is None:
        return Filters()
    faults: list[Fault] = []
    redirects: list[table.Redirect] = []
    changes = tuple(_read(rule.value.filters, f"{rule.path}.filters", route, faults, redirects, rule))
    of_refs = tuple(
        tuple(_read(ref.filters, f"{rule.path}.backendRefs[{index}].filters", route, faults))
        for index, ref in enumerate(rule.value.backend_refs)
    )
    if redirects:
        faults += _beside_redirect(rule, len(redirects), changes)
    needs_backends = all(written.get("type") != _REDIRECT for written in rule.value.filters)
    return Filters(changes, redirects[0] if redirects else None, needs_backends, of_refs, tuple(faults))


def _beside_redirect(rule: Rule, count: int, changes: Iterable[table.Transformation]) -> Iterable[Fault]:
    if count > 1:
        yield Fault("IncompatibleFilters", f"{rule.path}.filters: redirects twice; keep one RequestRedirect")
    if rule.value and rule.value.backend_refs:
        message = f"{rule.path}.backendRefs: a rule with a RequestRedirect has none; remove one of the two"
        yield Fault("IncompatibleFilters", message)
    if any(change.response != table.HeaderOps() for change in changes):
        message = f"{rule.path}.filters: a redirect's own headers cannot be changed; remove ResponseHeaderModifier"
        yield Fault("IncompatibleFilters", message)


def _read(
    filters: Iterable[Mapping[str, object]],
    path: str,
    route: Identity,
    faults: list[Fault],
    redirects: list[table.Redirect] | None = None,
    rule: Rule | None = None,
) -> Iterable[table.Transformation]:
    for index, written in enumerate(filters):
        here, kind = f"{path}[{index}]", written.get("type", "no type")
        try:
            if isinstance(kind, str) and kind in _CHANGES:
                yield _transformation(written, kind, here, route)
            elif kind == _REDIRECT and redirects is not None and rule is not None:
                redirects.append(_redirect(written, here, rule))
            else:
                raise _Refused(f"{here} ({kind}) is not supported yet, and never skipped silently: remove it")
        except _Refused as refused:
            faults.append(refused.fault)


def _transformation(written: Mapping[str, object], kind: str, path: str, route: Identity) -> table.Transformation:
    field = _CHANGES[kind]
    ops = _ops(_parsed(HeaderModifier, written, field, path), f"{path}.{field}")
    side = {"request": ops} if kind == "RequestHeaderModifier" else {"response": ops}
    return table.Transformation(policy=str(route), **side)


def _ops(modifier: HeaderModifier, path: str) -> table.HeaderOps:
    """Values are literal: there are no templates in filters."""
    for name in modifier.remove:
        if problem := not_removable(name.lower()):
            raise _Refused(f'{path}.remove: "{name}" cannot be removed: {problem}')
    for header in (*modifier.set, *modifier.add):
        if problem := not_settable(header.name.lower()):
            raise _Refused(f'{path}: "{header.name}" cannot be written: {problem}')
    return table.HeaderOps(
        remove=tuple(name.lower() for name in modifier.remove),
        set=tuple(_value(header) for header in modifier.set),
        add=tuple(_value(header) for header in modifier.add),
    )


def _value(header: Header) -> table.HeaderValue:
    return table.HeaderValue(name=header.name.lower(), value=(header.value,))


def _redirect(written: Mapping[str, object], path: str, rule: Rule) -> table.Redirect:
    found = _parsed(RequestRedirect, written, "requestRedirect", path)
    if found.status_code not in _STATUSES:
        raise _Refused(f"{path}.requestRedirect.statusCode: write one of {', '.join(map(str, _STATUSES))}")
    kind, replacement = _new_path(found.path, f"{path}.requestRedirect.path", rule)
    return table.Redirect(
        scheme=found.scheme or "",
        hostname=found.hostname or "",
        port=found.port,
        path_kind=kind,
        path=replacement,
        status=found.status_code,
    )


def _new_path(written: PathModifier | None, path: str, rule: Rule) -> tuple[Literal["", "full", "prefix"], str]:
    if written is None:
        return "", ""
    is_full = written.type == "ReplaceFullPath"
    value = written.replace_full_path if is_full else written.replace_prefix_match
    if value is None:
        raise _Refused(f"{path}: needs {'replaceFullPath' if is_full else 'replacePrefixMatch'}, as its type says")
    if not _SAFE.fullmatch(value) or "#" in value or "?" in value:
        raise _Refused(f"{path}: write a path that begins with '/', percent-encoded, without query or fragment")
    if not is_full and [match.path.type for match in rule.matches] != ["PathPrefix"]:
        raise _Refused(f"{path}: replacePrefixMatch needs exactly one match in its rule, of type PathPrefix")
    return ("full" if is_full else "prefix"), value


def _parsed(model: type[ModelT], written: Mapping[str, object], field: str, path: str) -> ModelT:
    if written.get(field) is None:
        raise _Refused(f"{path}: needs {field}, as its type says")
    try:
        return model.model_validate(written[field], by_alias=True, by_name=False)
    except ValidationError as error:
        detail = explain(model, error.errors(include_url=False)[0])
    raise _Refused(f"{'.'.join(filter(None, (path, field, detail.path)))}: {detail.message}")
