"""Two tenants on a real API server and a running gateway: neither can read, route to or override what is the other's.

`blue` attacks, `red` is attacked; each with the rights of an owner of its own namespace. Of every attack it is looked
at what blue's conditions say, what requests get, and that red has what it had. See docs/security.md, "Tenants".
"""

from __future__ import annotations

import re
import ssl
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import asking
import processes
import pytest
import tenants as two
from cluster.access import Cluster
from controllers import until
from tenants import (
    BLUE,
    CREDENTIALS,
    KEYS,
    RED,
    TWIN,
    VAULT,
    Json,
    Tenants,
    at,
    backend,
    document,
    grant,
    policy,
    route,
    to_backend,
)

OPEN: Json = {"authentication": {"mode": "None"}}
SHARED = "platform/shared"
TO_RED = to_backend("voice", "$RED")
GUEST = route("guest", "guest.blue.test", TO_RED)


@pytest.fixture(scope="module")
def tenants(
    cluster: Cluster, tidegate_crds: None, gateway_api: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tenants]:
    with two.tenants(cluster, tmp_path_factory.mktemp("tenants")) as found:
        yield found


@dataclass(frozen=True)
class Try:
    """A request, and what it gets."""

    gets: str
    """Status, and the provider that answered or the code of the error."""
    host: str = ""
    path: str = asking.COMPLETIONS
    key: str = ""
    gateway: str = ""


def own(name: str, path: str = "") -> str:
    return f"/$BLUE/{name}{path or asking.COMPLETIONS}"


def open_(name: str) -> Json:
    """A Policy that lets everybody use one's own Backend, so that only what is another's is in the way."""
    return policy(name, at("Backend", name), **OPEN)


@dataclass(frozen=True)
class Attack:
    what: str
    documents: Sequence[Json]
    says: tuple[str, str, str, str]
    """Kind, name, condition, and its status and reason."""
    tries: Sequence[Try] = ()
    granted: Sequence[Json] = ()
    """By red, before."""


def through(gets: str, key: str = "", host: str = "guest.blue.test") -> Try:
    return Try(gets, host, key=key, gateway=SHARED)


REDS_FRONT = [through("200 red", KEYS[RED], "app.red.test"), through("401 credentials_required", host="app.red.test")]
REDS_HOST = [Try("200 red", "red.test", key=KEYS[RED]), Try("401 invalid_api_key", "red.test", key=KEYS[BLUE])]

READ = [
    Attack(
        "a Secret of another namespace as a provider's credential",
        [
            backend(
                "x",
                providers=[{"name": "a", "openai": {}, "url": "$URL", "auth": {"secretRef": {"name": "vault"}}}],
                expose={},
            ),
            open_("x"),
        ],
        ("Backend", "x", "ResolvedRefs", "False SecretNotFound"),
        [Try("500 configuration_error", path=own("x"))],
    ),
    Attack(
        "a Secret of another namespace for callers",
        [
            backend("x", expose={}),
            policy("x", at("Backend", "x"), authentication={"keys": [{"secretRef": {"name": "vault"}}]}),
        ],
        ("Policy", "x", "Enforced", "False SecretNotFound"),
        [Try("401 invalid_api_key", path=own("x"), key=VAULT)],
    ),
    Attack(
        "another's Secrets by a label",
        [
            backend("x", expose={}),
            policy(
                "x",
                at("Backend", "x"),
                authentication={"keys": [{"secretSelector": {"matchLabels": {"tier": "gold"}}}]},
            ),
        ],
        ("Policy", "x", "Enforced", "False SecretNotFound"),
        [Try("401 invalid_api_key", path=own("x"), key=VAULT)],
    ),
]

GATEWAY = document(
    "Gateway",
    "mine",
    spec={
        "gatewayClassName": "tidegate",
        "listeners": [{"name": "web", "port": 80, "protocol": "HTTP", "hostname": "app.red.test"}],
    },
)
ON_MINE = route("mine", "app.red.test", to_backend("own"), parent={"name": "mine"})

