"""Two tenants on one fleet: neither can lift, weaken, read or exhaust the other's rules, keys or budgets.

`blue` attacks, `red` is attacked. First what the compiler makes of each attack: red's part of the table and red's
statuses are the same, byte for byte, as without it. Then what can be seen on the wire of a running gateway.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from controller.compile import Compiled, ExposeRule, Install, LabelSelector
from controller.compile import compile as compiled
from crds.structural import as_mapping
from tests.dataplane.callers.issuers import AUDIENCE, ISSUER, jwk, key_set
from tests.integration.calls import Json, at, provider
from tests.integration.tenants import (
    BLUE,
    GUEST,
    LIMITS,
    RED,
    Tenants,
    authentication,
    backend,
    document,
    grant,
    named,
    policy,
    route,
    secret,
)

URL = "http://provider.test"
FORGERS = key_set(jwk("P-256", 9, kid="a", alg="ES256"))
OPEN: Json = {"mode": "None"}
LIFT: Json = {
    "precedence": "Override",
    "authentication": OPEN,
    "session": {"idle": "9h", "origins": ["https://app.blue.test"]},
}
WIDE: Json = {"requests": [{"max": 1_000_000, "per": "Month"}]}
FRONT, VOICE, AT_GUEST = at("HTTPRoute", "front"), at("Backend", "voice"), at("HTTPRoute", "guest")


def look(found: Compiled, tenant: str) -> str:
    """All that a tenant has: entries of the table that are its own or lead to its Backends, its callers, the ids of its
    secrets, and its statuses."""
    table = found.table
    mine = f"{tenant}/"
    parts: list[object] = [each.model_dump(mode="json") for each in table.backends if each.name.startswith(mine)]
    parts += [each.model_dump(mode="json") for each in table.routes if each.name.startswith(mine)]
    parts += [each.model_dump(mode="json") for each in table.callers if each.namespace == tenant]
    parts += [each for each in table.secrets if each.startswith(mine)]
    parts += [each for each in table.unreadable if each.startswith(mine)]
    parts += [repr(each) for each in found.statuses if each.namespace == tenant]
    return json.dumps(parts, indent=1)


def said(found: Compiled, attack: Sequence[Json]) -> str:
    """All conditions of blue's that the attack is made of."""
    names = {(each["kind"], each["metadata"]["name"]) for each in attack}  # type: ignore[index]
    statuses = [each for each in found.statuses if each.namespace == BLUE and (each.kind, each.name) in names]
    return "\n".join(f"{each.reason}: {each.message}" for status in statuses for each in status.conditions)


@dataclass(frozen=True)
class Attack:
    what: str
    documents: Sequence[Json]
    why: str
    """What blue's status says to it."""
    granted: bool = False
    """Where red lets blue lead to its Backend."""


def attacking(name: str, *targets: Json, **blocks: object) -> list[Json]:
    return [policy(BLUE, name, *targets, **blocks)]


def admitting(*keys: Json) -> list[Json]:
    return attacking("x", FRONT, precedence="Override", authentication=authentication(keys=list(keys)))


