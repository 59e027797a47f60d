"""HTTPRoutes: each rule becomes a route of the table, with its Backends looked up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from controller.compile.exposure import permitted
from controller.compile.gateway_api import BackendRef, HTTPRoute, RouteMatch, RouteRule, Rule, ValueMatch
from controller.compile.objects import Age, Objects, Read
from controller.compile.statuses import Condition, Target, false, true
from controller.compile.paths import comparable
from dataplane import table

_KINDS: Mapping[str, str] = {"Exact": "exact", "PathPrefix": "prefix", "RegularExpression": "regex"}


@dataclass(frozen=True, slots=True)
class Share:
    """One backendRef: where its share of the requests goes, or why it goes nowhere."""

    backend: tuple[str, str]
    weight: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class ServedRule:
    """A rule, before Policies."""

    route: table.Route
    age: Age
    targets: tuple[Target, ...]
    """What Policies may be attached to, broad to narrow."""
    shares: tuple[Share, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """Something of an HTTPRoute that is not served, for its condition `type`."""

    type: str
    reason: str
    message: str


def serve_route(route: Read[HTTPRoute], objects: Objects) -> tuple[list[ServedRule], list[Problem]]:
    """The rules of one HTTPRoute and what is wrong with it."""
    if route.value is None:
        return [], [Problem("Accepted", route.reason, route.error)]
    rules: list[ServedRule] = []
    problems: list[Problem] = []
    for rule in route.value.rules:
        shares = _shares(rule, route, objects, problems)
        error = "; ".join(_errors(rule, shares, problems))
        if rule.matches:
            rules.append(_served(route, route.value, rule, shares, error))
    return rules, problems


def conditions(problems: list[Problem]) -> tuple[Condition, Condition]:
    """Accepted and ResolvedRefs."""
    return (
        _condition("Accepted", problems, "Served."),
        _condition("ResolvedRefs", problems, "Every Backend that the rules refer to was found."),
    )


def _condition(type_: str, problems: list[Problem], message: str) -> Condition:
    found = [problem for problem in problems if problem.type == type_]
    if found:
        return false(type_, found[0].reason, "; ".join(problem.message for problem in found))
    return true(type_, message)


def _errors(rule: Rule, shares: tuple[Share, ...], problems: list[Problem]) -> Iterator[str]:
    """Why the whole rule answers 500."""
    if rule.value is None:
        problems.append(Problem("Accepted", "Invalid", f"{rule.error} (the rule answers 500 where it matches)"))
        yield rule.error
        return
    for field in _filters(rule, rule.value):
        message = f"{field} is not supported yet, and the rule is not served without it: remove the filter"
        problems.append(Problem("Accepted", "UnsupportedValue", f"{message} (the rule answers 500)"))
        yield message
    for name in ("timeouts", "retry", "sessionPersistence"):
        if getattr(rule.value, to_snake(name)) is not None:
            message = f"{rule.path}.{name} is not supported yet: remove it"
            problems.append(Problem("Accepted", "UnsupportedValue", f"{message} (the rule answers 500)"))
            yield message
    if not any(share.weight for share in shares):
        message = f"{rule.path}.backendRefs: no Backend with a weight above 0; name one"
        problems.append(Problem("ResolvedRefs", "BackendNotFound", f"{message} (the rule answers 500)"))
        yield message
