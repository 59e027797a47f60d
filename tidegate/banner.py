"""What a gateway serves, in words for whoever started it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from controller.compile import Condition, Status
from dataplane.table import Authentication, AuthenticationMode, Backend, Forward, Route, RouteType, Table
from tidegate.addresses import Address

_SCHEMES = {RouteType.REALTIME: "ws"}


def lines(table: Table, statuses: Iterable[Status], address: Address, *, tls: bool) -> Iterator[str]:
    """Each route with its URLs, Backend, callers; then what is not right."""
    backends = {backend.name: backend for backend in table.backends}
    for route in table.routes:
        yield f"{route.name}"
        for forward in route.forwards:
            yield from _forward(route, forward, backends.get(forward.backend), address, tls=tls)
        if route.error:
            yield f"  answers 500: {route.error}"
    if not table.routes:
        yield "No route is served: there is no Backend in these files that can be."
    yield from problems(statuses)


def problems(statuses: Iterable[Status]) -> Iterator[str]:
    """One line for each condition that is False."""
    for status, condition in false_conditions(statuses):
        yield (
            f"{status.kind} {status.namespace}/{status.name}: {condition.type} is False ({condition.reason}): "
            f"{condition.message}"
        )


def false_conditions(statuses: Iterable[Status]) -> Iterator[tuple[Status, Condition]]:
    """Everything that is not right, without Ready, which only sums up the others."""
    for status in statuses:
        for condition in status.conditions:
            if condition.status == "False" and condition.type != "Ready":
                yield status, condition


def _forward(route: Route, forward: Forward, backend: Backend | None, address: Address, *, tls: bool) -> Iterator[str]:
    if backend is None or forward.error or backend.error:
        error = forward.error or (backend.error if backend else "it is not there")
        yield f"  Backend {forward.backend} answers 500: {error}"
        return
    providers = ", ".join(f"{provider.name} ({provider.kind})" for provider in backend.providers)
    share = f", weight {forward.weight}" if len(route.forwards) > 1 else ""
    yield f"  to Backend {backend.name}{share}: {providers}; callers: {_callers(forward.policies.authentication)}"
    for path in backend.paths:
        for base in _bases(route, address):
            scheme = _SCHEMES.get(path.type, "http") + ("s" if tls else "")
            yield f"  {path.type:<12} {scheme}://{base}{'/*' if path.suffix == '*' else path.suffix}"


def _bases(route: Route, address: Address) -> Sequence[str]:
    """Hosts, with the prefix that an exposed Backend has. The matches of an HTTPRoute are not prefixes: its paths
    are the Backend's own."""
    hosts = [f"{host}:{address.port}" for host in route.hostnames] or [str(address.reachable)]
    return [f"{host}{route.strip_prefix}" for host in hosts]


def _callers(authentication: Authentication | None) -> str:
    if authentication is None:
        return "refused, until a Policy says how they authenticate"
    if authentication.mode is AuthenticationMode.NONE:
        return "everybody"
    keys = "with a key" if authentication.mode is AuthenticationMode.REQUIRED else "with or without a key"
    return f"{keys} (Policy {authentication.policy})"
