"""A table made ready to serve: look-ups instead of lists.

A snapshot never changes. A reload builds a new one, reusing what is the same, and swaps one reference; requests
and sessions keep the one that they began with. A table that cannot be served is refused whole, with all reasons.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from pydantic import SecretStr

from dataplane.affinity.hints import Keys
from dataplane.callers import CallerIndex
from dataplane.guardrails.judge import Guard, making
from dataplane.routing import Router
from dataplane.slices import SLICE, Slices, at_once
from dataplane.table import SCHEMA, Backend, CallerSet, Listener, Route, Secrets, Table

_HEX = frozenset("0123456789abcdef")


class TableRefused(Exception):
    """The table is not served, for these reasons; the one before stays."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class Snapshot:
    table: Table
    router: Router
    backends: Mapping[str, Backend]
    callers: CallerIndex
    endpoints: Mapping[str, tuple[str, ...]]
    """Addresses, by the id of their set."""
    secrets: Mapping[str, SecretStr] = field(repr=False)
    contexts: Mapping[tuple[str, str], ssl.SSLContext] = field(default_factory=dict)
    """TLS towards providers that have their own; filled by `upstreams.identities`."""
    guards: Mapping[int, Guard] = field(default_factory=dict, repr=False)
    """Guardrails made ready, by the `id` of those that the router's routes have."""
    hints: Keys | None = field(default=None, repr=False)
    """Sign what providers keep; None: every process has a key of its own."""

    @classmethod
    def build(cls, table: Table, secrets: Secrets, previous: Snapshot | None = None) -> Snapshot:
        """Make a table ready. Sections and Backends that `previous` has are taken from there.

        Raises TableRefused."""
        return at_once(cls.building(table, secrets, previous))

    @classmethod
    def building(cls, table: Table, secrets: Secrets, previous: Snapshot | None = None) -> Slices[Snapshot]:
        """`build` in slices."""
        if table.schema_number not in (SCHEMA, SCHEMA - 1):
            raise TableRefused([f"schema {table.schema_number} is unknown; this data plane serves {SCHEMA}"])
        reasons = [*_repeated("backend", table.backends), *_repeated("route", table.routes)]
        reasons += [*_repeated("listener", table.listeners), *_listener_faults(table)]
        yield
        for count, faults in enumerate(_faults(table, secrets), 1):
            reasons += faults
            if count % SLICE == 0:
                yield
        if reasons:
            raise TableRefused(reasons)
        router = yield from _router(table, previous)
        callers = yield from _callers(table, previous)
        guards = yield from _guards(table, router, previous)
        yield
        kept = {name: secrets[name] for name in table.secrets}
        hints = _hints(table, secrets)
        return cls(
            table, router, _backends(table, previous), callers, _endpoints(table), kept, guards=guards, hints=hints
        )


def _router(table: Table, previous: Snapshot | None) -> Slices[Router]:
    if previous and table.listeners == previous.table.listeners and _hashes(table) == _hashes(previous.table):
        return previous.router
    try:
        return (yield from Router.building(table.routes, table.listeners))
    except ValueError as error:
        raise TableRefused([str(error)]) from None


def _callers(table: Table, previous: Snapshot | None) -> Slices[CallerIndex]:
    if previous and table.callers == previous.table.callers:
        return previous.callers
    try:
        return (yield from CallerIndex.building(table.callers, previous.callers if previous else None))
    except ValueError as error:
        raise TableRefused([f"callers: a key of an issuer {error}"]) from None


def _guards(table: Table, router: Router, previous: Snapshot | None) -> Slices[Mapping[int, Guard]]:
    if previous and router is previous.router:
        return previous.guards
    known = {guard.rule: guard for guard in previous.guards.values()} if previous else {}
    guards: dict[int, Guard] = {}
    for route in table.routes:
        for rule in (each for forward in route.forwards for each in forward.policies.guardrails):
            if rule not in known:
                try:
                    known[rule] = yield from making(rule)
                except ValueError as error:
                    raise TableRefused([f"route {route.name}: guardrail {rule.name}: {error}"]) from None
                yield
            guards[id(rule)] = known[rule]
    return guards


def _hints(table: Table, secrets: Secrets) -> Keys | None:
    return Keys(*(secrets[name].get_secret_value().encode() for name in table.hints)) if table.hints else None


def _hashes(table: Table) -> list[object]:
    """What tells whether two tables have the same routes (one without a hash is like no other)."""
    return [route.hash or object() for route in table.routes]


def _backends(table: Table, previous: Snapshot | None) -> dict[str, Backend]:
    """By name. An unchanged one stays the same object, so that whatever hangs on it stays too."""
    old = previous.backends if previous else {}
    return {
        backend.name: known
        if (known := old.get(backend.name)) and known.hash and known.hash == backend.hash
        else backend
        for backend in table.backends
    }


def _endpoints(table: Table) -> dict[str, tuple[str, ...]]:
    return {each.id: each.addresses for each in table.endpoints}