ATTACKS = [
    Attack("a Policy on what only red has", attacking("x", at("Backend", "inner"), models={"allow": ["*"]}),
           "TargetNotFound: spec.targetRefs[0].name: there is no Backend blue/inner; there is: voice"),
    Attack("a Policy on a name with a namespace", attacking("x", at("Backend", "red/voice"), **LIFT),
           "Invalid: spec.targetRefs[0].name"),
    Attack("a Policy on a target with a namespace", attacking("x", {**VOICE, "namespace": RED}, **LIFT),
           'Invalid: spec.targetRefs[0].namespace: unknown field'),
    Attack("a Policy with Override on equal names", attacking("x", FRONT, VOICE, **LIFT), "In force"),
    Attack("limits for red's team and key", attacking("x", subjects=[{"team": "gold"}, {"key": "red-admin"}],
           limits={"requests": [{"max": 1, "per": "Month"}]}), "NoSuchCallers: spec.subjects[0].team: "),
    Attack("limits for a subject with a namespace", attacking("x", subjects=[{"namespace": RED, "key": "ci-bot"}],
           limits=LIMITS), 'Invalid: spec.subjects[0].namespace: unknown field'),
    Attack("limits for a key with a namespace", attacking("x", subjects=[{"key": "red/ci-bot"}], limits=LIMITS),
           "In force"),
    Attack("more callers of red's names", [secret(BLUE, "vault", {"red-admin": "blues-own"}, tier="silver")], ""),
    Attack("labels that red's Secrets have", admitting({"secretSelector": {"matchLabels": {"tier": "gold"}}}),
           "no Secret of namespace blue has the labels tier=gold"),
    Attack("callers of red's Secret", admitting({"secretRef": {"name": "vault"}}),
           "keys[0].secretRef.name: Secret blue/vault does not exist"),
    Attack("callers of a Secret with a namespace", admitting({"secretRef": {"name": "vault", "namespace": RED}}),
           'unknown field "namespace"'),
    Attack("red's issuer with keys of one's own", attacking("x", FRONT, precedence="Override", authentication={"jwt": [
           {"issuer": ISSUER, "audiences": [AUDIENCE], "jwks": {"inline": FORGERS}}]}), "In force"),
    Attack("a credential that is red's", [backend(BLUE, "thief", providers=[
           provider("one", auth={"secretRef": {"name": "vault", "key": "red-admin"}})])],
           "SecretNotFound: spec.providers[0].auth.secretRef: Secret blue/vault does not exist"),
    Attack("a broken Policy", attacking("guard-two", FRONT, VOICE, models={"allow": 7}, session={"idle": "soon"}),
           "Invalid: spec.models.allow"),
    Attack("an unknown block", attacking("guard-two", lift="everything"), 'Invalid: spec.lift: unknown field "lift"'),
    Attack("one name twice", [policy(BLUE, "models", models={"allow": ["*"]}), backend(BLUE, "voice", maxSessions=1)],
           "DuplicateName: 2 different documents have this name"),
    Attack("a younger Backend on red's hostname and path", [backend(BLUE, "squat", expose={
           "hostnames": ["direct.red.test"], "pathPrefix": "/voice"})],
           "HostnameConflict: spec.expose: another Backend, older or of equal age and first by name, is served there: "
           "direct.red.test/voice (Backend red/voice)"),
    Attack("a younger HTTPRoute on red's hostname", [route(BLUE, "squat", "red.test", {"name": "voice"})], "Served."),
    Attack("an HTTPRoute to red's Backend", [GUEST], "RefNotPermitted: spec.rules[0].backendRefs[0].namespace: Backend "
           "red/voice is in another namespace, and no ReferenceGrant there lets HTTPRoutes of blue refer to it"),
    Attack("an HTTPRoute to a Backend of red's that is not there", [route(BLUE, "guest", "guest.test", {
           "name": "no-such", "namespace": RED})], "RefNotPermitted: "),
    Attack("a ReferenceGrant to oneself", [GUEST, document(BLUE, "ReferenceGrant", "mine", spec={
           "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": BLUE}],
           "to": [{"group": "tidegate.dev", "kind": "Backend", "name": "voice"}]})], "RefNotPermitted: "),
    Attack("a granted HTTPRoute", [GUEST], "Served.", granted=True),
    Attack("a granted HTTPRoute with all lifted", [GUEST, *attacking("x", AT_GUEST, **LIFT, models={"allow": ["*"]},
           limits=WIDE)], "authentication is replaced by Policy red/guard (on Backend red/voice, of its own namespace: "
           "no Override from another replaces that); session is replaced by Policy red/session", granted=True),
    Attack("a granted HTTPRoute with a broken Policy", [GUEST, *attacking("x", AT_GUEST, **LIFT, models=7)],
           "Invalid: spec.models", granted=True),
    Attack("a granted HTTPRoute to another Backend", [route(BLUE, "guest", "guest.test", {
           "name": "inner", "namespace": RED})], "RefNotPermitted: ", granted=True),
]  # fmt: skip