ROUTE_TO = [
    Attack(
        "a route to another's Backend",
        [GUEST],
        ("HTTPRoute", "guest", "ResolvedRefs", "False RefNotPermitted"),
        [through("500 configuration_error"), through("500 configuration_error", KEYS[RED])],
    ),
    Attack(
        "the same by a grant, where the owner's Policies hold",
        [GUEST],
        ("HTTPRoute", "guest", "ResolvedRefs", "True ResolvedRefs"),
        [
            through("401 credentials_required"),
            through("401 invalid_api_key", KEYS[BLUE]),
            through("200 red", KEYS[RED]),
        ],
        [grant("HTTPRoute", "Backend", "voice")],
    ),
    Attack(
        "a Backend that a grant does not name",
        [route("guest", "guest.blue.test", to_backend("inner", "$RED"))],
        ("HTTPRoute", "guest", "ResolvedRefs", "False RefNotPermitted"),
        [through("500 configuration_error")],
        [grant("HTTPRoute", "Backend", "voice")],
    ),
    Attack(
        "a Service of another's",
        [route("guest", "guest.blue.test", {"name": "inner", "namespace": "$RED", "port": 80})],
        ("HTTPRoute", "guest", "ResolvedRefs", "False RefNotPermitted"),
        [through("500 configuration_error")],
    ),
    Attack(
        "a Service by a grant for Backends",
        [route("guest", "guest.blue.test", {"name": "inner", "namespace": "$RED", "port": 80})],
        ("HTTPRoute", "guest", "ResolvedRefs", "False RefNotPermitted"),
        [through("500 configuration_error")],
        [grant("HTTPRoute", "Backend")],
    ),
    Attack(
        "a Service by a grant: it has no endpoint that is ready",
        [route("guest", "guest.blue.test", {"name": "inner", "namespace": "$RED", "port": 80})],
        ("HTTPRoute", "guest", "ResolvedRefs", "True ResolvedRefs"),
        [through("503 upstream_unavailable")],
        [grant("HTTPRoute", "Service", "inner")],
    ),
    Attack(
        "a Service of another's as a provider",
        [
            backend(
                "x",
                providers=[{"name": "a", "custom": {"service": {"name": "inner", "namespace": "$RED", "port": 80}}}],
                expose={},
            )
        ],
        ("Backend", "x", "ResolvedRefs", "False RefNotPermitted"),
        [Try("500 configuration_error", path=own("x"))],
    ),
    Attack(
        "a Service as a provider, by a grant for routes",
        [
            backend(
                "x",
                providers=[{"name": "a", "custom": {"service": {"name": "inner", "namespace": "$RED", "port": 80}}}],
                expose={},
            )
        ],
        ("Backend", "x", "ResolvedRefs", "False RefNotPermitted"),
        [Try("500 configuration_error", path=own("x"))],
        [grant("HTTPRoute", "Service", "inner")],
    ),
    Attack(
        "a listener of another's",
        [route("guest", "app.red.test", to_backend("own"), listener=RED)],
        ("HTTPRoute", "guest", "Accepted", "False NotAllowedByListeners"),
        REDS_FRONT,
    ),
    Attack(
        "another's host on one's own listener",
        [route("guest", "app.red.test", to_backend("own"))],
        ("HTTPRoute", "guest", "Accepted", "False NoMatchingListenerHostname"),
        REDS_FRONT,
    ),
    Attack(
        "another's host on a listener for everybody: it is the narrower listener's",
        [route("guest", "app.red.test", to_backend("own"), listener="open")],
        ("HTTPRoute", "guest", "Accepted", "True Accepted"),
        REDS_FRONT,
    ),
    Attack(
        "another's host on a Gateway of one's own, which has a port of its own",
        [GATEWAY, ON_MINE],
        ("HTTPRoute", "mine", "Accepted", "True Accepted"),
        [
            *REDS_FRONT,
            Try("200 blue", "app.red.test", key=KEYS[BLUE], gateway="blue/mine"),
            Try("401 invalid_api_key", "app.red.test", key=KEYS[RED], gateway="blue/mine"),
            Try("404 unknown_host", "red.test", key=KEYS[RED], gateway="blue/mine"),
        ],
    ),
    Attack(
        "another's host by expose",
        [backend("x", expose={"hostnames": ["red.test"]}), open_("x")],
        ("Backend", "x", "Accepted", "False NotAllowed"),
        REDS_HOST,
    ),
    Attack(
        "a host below another's by expose",
        [backend("x", expose={"hostnames": ["*.red.test"]}), open_("x")],
        ("Backend", "x", "Accepted", "False NotAllowed"),
        [Try("404 unknown_host", "deep.red.test")],
    ),
    Attack(
        "any host by expose",
        [backend("x", expose={"pathPrefix": "/"}), open_("x")],
        ("Backend", "x", "Accepted", "False NotAllowed"),
        [Try("404 unknown_host", "else.test"), *REDS_HOST],
    ),
    Attack(
        "another's prefix by expose",
        [backend("x", expose={"pathPrefix": "/$RED/own"}), open_("x")],
        ("Backend", "x", "Accepted", "False NotAllowed"),
        [Try("401 credentials_required", path="/$RED/own/v1/chat/completions")],
    ),
    Attack(
        "a longer prefix than another's by expose",
        [backend("x", expose={"pathPrefix": "/$RED/own/v1/chat"}), open_("x")],
        ("Backend", "x", "Accepted", "False NotAllowed"),
        [Try("200 red", path="/$RED/own/v1/chat/completions", key=KEYS[RED])],
    ),
    Attack(
        "a host that both may have, and red had first",
        [backend("x", expose={"hostnames": ["shared.test"]}), open_("x")],
        ("Backend", "x", "Accepted", "False HostnameConflict"),
        [Try("200 red", "shared.test", key=KEYS[RED]), Try("401 credentials_required", "shared.test")],
    ),
    Attack(
        "another's part of a host that is divided",
        [backend("x", expose={"hostnames": ["divided.test"], "pathPrefix": "/red/v1"}), open_("x")],
        ("Backend", "x", "Accepted", "False NotAllowed"),
        [Try("200 red", "divided.test", "/red/v1/chat/completions", KEYS[RED])],
    ),
    Attack(
        "more than one's part of a host that is divided",
        [backend("x", expose={"hostnames": ["divided.test"]}), open_("x")],
        ("Backend", "x", "Accepted", "False NotAllowed"),
        [
            Try("200 red", "divided.test", "/red/v1/chat/completions", KEYS[RED]),
            Try("404 unknown_host", "divided.test"),
        ],
    ),
    Attack(
        "a prefix that leads out of one's own",
        [backend("x", expose={"pathPrefix": "/$BLUE/../$RED/own/v1"}), open_("x")],
        ("Backend", "x", "Accepted", "False Invalid"),
        [Try("200 red", path="/$RED/own/v1/chat/completions", key=KEYS[RED])],
    ),
    Attack(
        "a prefix that leads out of one's own, encoded",
        [backend("x", expose={"pathPrefix": "/$BLUE/%2e%2e/$RED/own/v1"}), open_("x")],
        ("Backend", "x", "Accepted", "False Invalid"),
        [Try("200 red", path="/$RED/own/v1/chat/completions", key=KEYS[RED])],
    ),
]

