"""Timeouts and limits: the API tells people the table's defaults, and writing them down changes nothing."""

from __future__ import annotations

import re

import pytest

from controller import compile as compiler
from crds.backend import Timeouts
from crds.base import ApiModel
from crds.quantities import seconds, size
from crds.session import SessionLimits
from crds.structural import as_mapping, structural
from dataplane import table
from tests.controller.test_compile import backend

FIELDS = [
    pytest.param(model, default, name, id=f"{model.__name__}.{name}")
    for model, default in ((Timeouts, table.Timeouts()), (SessionLimits, table.SessionLimits()))
    for name in model.model_fields
    if name not in ("origins", "on_revoke")
]


@pytest.mark.parametrize(("model", "default", "name"), FIELDS)
def test_what_is_told_of_a_field_is_true(model: type[ApiModel], default: table.Frozen, name: str) -> None:
    """`kubectl explain` shows the description alone, so bounds and default stand in it."""
    field = as_mapping(as_mapping(structural(model)["properties"])[_alias(model, name)])
    told = re.search(r"From (\S+) to (\S+); default (\S+)\.$", str(field["description"]))
    assert told
    low, high, usual = told.groups()
    assert _number(usual) == getattr(default, name)
    if field["type"] == "integer":
        assert (field["minimum"], field["maximum"]) == (int(low), int(high))
    else:
        assert f"from {low} to {high}" in str(field["x-kubernetes-validations"])


def test_what_is_told_of_a_choice_is_true() -> None:
    assert str(SessionLimits.model_fields["on_revoke"].description).endswith(f"Default {table.OnRevoke.KEEP}.")
    choices = as_mapping(as_mapping(structural(SessionLimits)["properties"])["onRevoke"])["enum"]
    assert choices == [choice.value for choice in table.OnRevoke]


def _alias(model: type[ApiModel], name: str) -> str:
    return str(model.model_fields[name].alias)


def _number(text: str) -> float:
    return seconds(text) if text[-1] in "hms" else size(text)


def compiled(**spec: object) -> table.Backend:
    return compiler.compile([backend("a", **spec)]).table.backends[0]


def test_saying_the_defaults_changes_no_hash() -> None:
    said = {"connect": "5s", "handshake": "10s", "firstEvent": "1000ms", "response": "2m", "idle": "5m"}
    assert compiled(timeouts=said) == compiled()
    health = {"ejectAfter": 3, "ejectFor": "5s", "ejectForMost": "5m"}
    assert compiled(health=health) == compiled()
    assert compiled(providers=[{**A, "weight": 1, "priority": 0}]) == compiled(providers=[A])


A = {"name": "a", "custom": {}, "url": "https://a.example"}


def test_what_is_said_of_pools() -> None:
    providers = [{**A, "weight": 0, "priority": 2, "maxSessions": 7}, {**A, "name": "b"}]
    sticky = {"strategy": "Weighted", "sticky": {"header": "X-User"}}
    found = compiled(providers=providers, balance=sticky, health={"ejectFor": "250ms"})
    assert [(each.weight, each.priority, each.max_sessions) for each in found.providers] == [(0, 2, 7), (1, 0, 0)]
    assert found.balance == table.Balance(strategy="Weighted", sticky="header", header="x-user")
    assert found.health == table.Health(eject_for=0.25)
    assert compiled(balance={"sticky": {"caller": {}}}).balance == table.Balance(sticky="caller")
    assert compiled(health={"ejectAfter": 1, "ejectForMost": "1h"}).health == table.Health(
        eject_after=1, eject_for_most=3600
    )


@pytest.mark.parametrize(
    "spec",
    [
        {"timeouts": {"connect": "6s"}},
        {"maxSessions": 1},
        {"balance": {"strategy": "LeastActive"}},
        {"health": {"ejectAfter": 4}},
    ],
)
def test_saying_something_else_does(spec: dict[str, object]) -> None:
    assert compiled(**spec).hash != compiled().hash


def test_limits_of_sessions_change_the_routes_where_they_hold_and_nothing_else() -> None:
    objects = [backend("a", expose={}), backend("b", expose={})]
    policy = {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "Policy",
        "metadata": {"name": "p"},
        "spec": {
            "targetRefs": [{"group": "tidegate.dev", "kind": "Backend", "name": "a"}],
            "session": {"idle": "10m"},
        },
    }
    before, after = compiler.compile(objects).table, compiler.compile([*objects, policy]).table
    assert before.backends == after.backends
    assert [old.hash == new.hash for old, new in zip(before.routes, after.routes, strict=True)] == [False, True]
    assert after.routes[0].forwards[0].policies.session == (table.SessionLimits(policy="default/p", idle=600.0),)
