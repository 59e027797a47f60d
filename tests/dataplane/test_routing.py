"""Which route serves a request: the precedence of Gateway API."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from dataplane.errors import Refusal
from dataplane.http.paths import normalised
from dataplane.routing import Candidate, Router, model_of, path_type
from dataplane.table import Attachment, Backend, Listener, Match, NameMatch, PathType, Route, RouteType
from tests.dataplane.rig import ACCOUNT


def route(name: str, *matches: Match, hosts: tuple[str, ...] = ()) -> Route:
    return Route(name=name, hostnames=hosts, matches=matches or (Match(),))


def exact(path: str) -> Match:
    return Match(path=path, path_kind="exact")


def found(routes: list[Route], path: str, host: str = "a.test", method: str = "GET", query: str = "", **h: str) -> str:
    headers = CIMultiDict({name.replace("_", "-"): value for name, value in h.items()})
    best = Router(routes).match(host, path, method, headers, query)
    return best.name if best else ""


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("a.b.test", "exact"),
        ("A.B.test.:8080", "exact"),
        ("x.b.test", "long"),
        ("y.x.b.test", "long"),
        ("b.test", "short"),
        ("test", "any"),
        ("", "any"),
        ("127.0.0.1:80", "any"),
        ("[::1]:80", "v6"),
        ("[::1]", "v6"),
        ("x." * 300 + "b.test", "long"),
    ],
)
def test_hosts(host: str, expected: str) -> None:
    routes = [
        route("any"),
        route("short", hosts=("*.test",)),
        route("long", hosts=("*.b.test",)),
        route("exact", hosts=("a.b.test",)),
        route("v6", hosts=("[::1]",)),
    ]
    assert found(routes, "/", host) == expected


def test_listeners_of_a_port_by_their_hostnames() -> None:
    names = {"any": "", "wide": "*.test", "long": "*.b.test", "exact": "a.b.test"}
    listeners = [Listener(name=name, port=1, public_port=80, hostname=host) for name, host in names.items()]
    router = Router([], [*listeners, Listener(name="other", port=2, public_port=80, hostname="a.test")])
    hosts = ["test", "b.test", "x.b.test", "A.b.test.:80", "[::1]:80", ""]
    found = [router.listener(1, host) for host in hosts]
    assert [each and each.name for each in found] == ["any", "wide", "long", "exact", "any", "any"]
    assert [router.listener(2, "b.test"), router.listener(3, "a.test")] == [None, None]


def test_a_route_on_several_listeners_has_hostnames_of_its_own_on_each() -> None:
    listeners = [Listener(name=f"l{port}", port=port, public_port=80) for port in (1, 2, 3)]
    places = (Attachment(listener="l1", hostnames=("a.test", "*.b.test")), Attachment(listener="l2"))
    routes = [Route(name="r", hostnames=("own.test",), attached=places), route("own")]
    router = Router(routes, listeners)
    hosts = ["a.test", "x.b.test", "own.test"]
    found = {
        port: [met.name if met else "" for host in hosts for met in [router.match(host, "/", "GET", {}, "", port)]]
        for port in (0, 1, 2, 3)
    }
    assert found == {0: ["own"] * 3, 1: ["r", "r", ""], 2: ["r"] * 3, 3: [""] * 3}


def test_a_better_host_without_a_matching_path_does_not_hide_another() -> None:
    routes = [route("any"), route("exact", exact("/only"), hosts=("a.test",))]
    assert found(routes, "/only") == "exact"
    assert found(routes, "/other") == "any"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/chat", "exact"),
        ("//v1/ch%61t/", "exact"),
        ("/v1/chat/x", "long"),
        ("/v1/x", "short"),
        ("/v1", "short"),
        ("/v12", "regex"),
        ("/", "root"),
        ("/v2/chat", "root"),
    ],
)
def test_paths(path: str, expected: str) -> None:
    routes = [
        route("regex", Match(path="/v1[2-9]", path_kind="regex"), hosts=("a.test",)),
        route("root", Match(path="/v2"), exact("/")),
        route("short", Match(path="/v1/")),
        route("long", Match(path="/v1/chat")),
        route("exact", exact("/v1/chat")),
    ]
    assert found(routes, path) == expected


def test_prefixes_beat_regular_expressions_and_those_match_whole_paths() -> None:
    routes = [route("regex", Match(path="/a.*", path_kind="regex")), route("prefix", Match(path="/ab"))]
    assert found(routes, "/ab") == "prefix"
    assert found(routes, "/ac") == "regex"
    assert found(routes, "/x/ac") == ""


def test_method_then_headers_then_query_then_order() -> None:
    one = (NameMatch(name="x-a", value="1"),)
    two = (*one, NameMatch(name="x-b", value="2.*", regex=True))
    asked = (NameMatch(name="q", value="1"),)
    routes = [
        route("first"),
        route("second"),
        route("query", Match(query=asked)),
        route("one", Match(headers=one)),
        route("one and query", Match(headers=one, query=asked)),
        route("two", Match(headers=two)),
        route("method", Match(method="POST")),
    ]
    assert found(routes, "/") == "first"
    assert found(routes, "/", query="q=1") == "query"
    assert found(routes, "/", query="q=1&q=2") == "query"
    assert found(routes, "/", query="q=2") == "first"
    assert found(routes, "/", X_A="1") == "one"
    assert found(routes, "/", X_A="1", query="q=%31") == "one and query"
    assert found(routes, "/", X_A="1", x_b="23", query="q=1") == "two"
    assert found(routes, "/", X_A="1", x_b="13") == "one"
    assert found(routes, "/", method="POST", X_A="1", x_b="23") == "method"


def test_any_match_of_a_route_suffices() -> None:
    routes = [route("r", exact("/a"), Match(path="/b", method="POST"))]
    assert [found(routes, "/a"), found(routes, "/b", method="POST"), found(routes, "/b")] == ["r", "r", ""]


def test_a_bad_regular_expression_names_its_route() -> None:
    with pytest.raises(ValueError, match="route ai/r: "):
        Router([route("ai/r", Match(path="(", path_kind="regex"))])


segment = st.sampled_from(["a", "b", "v1", "chat"])
path = st.lists(segment, max_size=4).map(lambda parts: "/" + "/".join(parts))
match = st.builds(Match, path=path, path_kind=st.sampled_from(["exact", "prefix"]), method=st.sampled_from(["", "GET"]))
routes_of = st.lists(st.builds(lambda ms: tuple(ms), st.lists(match, min_size=1, max_size=3)), max_size=8)


@given(routes_of, path, st.sampled_from(["GET", "POST"]))
def test_the_index_agrees_with_a_walk_through_all_routes(
    matches: list[tuple[Match, ...]], asked: str, method: str
) -> None:
    routes = [route(str(place), *group) for place, group in enumerate(matches)]
    candidates = [
        ((m.path_kind == "prefix", -len(m.path) * (m.path_kind == "prefix"), not m.method, place), str(place))
        for place, group in enumerate(matches)
        for m in group
        if (m.path == asked if m.path_kind == "exact" else (asked + "/").startswith(m.path.rstrip("/") + "/"))
        and m.method in ("", method)
    ]
    assert found(routes, asked, method=method) == (min(candidates)[1] if candidates else "")


def test_deep_paths_cost_no_more_than_the_deepest_route() -> None:
    deep = "/a" * 16_000
    assert found([route("r", Match(path="/a/a"))], deep) == "r"


# -- how a path is handled ---------------------------------------------------------------------------------------

BACKEND = Backend(
    name="ai/voice",
    paths=(
        PathType(suffix="/v1/realtime/client_secrets/mine", type=RouteType.PASSTHROUGH),
        PathType(suffix="/v1/chat/completions", type=RouteType.COMPLETIONS),
        PathType(suffix="/v1/realtime", type=RouteType.REALTIME),
        PathType(suffix="*", type=RouteType.PASSTHROUGH),
    ),
    refused=ACCOUNT,
)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("/v1/chat/completions", RouteType.COMPLETIONS),
        ("/openai//v1/chat/completions/", RouteType.COMPLETIONS),
        ("/v1/realtime", RouteType.REALTIME),
        ("/xv1/realtime", RouteType.PASSTHROUGH),
        ("/v1/realtime/calls", RouteType.PASSTHROUGH),
        ("/v1/realtime/client_secrets/mine", RouteType.PASSTHROUGH),
        ("/v1/organizations", RouteType.PASSTHROUGH),
        ("/", RouteType.PASSTHROUGH),
    ],
)
def test_types(asked: str, expected: RouteType) -> None:
    assert path_type(BACKEND, asked) == expected


@pytest.mark.parametrize(
    "asked",
    [
        "/v1/realtime/client_secrets",
        "//v1//Realtime/%63lient_secrets/",
        "/x/v1/realtime/client_secrets",
        "/v1alpha/auth_tokens",
        "/v1/organization",
        "/v1/organization/admin_api_keys",
        "/V1/ORGANIZATION/x",
        "/v1/realtime;a=b/client_secrets",
        "/v1/realtime/client_secret%C5%BF",  # folds to an s
        "/v1/realtime/client_secrets.",
        "/v1/realtime/client_secrets%3Fx",
        "/v1/realtime/client_secrets%23x",
        "/v1/realtime/%20client_secrets",
        "/v1/realtime/client_%E2%80%8Bsecrets",  # a space of no width
        "/v1/realtime/%2563lient_secrets",
        "/v1/realtime/%252563lient_secrets",
        "/v1/realtime/client_secrets%253Bx",
        "/v1/realtime%25252Fclient_secrets",
    ],
)
def test_account_paths_are_refused(asked: str) -> None:
    with pytest.raises(Refusal) as refused:
        path_type(BACKEND, asked)
    assert refused.value.code == "path_not_allowed"


def test_undeclared_paths_are_told_what_there_is() -> None:
    with pytest.raises(Refusal, match=r"/v1/chat/completions \(Completions\)") as refused:
        path_type(BACKEND.model_copy(update={"paths": BACKEND.paths[:3]}), "/v1/files")
    assert refused.value.code == "undeclared_path"


@pytest.mark.parametrize(
    ("asked", "model"),
    [
        ("/v1/models", ""),
        ("/models/", ""),
        ("/api/v1/models", ""),
        ("//V1//Models", ""),
        ("/v1/models;x", ""),
        ("/v1/%256dodels", ""),
        ("/v1/mo%E2%80%8Bdels", ""),  # a space of no width
        ("/v1/models/gpt-5", "gpt-5"),
        ("/models/gpt-5", "gpt-5"),
        ("/v1/Models/GPT-5;x", "GPT-5;x"),
        ("/v1/models/anthropic/claude-x", "anthropic/claude-x"),
        ("/v1/models/models", "models"),
        ("/v1beta/models", None),
        ("/x/models", None),
        ("/v1/modelsx", None),
        ("/v1/model", None),
    ],
)
def test_models_are_listed_here_whatever_is_declared(asked: str, model: str | None) -> None:
    assert model_of(normalised(asked)) == model
    declared = BACKEND.model_copy(update={"paths": BACKEND.paths[:3]})
    if model is not None:
        assert path_type(BACKEND, asked) == path_type(declared, asked) == RouteType.MODELS
    else:
        assert path_type(BACKEND, asked) == RouteType.PASSTHROUGH


def test_a_declared_path_keeps_its_type() -> None:
    paths = (PathType(suffix="/v1/models", type=RouteType.PASSTHROUGH),)
    declared = BACKEND.model_copy(update={"paths": paths})
    assert path_type(declared, "/v1/models") == RouteType.PASSTHROUGH
    assert path_type(declared, "/v1/models/gpt-5") == RouteType.MODELS


@pytest.mark.parametrize(
    ("method", "asked", "expected"),
    [
        ("POST", "/v1/models/gemini:generateContent", RouteType.PASSTHROUGH),
        ("POST", "/v1/models", RouteType.MODELS),
        ("DELETE", "/v1/models/ft-1", RouteType.MODELS),
    ],
)
def test_a_model_that_is_run_by_its_path_is_not_listed(method: str, asked: str, expected: RouteType) -> None:
    assert path_type(BACKEND, asked, method) == expected
    assert path_type(BACKEND.model_copy(update={"paths": BACKEND.paths[:3]}), asked, method) == RouteType.MODELS


@pytest.mark.parametrize("by", ["host", "path", "header"])
def test_the_number_of_routes_does_not_matter(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried for one request is the same among ten routes and among two thousand."""
    tried: list[str] = []
    holds = Candidate.holds

    def noted(self: Candidate, method: str, headers: Mapping[str, str], query: str) -> bool:
        tried.append(self.route.name)
        return holds(self, method, headers, query)

    monkeypatch.setattr(Candidate, "holds", noted)
    for count in (10, 2000):
        tried.clear()
        path = "/v1/realtime" if by == "host" else "/p5/v1/realtime"
        assert _router(by, count).match("h5.test", path, "GET", CIMultiDict({"x": "5"}), "") is not None
        assert len(tried) <= 2, tried


def _router(by: str, count: int) -> Router:
    def one(number: int) -> Route:
        hosts = (f"h{number}.test",) if by == "host" else ()
        path = f"/p{number}" if by != "host" else "/"
        plain = Match(path=path)
        special = Match(path=path, headers=(NameMatch(name="x", value=str(number)),))
        return Route(name=str(number), hostnames=hosts, matches=(special, plain) if by == "header" else (plain,))

    return Router([one(number) for number in range(count)])
