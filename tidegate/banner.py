"""What a gateway serves, and how it was set, in words for whoever started it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, get_args
from urllib.parse import urlsplit

from dataplane.http.proxies import Proxies
from dataplane.table import (
    Authentication,
    AuthenticationMode,
    Backend,
    Forward,
    Match,
    PathType,
    Route,
    RouteType,
    Table,
)
from dataplane.telemetry import environment
from dataplane.telemetry.environment import Signal
from tidegate.addresses import Address
from tidegate.assembly import Settings
from tidegate.wording import credential_words

NAMES: Final = {
    "usage_sink": "usage records go to",
    "state": "limits of scope Fleet are counted in",
    "otlp": "OTLP",
    "admin_token": "admin token",
    "max_sessions": "sessions at most",
    "upstream_proxy": "upstreams are called through",
    "trust_proxy": "proxies that are believed",
}
"""Of settings, for people."""
COLLECTOR: Final = "http://localhost:4318"
"""Where OpenTelemetry sends what is asked for without an endpoint."""


def lines(table: Table, address: Address, *, tls: bool) -> Iterator[str]:
    """Each route with its Backends, who may call, and its URLs by the type of the path."""
    backends = {backend.name: backend for backend in table.backends}
    for route in table.routes:
        yield f"{route.name}"
        if route.error:
            yield f"  answers 500: {route.error}"
        for forward in route.forwards:
            callers = _callers(forward.policies.authentication, table)
            yield from _forward(route, forward, backends.get(forward.backend), callers, address, tls=tls)
    if not table.routes:
        yield "Nothing is served: there is no usable Backend in these files."


def settings(options: Settings, variables: Mapping[str, str]) -> dict[str, str | int]:
    """What was set of `NAMES`, options and environment, without anything that is secret."""
    found: dict[str, str | int] = {
        "usage_sink": _bare(options.usage_sink),
        "state": _bare(options.state),
        "otlp": _otlp(variables),
        "admin_token": "set" if options.admin_token else "",
        "max_sessions": options.max_sessions,
        "upstream_proxy": str(Address(options.egress.host, options.egress.port)) if options.egress else "",
        "trust_proxy": _proxies(options.proxies),
    }
    return {name: value for name, value in found.items() if value}


def _proxies(proxies: Proxies) -> str:
    networks = ", ".join(map(str, proxies.networks))
    return f"{networks} (PROXY protocol)" if proxies.protocol else networks


def _otlp(variables: Mapping[str, str]) -> str:
    """The signals that are asked for, by where they go."""
    signals: dict[str, list[str]] = {}
    for signal in get_args(Signal):
        if environment.wanted(signal, variables):
            names = (f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
            endpoint = next((variables[name] for name in names if variables.get(name)), COLLECTOR)
            signals.setdefault(_bare(endpoint), []).append(signal)
    return "; ".join(f"{', '.join(names)} to {endpoint}" for endpoint, names in signals.items())


def _bare(url: str) -> str:
    """Without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that is none"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if url else ""


def _forward(
    route: Route, forward: Forward, backend: Backend | None, callers: str, address: Address, *, tls: bool
) -> Iterator[str]:
    if backend is None or forward.error or backend.error:
        error = forward.error or (backend.error if backend else "it is not there")
        yield f"  Backend {forward.backend} answers 500: {error}"
        return
    providers = ", ".join(f"{provider.name} ({provider.kind})" for provider in backend.providers)
    share = f", weight {forward.weight}" if len(route.forwards) > 1 else ""
    yield f"  to Backend {backend.name}{share}: {providers}; callers: {callers}"
    hosts = [f"{host}:{address.port}" for host in route.hostnames] or [str(address.reachable)]
    for kind, path in dict.fromkeys(each for match in route.matches for each in _paths(match, route, backend)):
        scheme = ("ws" if kind is RouteType.REALTIME else "http") + ("s" if tls else "")
        yield from (f"  {kind:<12} {scheme}://{host}{path}" for host in hosts)


def _paths(match: Match, route: Route, backend: Backend) -> Iterator[tuple[RouteType, str]]:
    """The paths that a match lets through, by their types: where it ends like a declared path, that one alone."""
    start = match.path.rstrip("/")
    if match.path_kind == "regex":
        yield from ((path.type, f" paths like {match.path}") for path in backend.paths)
        return
    own = next((path for path in backend.paths if path.suffix == "*" or start.endswith(path.suffix)), None)
    if match.path_kind == "exact" or (own and own.suffix != "*"):
        if own:
            yield own.type, start
        return
    for path in backend.paths:
        yield path.type, _below(start, path, stripped=bool(route.strip_prefix))


def _below(start: str, path: PathType, *, stripped: bool) -> str:
    """A declared path under a prefix, which it may have itself."""
    if path.suffix == "*":
        return f"{start}/*"
    return path.suffix if path.suffix.startswith(f"{start}/") and not stripped else start + path.suffix


def _callers(authentication: Authentication | None, table: Table) -> str:
    if authentication is None:
        return "refused, until a Policy says how they authenticate"
    if authentication.mode is AuthenticationMode.NONE:
        return "everybody"
    return f"{credential_words(authentication, table.callers)} (Policy {authentication.policy})"