OVERRIDE = [
    Attack(
        "a Policy on a name that only red has",
        [policy("x", at("Backend", "inner"), **OPEN)],
        ("Policy", "x", "Accepted", "False TargetNotFound"),
    ),
    Attack(
        "no authentication, by Override, on a route that a grant permits",
        [GUEST, policy("lift", at("HTTPRoute", "guest"), precedence="Override", **OPEN)],
        ("Policy", "lift", "Accepted", "False Conflicted"),
        [through("401 credentials_required"), through("200 red", KEYS[RED])],
        [grant("HTTPRoute", "Backend", "voice")],
    ),
    Attack(
        "callers of one's own on a route that a grant permits",
        [
            GUEST,
            policy("lift", at("HTTPRoute", "guest"), authentication={"keys": [{"secretRef": {"name": "callers"}}]}),
        ],
        ("Policy", "lift", "Accepted", "False Conflicted"),
        [through("401 invalid_api_key", KEYS[BLUE]), through("200 red", KEYS[RED])],
        [grant("HTTPRoute", "Backend", "voice")],
    ),
    Attack(
        "no authentication, by Override, on a Gateway of one's own before a route that a grant permits",
        [
            GATEWAY,
            route("mine", "app.red.test", TO_RED, parent={"name": "mine"}),
            policy("lift", at("Gateway", "mine"), precedence="Override", **OPEN),
        ],
        ("Policy", "lift", "Accepted", "False Conflicted"),
        [Try("401 credentials_required", "app.red.test", gateway="blue/mine")],
        [grant("HTTPRoute", "Backend", "voice")],
    ),
    Attack(
        "a Policy on the whole fleet",
        [policy("fleet", at("GatewayClass", "tidegate"), precedence="Override", **OPEN)],
        ("Policy", "fleet", "Accepted", "False NotAllowed"),
        [*REDS_HOST, *REDS_FRONT],
    ),
    Attack(
        "limits for another's callers",
        [
            policy(
                "x",
                at("Backend", "voice"),
                subjects=[{"team": "gold"}],
                limits={"requests": [{"max": 1, "per": "Day"}]},
            )
        ],
        ("Policy", "x", "Enforced", "False NoSuchCallers"),
        REDS_HOST * 2,
    ),
]


