"""Two tenants of one gateway, `red` and `blue`: objects with the same names in both namespaces, and what both share by
accident: the text of a key, the names of teams, an issuer of tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.dataplane.callers.issuers import AUDIENCE, ISSUER, claims, jwk, key_set, token
from tests.integration.calls import Call, Json, Objects, at, provider

RED, BLUE = "red", "blue"
UPSTREAM = {RED: "sk-simulator", BLUE: "sk-two"}
"""Each one's credential at the provider."""
SAME_KEY = "a-key-that-both-have"
TEAM = "support"
MADE = {RED: "2026-01-01T00:00:00Z", BLUE: "2026-02-01T00:00:00Z"}
"""Red's objects are the older ones, though blue is first by name."""
ISSUERS_KEYS = key_set(jwk("P-256", kid="a", alg="ES256"))
VERSIONS = {"Secret": "v1", "Backend": "tidegate.dev/v1alpha1", "Policy": "tidegate.dev/v1alpha1"}
LIMITS: Json = {"requests": [{"max": 100, "per": "Month"}]}

Documents = list[Json]


def own_key(tenant: str) -> str:
    return f"key-of-{tenant}-alone"


def document(tenant: str, kind: str, name: str, made: str = "", **rest: object) -> Json:
    version = VERSIONS.get(kind, "gateway.networking.k8s.io/v1")
    metadata = {"name": name, "namespace": tenant, "creationTimestamp": made or MADE[tenant]}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}


def policy(tenant: str, name: str, *targets: Json, **blocks: object) -> Json:
    spec = {"targetRefs": list(targets) or [at("Backend", "voice")], **blocks}
    return document(tenant, "Policy", name, spec=spec)


def route(tenant: str, name: str, host: str, ref: Mapping[str, object], made: str = "") -> Json:
    rule = {"name": "all", "backendRefs": [{"group": "tidegate.dev", "kind": "Backend", **ref}]}
    return document(tenant, "HTTPRoute", name, made, spec={"hostnames": [host], "rules": [rule]})


def backend(tenant: str, name: str, made: str = "", **fields: object) -> Json:
    model = {"name": "voice", "targets": [{"provider": "one"}], "price": {"inputText": "1", "outputText": "64"}}
    spec = {
        "providers": [provider("one")],
        "models": [model, {**model, "name": "dear"}],
        "routes": {"/v1/chat/completions": "Completions", "/v1/realtime": "Realtime"},
        **fields,
    }
    return document(tenant, "Backend", name, made, spec=spec)


def secret(tenant: str, name: str, entries: Mapping[str, str], **labels: str) -> Json:
    made = document(tenant, "Secret", name, stringData=dict(entries))
    metadata = made["metadata"]
    assert isinstance(metadata, dict)
    return {**made, "metadata": {**metadata, "labels": labels}}


def authentication(**fields: object) -> Json:
    issuer = {"issuer": ISSUER, "audiences": [AUDIENCE], "jwks": {"inline": ISSUERS_KEYS}, "team": TEAM}
    keys = [
        {"secretRef": {"name": "callers"}, "team": TEAM},
        {"secretSelector": {"matchLabels": {"tier": "silver"}}, "team": TEAM},
    ]
    return {"keys": keys, "jwt": [issuer], **fields}


def tenant(name: str, limits: Json | None = None) -> Documents:
    """All that one of them has."""
    return [
        secret(name, "upstream", {"Authorization": UPSTREAM[name]}),
        secret(name, "callers", {"ci-bot": own_key(name), "twin": SAME_KEY}),
        secret(name, "labelled", {"night-shift": f"key-by-label-of-{name}"}, tier="silver"),
        backend(name, "voice", expose={"hostnames": [f"direct.{name}.test"], "pathPrefix": "/voice"}),
        route(name, "front", f"{name}.test", {"name": "voice"}),
        policy(name, "guard", authentication=authentication()),
        policy(name, "models", models={"allow": ["voice"]}),
        policy(name, "team", limits={"countedBy": "Team", **LIMITS}),
        policy(name, "limits", limits=limits or LIMITS),
        policy(name, "session", session={"onRevoke": "EndSession", "origins": [f"https://app.{name}.test"]}),
        policy(name, "names", at("HTTPRoute", "front"), telemetry={"callerKey": True}),
    ]


def only_reds() -> Documents:
    """What blue has nothing of by these names."""
    return [
        secret(RED, "vault", {"red-admin": "key-in-reds-vault"}, tier="gold"),
        policy(RED, "gold", limits=LIMITS, subjects=[{"team": "gold"}]),
        backend(RED, "inner"),
    ]


def grant(name: str = "voice") -> Json:
    """Red lets blue lead to its Backend."""
    source = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": BLUE}
    target = {"group": "tidegate.dev", "kind": "Backend", "name": name}
    return document(RED, "ReferenceGrant", "to-blue", spec={"from": [source], "to": [target]})


GUEST = route(BLUE, "guest", "guest.test", {"name": "voice", "namespace": RED})
"""Blue's route to red's Backend."""


@dataclass(frozen=True)
class Tenants(Objects):
    """What both have, and what is added, replaced by name, or taken away."""

    limits: Mapping[str, object] | None = None
    more: Sequence[Json] = ()
    less: Callable[[Json], bool] = lambda _: False

    def raw(self) -> Documents:
        """Everything, with `$URL` in it."""
        limits = dict(self.limits) if self.limits else None
        return [*only_reds(), *without(self.less, [*tenant(RED, limits), *tenant(BLUE, limits)]), *self.more]

    def documents(self, url: str, hole: str = "") -> Documents:
        filled: Documents = json.loads(json.dumps(self.raw()).replace("$URL", url))
        return filled


def without(less: Callable[[Json], bool], documents: Documents) -> Documents:
    return [each for each in documents if not less(each)]


def named(tenant: str, kind: str = "", name: str = "") -> Callable[[Json], bool]:
    """Is it this tenant's, of this kind and name?"""

    def matches(document: Json) -> bool:
        metadata = document["metadata"]
        assert isinstance(metadata, dict)
        return metadata["namespace"] == tenant and kind in ("", document["kind"]) and name in ("", metadata["name"])

    return matches


def call(host: str, key: str, model: str = "voice", **headers: str) -> Call:
    return Call(model=model, headers={"Host": host, "Authorization": f"Bearer {key}", **headers})


def vouched(sub: str = "alice") -> str:
    """A token of the issuer whom both trust."""
    return token(claims(sub=sub))
