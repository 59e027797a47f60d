"""What a gateway says that it serves: URLs that a user can copy."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from pydantic import SecretStr

from dataplane.http.proxies import Proxies
from dataplane.table import (
    Authentication,
    AuthenticationMode,
    Backend,
    CallerSet,
    Forward,
    Issuer,
    Location,
    Match,
    PathType,
    PolicySet,
    Provider,
    Route,
    RouteType,
    Table,
)
from dataplane.upstreams.egress import egress_proxy
from tidegate.addresses import Address
from tidegate.assembly import Settings
from tidegate.banner import lines, settings

PATHS = (
    PathType(suffix="/v1/chat/completions", type=RouteType.COMPLETIONS),
    PathType(suffix="/v1/realtime", type=RouteType.REALTIME),
    PathType(suffix="*", type=RouteType.PASSTHROUGH),
)
BACKEND = Backend(name="ai/voice", providers=(Provider(name="a", kind="openai", url="http://a"),), paths=PATHS)
NOBODY = PolicySet()
EVERYBODY = PolicySet(authentication=Authentication(policy="", mode=AuthenticationMode.NONE))
OPTIONAL = PolicySet(authentication=Authentication(policy="ai/p", mode=AuthenticationMode.OPTIONAL))
CALLERS = (
    CallerSet(id="keys", namespace="ai"),
    CallerSet(id="tokens", namespace="ai", issuer=Issuer(name="https://idp.example.com", audiences=("tidegate",))),
)


def required(*callers: str, location: Location | None = None) -> PolicySet:
    authentication = Authentication(policy="ai/p", mode=AuthenticationMode.REQUIRED, callers=callers, location=location)
    return PolicySet(authentication=authentication)


def shown(*routes: Route, backend: Backend = BACKEND, host: str = "127.0.0.1", tls: bool = False) -> str:
    return "\n".join(lines(Table(backends=(backend,), routes=routes, callers=CALLERS), Address(host, 80), tls=tls))


def route(policies: PolicySet = EVERYBODY, **changes: object) -> Route:
    first = Route(name="ai/voice", forwards=(Forward(backend="ai/voice", policies=policies),))
    return first.model_copy(update=changes)


def urls(text: str) -> list[str]:
    return [line.split()[-1] for line in text.splitlines() if "://" in line]


@pytest.mark.parametrize(
    ("match", "strip", "expected"),
    [
        (Match(path="/"), "", ["http://{}/v1/chat/completions", "ws://{}/v1/realtime", "http://{}/*"]),
        (Match(path="/ai"), "/ai", ["http://{}/ai/v1/chat/completions", "ws://{}/ai/v1/realtime", "http://{}/ai/*"]),
        (Match(path="/v1"), "/v1", ["http://{}/v1/v1/chat/completions", "ws://{}/v1/v1/realtime", "http://{}/v1/*"]),
        (Match(path="/v1"), "", ["http://{}/v1/chat/completions", "ws://{}/v1/realtime", "http://{}/v1/*"]),
        (Match(path="/v1/realtime"), "", ["ws://{}/v1/realtime"]),
        (Match(path="/v1/realtime", path_kind="exact"), "", ["ws://{}/v1/realtime"]),
        (Match(path="/v1/files", path_kind="exact"), "", ["http://{}/v1/files"]),
    ],
)
def test_urls_by_type(match: Match, strip: str, expected: list[str]) -> None:
    text = shown(route(matches=(match,), strip_prefix=strip))
    assert urls(text) == [url.format("127.0.0.1:80") for url in expected]


def test_hosts_and_tls() -> None:
    text = shown(route(hostnames=("voice.example.com",)), tls=True)
    assert urls(text)[:2] == [
        "https://voice.example.com:80/v1/chat/completions",
        "wss://voice.example.com:80/v1/realtime",
    ]


def test_every_interface_is_shown_as_one_that_can_be_called() -> None:
    assert urls(shown(route(), host="0.0.0.0"))[1] == "ws://127.0.0.1:80/v1/realtime"


@pytest.mark.parametrize(
    ("policies", "words"),
    [
        (NOBODY, "callers: refused, until a Policy says"),
        (EVERYBODY, "callers: everybody"),
        (OPTIONAL, "callers: with or without a key (Policy ai/p)"),
        (required("keys"), "callers: with a key (Policy ai/p)"),
        (required("tokens"), "callers: with a token (Policy ai/p)"),
        (required("keys", "tokens"), "callers: with a key or a token (Policy ai/p)"),
        (required("keys", location=Location(kind="header", name="x-k")), "with a key, in the header x-k (Policy"),
        (required("keys", location=Location(kind="query", name="k")), "with a key, in the query parameter k (Policy"),
    ],
)
def test_who_may_call(policies: PolicySet, words: str) -> None:
    assert words in shown(route(policies))


def test_what_answers_500_says_so() -> None:
    assert "answers 500: no such thing" in shown(route(error="no such thing", forwards=()))
    assert "Backend ai/voice answers 500: broken" in shown(
        route(), backend=BACKEND.model_copy(update={"error": "broken"})
    )
    assert "Backend ai/gone answers 500: it is not there" in shown(route(forwards=(Forward(backend="ai/gone"),)))


def test_shares_are_shown_where_there_are_several() -> None:
    text = shown(route(forwards=(Forward(backend="ai/voice", weight=3), Forward(backend="ai/voice", weight=1))))
    assert "weight 3" in text
    assert "weight" not in shown(route())


def test_nothing_is_served() -> None:
    assert "Nothing is served" in shown()


HERE = Address("127.0.0.1", 80)


def test_settings_that_were_not_set_are_not_shown() -> None:
    assert settings(Settings(), {}) == {}


def test_settings_are_shown_without_secrets() -> None:
    options = Settings(
        usage_sink="https://u/hook?token=SECRET",
        admin_token=SecretStr("SECRET"),
        max_sessions=5,
        egress=egress_proxy("http://me@proxy.example:3128", "SECRET"),
        state="redis://:SECRET@redis.example:6379/1",
    )
    assert "redis" not in repr(options)
    assert "Basic" not in repr(options)
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://me:SECRET@c:4318",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://l:4318/v1/logs",
    }
    assert settings(options, variables) == {
        "usage_sink": "https://u/hook",
        "state": "redis://redis.example:6379/1",
        "otlp": "metrics, traces to http://c:4318; logs to http://l:4318/v1/logs",
        "admin_token": "set",
        "max_sessions": 5,
        "upstream_proxy": "proxy.example:3128",
    }


@pytest.mark.parametrize(("protocol", "words"), [(False, ""), (True, " (PROXY protocol)")])
def test_proxies_that_are_believed_are_shown(protocol: bool, words: str) -> None:
    networks = [ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")]
    options = Settings(proxies=Proxies(networks, protocol=protocol))
    assert settings(options, {}) == {"trust_proxy": f"10.0.0.0/8, 2001:db8::/32{words}"}


def test_signals_that_are_asked_for_alone() -> None:
    shown = settings(Settings(), {"OTEL_TRACES_EXPORTER": "otlp"})
    assert shown == {"otlp": "traces to http://localhost:4318"}