def crowd(first: int) -> list[Json]:
    """Providers in 32 namespaces of which none is there."""
    names = [f"invented-{number}" for number in range(first, first + 32)]
    return [{"name": name, "custom": {"service": {"name": "inner", "namespace": name, "port": 80}}} for name in names]


HOSTILE = [
    Attack(
        "more namespaces than anybody can watch",
        [backend(f"x{number}", providers=crowd(32 * number), expose={}) for number in range(4)],
        ("Backend", "x3", "ResolvedRefs", "False RefNotPermitted"),
        [Try("500 configuration_error", path=own("x3"))],
    ),
    Attack(
        "a regular expression that would run for ever",
        [
            route(
                "guest",
                "guest.blue.test",
                to_backend("own"),
                matches=[{"path": {"type": "RegularExpression", "value": "/(a+)+$"}}],
            )
        ],
        ("HTTPRoute", "guest", "Accepted", "True Accepted"),
        [Try("404 unknown_host", "guest.blue.test", "/" + "a" * 4000 + "!", gateway=SHARED)],
    ),
    Attack(
        "a regular expression that takes all memory",
        [
            route(
                "guest",
                "guest.blue.test",
                to_backend("own"),
                matches=[{"path": {"type": "RegularExpression", "value": "/((a{1,100}){1,100}){1,100}"}}],
            )
        ],
        ("HTTPRoute", "guest", "Accepted", "False Invalid"),
        [through("404 unknown_host")],
    ),
    Attack(
        "a template that reads what it must not",
        [
            policy(
                "x",
                at("Backend", "own"),
                transformation={"request": {"set": [{"name": "x-env", "value": "${env.HOME}"}]}},
            )
        ],
        ("Policy", "x", "Accepted", "False Invalid"),
    ),
]

ATTACKS = [*READ, *ROUTE_TO, *OVERRIDE, *HOSTILE]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda each: each.what)
def test_red_is_as_if_there_were_no_attack(tenants: Tenants, attack: Attack) -> None:
    with tenants.having(RED, *attack.granted):
        before = tenants.versions(RED)
        with tenants.having(BLUE, *attack.documents):
            tenants.says(BLUE, *attack.says)
            tenants.settle()
            found = [str(tenants.ask(each.host, each.path, each.key, each.gateway)) for each in attack.tries]
            assert found == [each.gets for each in attack.tries]
            assert str(tenants.ask("red.test", key=KEYS[RED])) == "200 red"
            assert str(tenants.ask("app.red.test", key=KEYS[RED], gateway=SHARED)) == "200 red"
            after = tenants.versions(RED)
        assert after == before
    tenants.settle()


