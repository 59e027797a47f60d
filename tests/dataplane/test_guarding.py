"""Which guardrails hold for a request, and what a client may ask for."""

from __future__ import annotations

import pytest

from dataplane.errors import Refusal
from dataplane.guarding import holding, taken
from dataplane.http.accept import Target
from dataplane.http.head import Headers
from dataplane.metering.usage import ANONYMOUS, Caller
from dataplane.snapshot import Snapshot
from dataplane.stages import Visit, authenticated
from dataplane.table import Guardrail, Pii, PolicySet, RouteType, Subject
from tests.dataplane.rig import CLIENT_KEY, REQUIRED, SECRETS, backend, provider, table

PII = Pii(kinds=("card",))
SUPPORT = Caller("ai", "ci-bot", "support")
ALWAYS = Guardrail(policy="ai/p", name="always", pii=PII, action="block")
ASKED = Guardrail(policy="ai/p", name="asked", pii=PII, action="block", optional=True)
FOR_SALES = Guardrail(
    policy="ai/q",
    name="sales",
    subjects=(Subject(namespace="ai", team="sales"),),
    pii=PII,
    action="mask",
    optional=True,
)
FOR_SUPPORT = ASKED.model_copy(update={"name": "support", "subjects": (Subject(namespace="ai", team="support"),)})
ALL = (ALWAYS, ASKED, FOR_SALES, FOR_SUPPORT)


def names(caller: Caller, *wanted: str) -> list[str]:
    return [each.name for each in holding(ALL, caller, wanted)]


def test_optional_ones_hold_where_they_are_asked_for() -> None:
    assert names(ANONYMOUS) == ["always"]
    assert names(ANONYMOUS, "asked", "support") == ["always", "asked"]
    assert names(SUPPORT, "support", "sales") == ["always", "support"]


@pytest.mark.parametrize(
    ("query", "wanted", "left"),
    [
        ("", set(), ""),
        ("a=1&b", set(), "a=1&b"),
        ("guardrails=asked", {"asked"}, ""),
        ("a=%2F&guardrails=asked,always&b=+", {"asked", "always"}, "a=%2F&b=+"),
        ("%67uardrails=ask%65d&x", {"asked"}, "x"),
        ("guardrails=asked%2C+always", {"asked", "always"}, ""),
        ("guardrails=always&x&guardrails=asked", {"asked", "always"}, "x"),
        ("guardrails=,&x", set(), "x"),
        ("guardrails&x", set(), "x"),
        ("Guardrails=none", set(), "Guardrails=none"),
    ],
)
def test_what_is_asked_for_is_taken_off(query: str, wanted: set[str], left: str) -> None:
    assert taken(query, [ALWAYS, ASKED], RouteType.REALTIME) == (frozenset(wanted), left)


def refused(query: str, *known: Guardrail, kind: RouteType = RouteType.COMPLETIONS) -> str:
    with pytest.raises(Refusal) as raised:
        taken(query, known, kind)
    assert (raised.value.code, raised.value.status) == ("unknown_guardrail", 400)
    return raised.value.message


def test_a_name_that_there_is_not_is_refused_with_what_may_be_asked_for() -> None:
    said = refused("guardrails=asked,aksed", ALWAYS, ASKED, ASKED)
    assert said == "There is no guardrail aksed for you here; you may ask for: asked."
    assert refused("guardrails=x") == "There is no guardrail x for you here; you may ask for: none."


def test_what_a_client_wrote_is_not_repeated_at_length() -> None:
    many = ",".join(f"n{number:02}" for number in range(12))
    assert "n08, n09 and 2 more for you" in refused(f"guardrails={many}", ASKED)
    assert len(refused(f"guardrails={'x' * 5000}", ASKED)) < 200


def test_nothing_is_asked_for_on_a_path_that_is_relayed_unread() -> None:
    unread = RouteType.PASSTHROUGH
    assert "relayed unread" in refused("guardrails=asked", ASKED, kind=unread)
    assert "no guardrail other" in refused("guardrails=other", ASKED, kind=unread)
    assert taken("guardrails=other", [], unread) == (frozenset(), "guardrails=other"), "it is the provider's own"


def test_an_exchange_knows_its_guardrails() -> None:
    policies = REQUIRED.model_copy(update={"guardrails": ALL})

    def exchange(query: str, policies: PolicySet) -> tuple[list[str], str]:
        snapshot = Snapshot.build(table(backend(provider("https://a.test/v1")), policies), SECRETS)
        headers = Headers([("authorization", f"Bearer {CLIENT_KEY}")])
        target = Target("h", "/v1/realtime", query)
        made = authenticated(snapshot, Visit("1", 0), target, "GET", headers, rand=lambda: 0, now=0)
        return [each.rule.name for each in made.guards()], made.query

    assert exchange("model=x", REQUIRED) == ([], "model=x")
    assert exchange("model=x", policies) == (["always"], "model=x")
    assert exchange("guardrails=support&model=x", policies) == (["always", "support"], "model=x")
    with pytest.raises(Refusal, match="no guardrail sales for you here; you may ask for: asked, support"):
        exchange("guardrails=sales", policies)