def _faults(table: Table, secrets: Secrets) -> Iterator[list[str]]:
    """What is wrong, by small pieces of the table."""
    yield [f"secret {name} is missing" for name in table.secrets if name not in secrets]
    yield [
        f"hints are signed by secret {name}, which the table does not list"
        for name in {*table.hints} - {*table.secrets}
    ]
    known = frozenset(table.secrets)
    endpoints = frozenset(each.id for each in table.endpoints)
    for each in table.endpoints:
        yield [f"endpoints {each.id}: {text!r} is no address" for text in each.addresses if not _dialled(text)]
    for backend in table.backends:
        yield [f"backend {backend.name}: {fault}" for fault in _backend_faults(backend, known, endpoints)]
    backends = frozenset(backend.name for backend in table.backends)
    callers = frozenset(callers.id for callers in table.callers)
    listeners = frozenset(listener.name for listener in table.listeners)
    for route in table.routes:
        faults = [*_route_faults(route, backends, callers, listeners), *_guardrail_faults(route, known, endpoints)]
        yield [f"route {route.name}: {fault}" for fault in faults]
    for known_set in table.callers:
        yield [f"callers {known_set.id}: key {key} has no SHA-256 digest" for key in _undigested(known_set)]


def _undigested(callers: CallerSet) -> list[str]:
    return [key.name for key in callers.keys if len(key.sha256) != 64 or not set(key.sha256) <= _HEX]


def _repeated(kind: str, entries: tuple[Backend, ...] | tuple[Route, ...] | tuple[Listener, ...]) -> Iterator[str]:
    seen: set[str] = set()
    for entry in entries:
        if entry.name in seen:
            yield f"{kind} {entry.name} is in the table twice"
        seen.add(entry.name)


def _backend_faults(backend: Backend, secrets: frozenset[str], endpoints: frozenset[str]) -> Iterator[str]:
    yield from (f"{network!r} is no network" for network in backend.networks if not _is_network(network))
    providers = {provider.name for provider in backend.providers}
    for provider in backend.providers:
        if provider.error:
            continue
        if provider.credential.kind == "secret" and provider.credential.secret not in secrets:
            yield f"provider {provider.name} uses secret {provider.credential.secret}, which the table does not list"
        for name in (provider.tls.authorities, provider.tls.client) if provider.tls else ():
            if name and name not in secrets:
                yield f"provider {provider.name} uses secret {name}, which the table does not list"
        if provider.endpoints and provider.endpoints not in endpoints:
            yield f"provider {provider.name} has endpoints {provider.endpoints}, which are not in the table"
        if not _usable(provider.url):
            yield f"provider {provider.name} has no http(s) URL: {provider.url!r}"
    for model in backend.models:
        for target in model.targets:
            if target.provider not in providers:
                yield f"model {model.name} goes to provider {target.provider}, which the backend does not have"


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def _dialled(address: str) -> bool:
    """Is it `ip:port`, with an IPv6 address in brackets?"""
    host, _, port = address.rpartition(":")
    try:
        version = ip_address(host.removeprefix("[").removesuffix("]")).version
    except ValueError:
        return False
    return (version == 6) is host.startswith("[") and port.isdecimal() and 0 < int(port) < 65536


def _usable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _listener_faults(table: Table) -> Iterator[str]:
    first: dict[int, Listener] = {}
    taken: dict[tuple[int, str], str] = {}
    for listener in table.listeners:
        other = first.setdefault(listener.port, listener)
        if other.tls != listener.tls:
            yield f"listener {listener.name}: port {listener.port} is with TLS and without, for {other.name}"
        holder = taken.setdefault((listener.port, listener.hostname), listener.name)
        if holder != listener.name:
            yield f"listener {listener.name}: its port and hostname are those of {holder}"
        for name in listener.certificates:
            if name not in table.secrets:
                yield f"listener {listener.name} uses secret {name}, which the table does not list"


def _route_faults(
    route: Route, backends: frozenset[str], callers: frozenset[str], listeners: frozenset[str]
) -> Iterator[str]:
    for attachment in route.attached:
        if attachment.listener not in listeners:
            yield f"listener {attachment.listener} is not in the table"
    for forward in route.forwards:
        if not forward.error and forward.backend not in backends:
            yield f"backend {forward.backend} is not in the table"
        authentication = forward.policies.authentication
        for name in authentication.callers if authentication else ():
            if name not in callers:
                yield f"callers {name} are not in the table"


def _guardrail_faults(route: Route, secrets: frozenset[str], endpoints: frozenset[str]) -> Iterator[str]:
    for guardrail in (each for forward in route.forwards for each in forward.policies.guardrails):
        judge = guardrail.webhook or guardrail.moderation
        if judge is None:
            continue
        if judge.secret and judge.secret not in secrets:
            yield f"guardrail {guardrail.name} uses secret {judge.secret}, which the table does not list"
        if not _usable(judge.url):
            yield f"guardrail {guardrail.name} has no http(s) URL: {judge.url!r}"
        yield from (f"{network!r} is no network" for network in judge.networks if not _is_network(network))
        found = guardrail.webhook.endpoints if guardrail.webhook else ""
        if found and found not in endpoints:
            yield f"guardrail {guardrail.name} has endpoints {found}, which are not in the table"


EMPTY = Snapshot.build(Table(), {})
"""What is served before the first table: nothing."""
