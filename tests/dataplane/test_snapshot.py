"""A table made ready to serve, or refused whole."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dataplane.snapshot import EMPTY, Snapshot, TableRefused
from dataplane.table import (
    Attachment,
    Backend,
    CallerKey,
    CallerSet,
    EndpointSet,
    Forward,
    Guardrail,
    Issuer,
    Listener,
    Match,
    Model,
    Moderation,
    Pii,
    PolicySet,
    PublicKey,
    Route,
    Secrets,
    SessionLimits,
    Table,
    Target,
    Tls,
    Webhook,
)
from tests.dataplane.rig import CALLERS, REQUIRED, SECRETS, backend, provider, table

GOOD = backend(provider("https://a.test/v1"))
ONE, TWO = (Listener(name=f"ai/g/{name}", port=10000, public_port=80) for name in ("one", "two"))
SECURE = Listener(name="ai/g/secure", port=10000, public_port=443, hostname="a.test", tls=True)
BAD_KEY = PublicKey(algorithm="ES256", jwk="{}")
BAD_ISSUER = CallerSet(
    id="ai/idp", namespace="ai", issuer=Issuer(name="https://idp.test", audiences=("tidegate",), keys=(BAD_KEY,))
)


def guarded(**judge: object) -> tuple[Route, ...]:
    guardrail = Guardrail.model_validate({"policy": "ai/p", "name": "g", "action": "block", **judge})
    local = Guardrail(policy="ai/p", name="local", action="block", pii=Pii(kinds=("card",)))
    policies = PolicySet(guardrails=(local, guardrail))
    return (Route(name="r", forwards=(Forward(backend="ai/voice", policies=policies),)),)


def reasons(refused: Table, secrets: Secrets = SECRETS) -> list[str]:
    with pytest.raises(TableRefused) as raised:
        Snapshot.build(refused, secrets)
    return raised.value.reasons


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema_number": 99}, "schema 99 is unknown"),
        ({"backends": (GOOD, GOOD)}, "backend ai/voice is in the table twice"),
        ({"routes": (Route(name="r"), Route(name="r"))}, "route r is in the table twice"),
        ({"secrets": ("upstream@1", "other@2")}, "secret other@2 is missing"),
        ({"secrets": ()}, "uses secret upstream@1, which the table does not list"),
        ({"routes": (Route(name="r", forwards=(Forward(backend="ai/x"),)),)}, "backend ai/x is not in the table"),
        ({"callers": ()}, "callers ai/keys are not in the table"),
        ({"listeners": (ONE, ONE)}, "listener ai/g/one is in the table twice"),
        ({"listeners": (ONE, TWO)}, "listener ai/g/two: its port and hostname are those of ai/g/one"),
        ({"listeners": (ONE, SECURE)}, "listener ai/g/secure: port 10000 is with TLS and without, for ai/g/one"),
        (
            {"listeners": (SECURE.model_copy(update={"certificates": ("c@1",)}),)},
            "uses secret c@1, which the table does",
        ),
        (
            {"routes": (Route(name="r", attached=(Attachment(listener="l"),)),)},
            "route r: listener l is not in the table",
        ),
        ({"routes": (Route(name="r", matches=(Match(path="(", path_kind="regex"),)),)}, "route r: regular expression"),
        ({"callers": (CallerSet(id="ai/keys", namespace="ai", keys=(CallerKey(name="k", sha256="zz"),)),)}, "digest"),
        ({"callers": (CALLERS, BAD_ISSUER)}, "callers: a key of an issuer is no valid key"),
        ({"backends": (backend(provider("ftp://a.test")),)}, "no http(s) URL"),
        ({"backends": (backend(provider("https://a.test:99999")),)}, "no http(s) URL"),
        ({"backends": (backend(provider("https://")),)}, "no http(s) URL"),
        (
            {"backends": (backend(provider("http://a.ai.svc", endpoints="ai/a:80")),)},
            "endpoints ai/a:80, which are not",
        ),
        ({"backends": (backend(provider("https://a", tls=Tls(client="gone@1"))),)}, "secret gone@1, which the table"),
        ({"backends": (backend(provider("http://a"), networks=("10.0.0.1/8",)),)}, "'10.0.0.1/8' is no network"),
        ({"routes": guarded(webhook=Webhook(url="http://g", secret="g@1"))}, "guardrail g uses secret g@1, which the"),
        ({"routes": guarded(webhook=Webhook(url="http://g", endpoints="ai/g:80"))}, "endpoints ai/g:80, which are not"),
        ({"routes": guarded(webhook=Webhook(url="http://g", networks=("10.0.0.1/8",)))}, "'10.0.0.1/8' is no network"),
        (
            {"routes": guarded(moderation=Moderation(url="http://:0", secret="upstream@1", model="m"))},
            "route r: guardrail g has no http(s) URL",
        ),
        ({"endpoints": (EndpointSet(id="ai/a:80", addresses=("10.0.0.1:8080", "a:80")),)}, "'a:80' is no address"),
        ({"endpoints": (EndpointSet(id="ai/a:80", addresses=("10.0.0.1:0",)),)}, "'10.0.0.1:0' is no address"),
        ({"endpoints": (EndpointSet(id="ai/a:80", addresses=("fd00::1:80",)),)}, "'fd00::1:80' is no address"),
        (
            {
                "backends": (
                    backend(provider("https://a.test"), models=(Model(name="m", targets=(Target(provider="x"),)),)),
                )
            },
            "goes to provider x",
        ),
    ],
)
def test_tables_that_cannot_be_served(change: dict[str, object], reason: str) -> None:
    found = reasons(table(GOOD).model_copy(update=change))
    assert len(found) == 1
    assert reason in found[0]


def test_all_reasons_are_told() -> None:
    bad = table(GOOD).model_copy(update={"secrets": (), "callers": ()})
    assert len(reasons(bad)) == 2


def test_errors_of_objects_are_no_errors_of_the_table() -> None:
    broken = backend(provider("", error="no url"), name="ai/broken")
    routes = (Route(name="r", forwards=(Forward(backend="ai/none", error="no such Backend"),)),)
    assert Snapshot.build(Table(backends=(broken,), routes=routes), {}).backends == {"ai/broken": broken}


def test_what_is_the_same_is_taken_from_the_snapshot_before() -> None:
    first = Snapshot.build(table(GOOD), SECRETS, EMPTY)
    same = backend(provider("https://a.test/v1"))
    other = backend(provider("https://b.test/v1"), name="ai/other")
    grown = table(same).model_copy(update={"backends": (same, other)})
    second = Snapshot.build(grown, SECRETS, first)
    assert second.backends["ai/voice"] is first.backends["ai/voice"]
    assert second.callers is first.callers
    assert second.router is first.router
    changed = CALLERS.model_copy(update={"team": "new"})
    third = Snapshot.build(grown.model_copy(update={"callers": (changed,)}), SECRETS, second)
    assert third.callers is not second.callers
    moved = Snapshot.build(table(same, strip_prefix="/x"), SECRETS, third)
    assert moved.router is not third.router
    opened = moved.table.model_copy(update={"listeners": (ONE,)})
    assert Snapshot.build(opened, SECRETS, moved).router is not moved.router
    unsealed = table(same).model_copy(update={"routes": (Route(name="r"),)})
    fourth = Snapshot.build(unsealed, SECRETS, moved)
    assert Snapshot.build(unsealed, SECRETS, fourth).router is not fourth.router


def test_other_endpoints_leave_all_else_as_it_is() -> None:
    service = backend(provider("http://a.ai.svc:80", endpoints="ai/a:80"))
    addresses = ("10.0.0.1:80", "[fd00::1]:80")
    one, two = [EndpointSet(id="ai/a:80", addresses=addresses[:count]) for count in (1, 2)]
    first = Snapshot.build(table(service).model_copy(update={"endpoints": (one,)}), SECRETS)
    second = Snapshot.build(table(service).model_copy(update={"endpoints": (two,)}), SECRETS, first)
    assert second.router is first.router
    assert second.backends["ai/voice"] is first.backends["ai/voice"]
    assert second.endpoints == {"ai/a:80": addresses}
    before, after = first.table.versions(), second.table.versions()
    assert {name for name, version in before.items() if after[name] != version} == {"endpoints"}


def test_only_the_secrets_that_the_table_uses_are_kept() -> None:
    more = {**SECRETS, "unused@1": SECRETS["upstream@1"]}
    assert list(Snapshot.build(table(GOOD, REQUIRED), more).secrets) == ["upstream@1"]


@pytest.mark.parametrize(
    "limit",
    [
        {"timeouts": {"connect": 0}},
        {"timeouts": {"idle": float("inf")}},
        {"timeouts": {"response": float("nan")}},
        {"max_sessions": -1},
    ],
)
def test_a_limit_that_nothing_could_keep_is_no_table(limit: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Backend.model_validate({"name": "ai/voice", **limit})


@pytest.mark.parametrize("limit", [{"idle": 0}, {"duration": -1}, {"max_message": 0}, {"max_fragments": 0}])
def test_nor_is_one_of_sessions(limit: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SessionLimits.model_validate(limit)