GENEROUS = Install(expose=(ExposeRule(LabelSelector(), hostnames=("*",), path_prefixes=("/",)),))
"""It lets everybody be served anywhere."""
CLUSTER: list[Json] = [
    {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": {"name": "tidegate"},
        "spec": {"controllerName": "tidegate.dev/controller"},
    },
    document(
        "shared",
        "Gateway",
        "all",
        "2019-01-01T00:00:00Z",
        spec={
            "gatewayClassName": "tidegate",
            "listeners": [
                {"name": "web", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}
            ],
        },
    ),
]


def made(install: Install | None, more: Sequence[Json]) -> Compiled:
    """What comes of these objects; in a cluster with all HTTPRoutes on one Gateway."""
    documents = Tenants(more=more).documents(URL)
    if install is None:
        return compiled(documents)
    on = {"parentRefs": [{"name": "all", "namespace": "shared"}]}
    on_it = [
        {**each, "spec": {**as_mapping(each["spec"]), **on}} if each["kind"] == "HTTPRoute" else each
        for each in documents
    ]
    return compiled([*CLUSTER, *on_it], install=install)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.what)
@pytest.mark.parametrize("install", [None, GENEROUS], ids=["standalone", "cluster"])
def test_at_compile_red_is_as_if_there_were_no_attack(attack: Attack, install: Install | None) -> None:
    granted = [grant()] if attack.granted else []
    before, after = made(install, granted), made(install, [*granted, *attack.documents])
    assert look(after, RED) == look(before, RED)
    assert look(after, BLUE) != look(before, BLUE)
    assert attack.why in said(after, attack.documents)
    assert {id_: value for id_, value in after.secrets.items() if id_.startswith("red/")} == {
        id_: value for id_, value in before.secrets.items() if id_.startswith("red/")
    }


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.what)
def test_what_blue_is_told_holds_nothing_that_only_red_has(attack: Attack) -> None:
    found = compiled(Tenants(more=[*([grant()] if attack.granted else []), *attack.documents]).documents(URL))
    told = [repr(each) for each in found.statuses if each.namespace == BLUE]
    written = json.dumps([attack.documents])
    secrets = ("key-in-reds-vault", "key-of-red-alone", "sk-simulator", "red-admin", "inner", "gold")
    assert [word for word in secrets if word not in written and any(word in each for each in told)] == []


def test_blue_gone_altogether_changes_nothing_of_reds() -> None:
    both, alone = (compiled(each.documents(URL)) for each in (Tenants(), Tenants(less=named(BLUE))))
    assert look(both, RED) == look(alone, RED)
    assert look(alone, BLUE) == "[]"


def test_on_a_granted_route_reds_rules_hold_and_blues_are_added() -> None:
    lifting = attacking("x", AT_GUEST, **LIFT, models={"allow": ["*"]}, limits=WIDE)
    found = compiled(Tenants(more=[grant(), GUEST, *lifting]).documents(URL))
    (guest,) = [each for each in found.table.routes if each.name == "blue/guest#all"]
    (front,) = [each for each in found.table.routes if each.name == "red/front#all"]
    (theirs,), (own,) = guest.forwards, front.forwards
    assert theirs.policies.authentication == own.policies.authentication
    assert theirs.policies.session == own.policies.session
    assert {*own.policies.models} < {*theirs.policies.models}
    assert {each.policy for each in theirs.policies.limits} - {each.policy for each in own.policies.limits} == {
        "blue/x"
    }
    assert {each.policy for each in own.policies.limits} <= {each.policy for each in theirs.policies.limits}


def test_the_oldest_claim_holds_and_who_loses_it_is_told() -> None:
    """In a cluster the API server says how old an object is. Files are one operator's: without a time, the first by
    name holds what both claim."""
    squat = backend(
        BLUE, "squat", "2020-01-01T00:00:00Z", expose={"hostnames": ["direct.red.test"], "pathPrefix": "/voice"}
    )
    found = compiled(Tenants(more=[squat]).documents(URL))
    (lost,) = [each for each in found.statuses if (each.kind, each.namespace, each.name) == ("Backend", RED, "voice")]
    assert lost.conditions[0].reason == "HostnameConflict"
    assert "direct.red.test/voice (Backend blue/squat)" in lost.conditions[0].message