REFUSED = {
    "a Secret with a namespace": (
        backend(
            "x", providers=[{"name": "a", "openai": {}, "auth": {"secretRef": {"name": "vault", "namespace": "$RED"}}}]
        ),
        ".namespace: field not declared in schema",
    ),
    "a Secret by a path": (
        backend("x", providers=[{"name": "a", "openai": {}, "auth": {"secretRef": {"name": "$RED/vault"}}}]),
        "spec.providers[0].auth.secretRef.name",
    ),
    "keys with a namespace": (
        policy(
            "x", at("Backend", "own"), authentication={"keys": [{"secretRef": {"name": "vault", "namespace": "$RED"}}]}
        ),
        ".namespace: field not declared in schema",
    ),
    "a target with a namespace": (
        policy("x", at("Backend", "voice", namespace="$RED"), **OPEN),
        ".namespace: field not declared in schema",
    ),
    "a target by a path": (policy("x", at("Backend", "$RED/voice"), **OPEN), "spec.targetRefs[0].name"),
    "a caller with a namespace": (
        policy(
            "x",
            at("Backend", "own"),
            subjects=[{"key": "ci-bot", "namespace": "$RED"}],
            limits={"requests": [{"max": 1, "per": "Day"}]},
        ),
        ".namespace: field not declared in schema",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_there_is_no_field_for_it(tenants: Tenants, what: str) -> None:
    written, expected = REFUSED[what]
    assert tenants.filled(expected) in tenants.refused(BLUE, written)


@pytest.mark.parametrize("name", ["voice", "nothing"])
def test_what_is_refused_does_not_tell_what_there_is(tenants: Tenants, name: str) -> None:
    """Red's Backend `voice` exists, `nothing` does not: blue is told the same."""
    with tenants.having(BLUE, route("guest", "guest.blue.test", to_backend(name, "$RED"))):
        message = tenants.says(BLUE, "HTTPRoute", "guest", "ResolvedRefs", "False RefNotPermitted")
    assert message.replace(name, "NAME") == tenants.filled(
        "spec.rules[0].backendRefs[0].namespace: Backend $RED/NAME is in another namespace, and no ReferenceGrant "
        "there lets HTTPRoutes of $BLUE refer to it; ask its owner for one, or move the route there"
    )


def test_the_owner_of_a_namespace_has_no_rights_elsewhere(tenants: Tenants) -> None:
    owner, red, install = tenants.owners[BLUE], tenants.namespaces[RED], tenants.install.namespace
    attempts = [
        ("get", "secret", "-n", red, "upstream"),
        ("get", "tgb,tgp", "-n", red),
        ("delete", "tgp", "-n", red, "guard"),
        ("get", "secret", "-n", install, "tidegate-boot"),
        ("get", "secret", "-n", install, "tidegate-ca"),
        ("patch", "gatewayclass", "tidegate", "--type=merge", "-p", "{}"),
        ("get", "backends", "--all-namespaces"),
    ]
    for attempt in attempts:
        assert "Forbidden" in tenants.cluster.refused(*attempt, kubeconfig=owner)


ADDRESSES = {
    "metadata": "http://169.254.169.254/v1",
    "metadata, of six": "http://[fd00:ec2::254]/v1",
    "metadata, mapped": "http://[::ffff:169.254.169.254]/v1",
    "the API server's Service": "http://10.96.0.1/v1",
    "a private network": "http://192.168.1.1/v1",
    "carrier-grade": "http://100.64.0.1/v1",
    "another address of loopback": "http://127.0.0.2:$PORT/v1",
    "loopback of six": "http://[::1]:$PORT/v1",
    "nothing": "http://0.0.0.0:$PORT/v1",
    "a number": "http://2130706434:$PORT/v1",
}


@pytest.mark.parametrize("what", ADDRESSES)
def test_addresses_of_the_machine_are_out_of_reach(tenants: Tenants, what: str) -> None:
    """Blue may reach 127.0.0.1, and so nothing else of these, not even where somebody listens."""
    url = ADDRESSES[what].replace("$PORT", str(tenants.providers[RED].port))
    provider = {"name": "a", "openai": {}, "url": url, "auth": {"secretRef": {"name": "upstream"}}}
    x = backend("x", providers=[provider], expose={})
    with tenants.having(BLUE, x, open_("x")):
        tenants.says(BLUE, "Policy", "x", "Accepted", "True Accepted")
        tenants.settle()
        answer = str(tenants.ask(path=own("x")))
        assert answer in ("502 upstream_address_refused", "500 configuration_error")


def test_without_leave_there_is_no_loopback(tenants: Tenants) -> None:
    """The platform's own namespace has none: leave is given by namespace."""
    url = tenants.providers[BLUE].url.replace("127.0.0.1", "localhost")  # a name, so that it is found out by dialling
    x = backend("x", providers=[{"name": "a", "openai": {}, "url": url, "auth": {"passthrough": {}}}], expose={})
    tenants._apply_as_admin("platform", x)
    tenants.says("platform", "Backend", "x", "Ready", "True Ready")
    tenants.settle()
    assert str(tenants.ask(path="/$PLATFORM/x/v1/chat/completions")) == "502 upstream_address_refused"


def tls_gateway(namespace: str) -> Json:
    ref = {"name": "cert", "namespace": namespace}
    web = {
        "name": "web",
        "port": 443,
        "protocol": "HTTPS",
        "hostname": "app.red.test",
        "tls": {"certificateRefs": [ref]},
    }
    return document("Gateway", "secure", spec={"gatewayClassName": "tidegate", "listeners": [web]})


def test_a_certificate_of_another_namespace(tenants: Tenants) -> None:
    ca = tenants.install.folder / "tls" / "ca.crt"
    context = ssl.create_default_context(cafile=str(ca))
    with tenants.having(
        BLUE, tls_gateway("$RED"), route("tls", "app.red.test", to_backend("own"), parent={"name": "secure"})
    ):
        tenants.says(BLUE, "Gateway", "secure", "ResolvedRefs", "False RefNotPermitted")
        tenants.settle()
        address = tenants.address("blue/secure", 443)
        with pytest.raises((ssl.SSLError, OSError)):
            asking.ask(address, host="app.red.test", key=KEYS[BLUE], tls=context)
        with tenants.having(RED, grant("Gateway", "Secret", "cert")):
            tenants.says(BLUE, "Gateway", "secure", "ResolvedRefs", "True ResolvedRefs")
            tenants.settle()
            answer = asking.ask(address, host="app.red.test", key=KEYS[BLUE], tls=context)
            assert str(answer) == "200 blue"
        tenants.says(BLUE, "Gateway", "secure", "ResolvedRefs", "False RefNotPermitted")
        tenants.settle()
        with pytest.raises((ssl.SSLError, OSError)):
            asking.ask(address, host="app.red.test", key=KEYS[BLUE], tls=context)


def test_equal_names_and_keys_are_different_callers(tenants: Tenants) -> None:
    """Both have a caller `ci-bot` with keys of their own, and a caller `twin` with the same key."""
    assert str(tenants.ask("red.test", key=KEYS[BLUE])) == "401 invalid_api_key"
    assert str(tenants.ask("blue.test", key=KEYS[RED])) == "401 invalid_api_key"
    once = policy(
        "once", at("Backend", "voice"), subjects=[{"key": "twin"}], limits={"requests": [{"max": 1, "per": "Day"}]}
    )
    with tenants.having(BLUE, once):
        tenants.says(BLUE, "Policy", "once", "Enforced", "True Enforced")
        tenants.settle()
        found = [str(tenants.ask(f"{name}.test", key=TWIN)) for name in (BLUE, BLUE, RED, RED)]
    assert found == ["200 blue", "429 limit_exceeded", "200 red", "200 red"]


def test_providers_see_only_their_own_credential(tenants: Tenants) -> None:
    for name in (RED, BLUE):
        tenants.ask(f"{name}.test", key=KEYS[name])
        assert set(tenants.providers[name].shown) == {f"Bearer {CREDENTIALS[name]}"}


def test_what_was_used_is_counted_apart(tenants: Tenants) -> None:
    """By namespace, which is in the names of Backends: as often as the provider was asked, and for its own callers."""
    for name in (RED, RED, BLUE):
        assert tenants.ask(f"{name}.test", key=KEYS[name]).status == 200
    billed = {name: sum(tenants.providers[name].shown.values()) * 10 for name in (RED, BLUE)}

    def counted() -> dict[str, int]:
        text = processes.fetch(f"http://{tenants.gateway.ports['admin']}/metrics")
        found: Counter[str] = Counter()
        for labels, value in re.findall(
            r"^gen_ai_client_inference_usage_input_tokens_total\{(.*)\} (\S+)$", text, re.M
        ):
            namespace = re.search(r'backend="([^/"]*)/', labels)
            assert namespace, labels
            found[{each: name for name, each in tenants.namespaces.items()}[namespace[1]]] += int(float(value))
        return dict(found)

    until(lambda: counted() == billed, lambda: f"{counted()} instead of {billed}")
