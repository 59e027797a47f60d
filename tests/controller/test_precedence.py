"""Which HTTPRoute serves a request at a Gateway: the compiler and the data plane's router together, against a reference
that tries everything and knows the rules of Gateway API only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from controller import compile as compiler
from controller.compile import Install
from dataplane.routing import Router

Document = dict[str, Any]
Extra = tuple[str, dict[str, str], str]
"""Method, headers and query."""
GROUP = "gateway.networking.k8s.io"
HOSTNAMES = ["a.test", "b.a.test", "*.a.test", "*.b.a.test", "*.test"]
ASKED = ["/", "/p", "/p/q/r", "/x"]
HOSTS = ["a.test", "b.a.test", "x.a.test", "y.b.a.test", "c.test", "test"]
PATHS = [
    ("Exact", "/p"),
    ("PathPrefix", "/"),
    ("PathPrefix", "/p"),
    ("PathPrefix", "/p/q"),
    ("RegularExpression", "/p.*"),
]
BACKEND = {
    "apiVersion": "tidegate.dev/v1alpha1",
    "kind": "Backend",
    "metadata": {"name": "b", "namespace": "ai"},
    "spec": {"providers": [{"name": "a", "openai": {}}]},
}
CLASS = {
    "apiVersion": f"{GROUP}/v1",
    "kind": "GatewayClass",
    "metadata": {"name": "tidegate"},
    "spec": {"controllerName": "tidegate.dev/controller"},
}


class Asked(NamedTuple):
    port: int
    host: str
    path: str
    method: str
    headers: Mapping[str, str]
    query: str


def subset(choices: Sequence[object]) -> st.SearchStrategy[list[object]]:
    return st.lists(st.sampled_from(choices), max_size=2, unique=True)


matches = st.builds(
    lambda path, method, headers, query: {
        "path": {"type": path[0], "value": path[1]},
        **({"method": method} if method else {}),
        "headers": [{"name": name, "value": "1"} for name in headers],
        "queryParams": [{"name": name, "value": "1"} for name in query],
    },
    st.sampled_from(PATHS),
    st.sampled_from(["", "GET"]),
    subset(["x-a", "x-b"]),
    subset(["q", "r"]),
)


@st.composite
def gateways(draw: st.DrawFn) -> Document:
    """Listeners on two ports, all told apart."""
    places = draw(
        st.lists(
            st.tuples(st.sampled_from([80, 81]), st.sampled_from(["", *HOSTNAMES])), min_size=1, max_size=5, unique=True
        )
    )
    listeners = [
        {"name": f"l{index}", "port": port, "protocol": "HTTP", **({"hostname": host} if host else {})}
        for index, (port, host) in enumerate(places)
    ]
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Gateway",
        "metadata": {"name": "g", "namespace": "ai"},
        "spec": {"gatewayClassName": "tidegate", "listeners": listeners},
    }


@st.composite
def httproutes(draw: st.DrawFn, name: str) -> Document:
    sections = draw(subset(["l0", "l1", "l2"])) if draw(st.booleans()) else [None]
    rules = draw(st.lists(st.lists(matches, min_size=1, max_size=2), min_size=1, max_size=2))
    ref = {"group": "tidegate.dev", "kind": "Backend", "name": "b"}
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": name,
            "namespace": "ai",
            "creationTimestamp": f"2026-01-0{draw(st.integers(1, 2))}T00:00:00Z",
        },
        "spec": {
            "parentRefs": [{"name": "g", **({"sectionName": each} if each else {})} for each in sections],
            "hostnames": draw(subset(HOSTNAMES)),
            "rules": [{"matches": each, "backendRefs": [ref]} for each in rules],
        },
    }


extras = st.tuples(
    st.sampled_from(["GET", "POST"]),
    subset(["x-a", "x-b"]).map(lambda names: dict.fromkeys(map(str, names), "1")),
    subset(["q=1", "r=1", "q=2"]).map(lambda pairs: "&".join(map(str, pairs))),
)
ALL = ("GET", {"x-a": "1", "x-b": "1"}, "q=1&r=1")
"""What every match holds for."""


@given(gateways(), st.tuples(*(httproutes(name) for name in ("r", "s", "t"))), extras)
def test_the_route_that_gateway_api_says(gateway: Document, routes: tuple[Document, ...], extra: Extra) -> None:
    compiled = compiler.compile([CLASS, BACKEND, gateway, *routes], install=Install())
    router = Router(compiled.table.routes, compiled.table.listeners)
    targets = {each.public_port: each.port for each in compiled.table.listeners}
    for port, host, path, (method, headers, query) in product((80, 81), HOSTS, ASKED, (ALL, extra)):
        met = router.match(host, path, method, headers, query, targets.get(port, 1))
        wanted = reference(gateway, routes, Asked(port, host, path, method, headers, query))
        assert (met.name if met else "") == wanted


def reference(gateway: Document, routes: Sequence[Document], request: Asked) -> str:
    at = [each for each in gateway["spec"]["listeners"] if each["port"] == request.port]
    fitting = [each for each in at if is_for(each.get("hostname", ""), request.host)]
    if not fitting:
        return ""
    listener = max(fitting, key=lambda each: narrowness(each.get("hostname", "")))
    found: list[tuple[object, ...]] = []
    for route in routes:
        sections = [ref.get("sectionName", listener["name"]) for ref in route["spec"]["parentRefs"]]
        hostnames = [each for each in route["spec"]["hostnames"] or [""] if is_for(each, request.host)]
        if listener["name"] not in sections or not hostnames:
            continue
        metadata, own = route["metadata"], listener.get("hostname", "")
        host = max(narrowness(max(each, own, key=narrowness) if each else "") for each in hostnames)
        for index, rule in enumerate(route["spec"]["rules"]):
            for place, match in enumerate(rule["matches"]):
                if holds(match, request):
                    rank = (
                        *(-part for part in (*host, *merit(match))),
                        *(metadata["creationTimestamp"], metadata["name"], index, place),
                    )
                    found.append((*rank, f"ai/{metadata['name']}#{index}"))
    return str(min(found)[-1]) if found else ""


def is_for(hostname: str, host: str) -> bool:
    if hostname.startswith("*"):
        return host.endswith(hostname[1:]) and len(host) > len(hostname[1:])
    return hostname in ("", host)


def narrowness(hostname: str) -> tuple[int, int]:
    return (0 if not hostname else 1 if hostname.startswith("*") else 2), len(hostname)


def holds(match: Document, request: Asked) -> bool:
    kind, value = match["path"]["type"], match["path"]["value"]
    path = {
        "Exact": request.path == value,
        "PathPrefix": f"{request.path.rstrip('/')}/".startswith(f"{value.rstrip('/')}/"),
        "RegularExpression": request.path.startswith(value[:2]),
    }
    query = dict(pair.split("=") for pair in reversed(request.query.split("&")) if pair)
    return (
        path[kind]
        and match.get("method", request.method) == request.method
        and all(request.headers.get(each["name"]) == each["value"] for each in match["headers"])
        and all(query.get(each["name"]) == each["value"] for each in match["queryParams"])
    )


def merit(match: Document) -> tuple[int, ...]:
    kind, value = match["path"]["type"], match["path"]["value"]
    by_path = (["RegularExpression", "PathPrefix", "Exact"].index(kind), len(value) if kind == "PathPrefix" else 0)
    return *by_path, int("method" in match), len(match["headers"]), len(match["queryParams"])
