"""The compiler: Kubernetes objects in, the routing table and everybody's status out. One pure function.

    install.py    what an install allows, and what its gateways have
    objects.py    documents → objects, read or broken    (gateway_api.py, core_objects.py, blocks.py, secrets.py read)
    policies.py   Policies → their targets               (combine.py: what holds on a chain of targets)
    callers.py    whom a Policy admits: keys of Secrets, issuers of tokens
    limits.py     limits → the table's, and how far they can be passed
    guardrails.py what may be said → the table's         (judges.py: who is asked for that)
    backends.py   Backends → entries of the table        (providers, credentials, models, paths, timeouts)
                  (upstreams.py: what it takes to call them, as judges)
                  (upstream_tls.py: certificates of providers, which certificates.py reads, as it does for listeners)
    cluster.py    what an install lets each namespace do (leave.py: where it may be served; services.py: endpoints)
    exposure.py   Backends that are served by themselves
    httproutes.py HTTPRoutes → rules with their Backends (service_backends.py: or Services), and their filters.py
    gateways.py   Gateways → listeners.py, what each shows (certificates.py), and its Service (gateway_services.py)
    parents.py    where HTTPRoutes are served there
    routes.py     all of these → routes of the table, with the Policies of each Backend
    *statuses.py  what is said about each object

There is no I/O, clock or randomness here, and the order of the input is irrelevant: equal objects give equal bytes
on every replica. A bad object costs only itself: it is in the table with an error, so that its requests are answered
500 with a message that names it, and its status says what to do. Where a bad Policy guarded something (it had
authentication, models, guardrails, limits, session, or a block that is not known), what it guarded answers 500 too:
never open by mistake.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from pydantic import SecretStr

from controller.compile import backends, exposure, httproutes, routes
from controller.compile.backend_statuses import backend_status
from controller.compile.cluster import Cluster
from controller.compile.gateway_api import HTTPRoute
from controller.compile.gateway_services import gateway_services
from controller.compile.gateway_statuses import gateway_statuses, route_status
from controller.compile.install import ExposeRule, Install, UpstreamRule
from controller.compile.judges import Judged
from controller.compile.listeners import Fleet, fleet
from controller.compile.objects import Identity, Objects, Read, identify, read
from controller.compile.parents import AtParent, at_parents, served_at
from controller.compile.policies import Attachments, attach
from controller.compile.policy_statuses import policy_statuses
from controller.compile.selectors import LabelSelector
from controller.compile.service_backends import by_name
from controller.compile.statuses import (
    Ancestor,
    Condition,
    ListenerStatus,
    Parent,
    Status,
    Target,
    not_accepted,
    status,
)
from dataplane import table

__all__ = [
    "Ancestor",
    "Compiled",
    "Condition",
    "ExposeRule",
    "Identity",
    "Install",
    "LabelSelector",
    "ListenerStatus",
    "Lost",
    "Parent",
    "Status",
    "Target",
    "UpstreamRule",
    "compile",
    "identify",
]


@dataclass(frozen=True, slots=True)
class Lost:
    """A block of a Policy that does not hold on one route, in favour of another's."""

    route: str
    backend: str
    policy: str
    block: str
    winner: str
    """Which Policy, and why it wins."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """The table, the values of the secrets that it names, and what is said about each object (sorted by kind,
    namespace and name)."""

    table: table.Table
    secrets: dict[str, SecretStr] = field(repr=False)
    statuses: tuple[Status, ...] = ()
    lost: tuple[Lost, ...] = ()
    services: tuple[Mapping[str, object], ...] = ()
    """The Services that Gateways are to have, by name; see `gateway_services`."""
    objects: Objects | None = field(default=None, repr=False, compare=False)
    """As they were read, for the next time."""


def compile(  # noqa: A001  (the field's own word)
    objects: Iterable[Mapping[str, object]],
    before: Compiled | None = None,
    /,
    *,
    open_by_default: bool = False,
    has_store: bool = False,
    install: Install | None = None,
) -> Compiled:
    """Decide everything about these Kubernetes documents (JSON-like: mappings with text as keys).

    `before`: of the last time. Documents that are the same objects as then, and as they were, are not read again, which
    is half of the work; it changes nothing else.
    `open_by_default`: a gateway on loopback, where a Backend that injects a credential needs no Policy to be used.
    `has_store`: gateways have a store for what they count together; of an install, it says so itself.
    `install`: the one in a cluster whose gateways are to serve this; None: a gateway that serves files. There, Backends
    that nothing exposes are served all the same.
    """
    found = read(objects, before.objects if before else None)
    cluster = Cluster.of(found, install) if install else None
    gateways = fleet(cluster) if cluster else Fleet()
    attachments = attach(found, cluster, gateways)
    compiled = {
        backend.identity.path: backends.compile_backend(backend, found, attachments, cluster)
        for backend in found.backends.values()
    }
    exposed, unserved = exposure.exposures(found, cluster)
    rules = {route.identity: httproutes.serve_route(route, found, cluster) for route in found.routes.values()}
    parents = {each.identity: at_parents(each, gateways, cluster) for each in found.routes.values()} if cluster else {}
    served = [routes.served_backend(each, _whole_fleet(install)) for each in exposed]
    for identity, (of_route, _) in rules.items():
        served += served_at(of_route, parents[identity], gateways, attachments) if cluster else of_route
    compiled |= by_name(share.service for rule in served for share in rule.shares)
    built = routes.build(
        served, routes.Surroundings(compiled, attachments, open_by_default, install.most if install else None)
    )
    statuses = [
        *_broken(found.secrets),
        *_broken(found.grants),
        *policy_statuses(found, attachments, built.links, has_store=install.has_store if install else has_store),
        *(
            _route_status(
                route, [*rules[route.identity][1], *_too_many(key, built.too_many)], parents.get(route.identity)
            )
            for key, route in found.routes.items()
        ),
        *gateway_statuses(gateways, parents),
        *_backend_statuses(found, compiled, unserved, built.links, attachments.keyless, open_by_default),
    ]
    listeners = tuple(gateways.accepted())
    judges = _judges(attachments, built.entries)
    holders = (
        *(backend.credentials for backend in compiled.values()),
        *(each.certificates for each in listeners),
        *(each.credentials for each in judges),
    )
    secrets = {each.id: each.value for credentials in holders for each in credentials}
    hints = {_hint_key(key): key for key in (install.hint_keys if install else ())}
    secrets |= hints
    return Compiled(
        table.Table(
            backends=tuple(table.sealed(compiled[name].entry) for name in sorted(compiled, key=_by_parts)),
            routes=tuple(built.entries),
            callers=_used(attachments, built.entries),
            listeners=tuple(each.entry() for each in listeners),
            endpoints=_endpoints([*compiled.values(), *judges]),
            secrets=tuple(sorted(secrets)),
            hints=tuple(hints),
            unreadable=tuple(httproutes.unreadable(found)),
        ),
        secrets,
        tuple(sorted(statuses, key=lambda each: (each.kind, each.namespace, each.name))),
        tuple(
            Lost(link.route, link.backend, loss.loser.policy.path, loss.block, loss.why)
            for link in built.links
            for loss in link.combined.lost
        ),
        gateway_services(gateways, install) if install else (),
        found,
    )


def _whole_fleet(install: Install | None) -> tuple[Target, ...]:
    """What holds for all that an install serves."""
    return (Target("GatewayClass", "", install.class_name),) if install else ()


def _hint_key(key: SecretStr) -> str:
    """Its id: equal on every replica, and another one for another key."""
    return f"hints@{hashlib.sha256(b'id of ' + key.get_secret_value().encode()).hexdigest()[:16]}"


def _route_status(
    route: Read[HTTPRoute], problems: list[httproutes.Problem], parents: Sequence[AtParent] | None
) -> Status:
    """`parents`: None where there are no Gateways, but files."""
    conditions = httproutes.conditions(route, problems)
    return status(route.identity, *conditions) if parents is None else route_status(route, conditions, parents)


def _too_many(key: tuple[str, str], found: Set[tuple[str, str]]) -> list[httproutes.Problem]:
    return [httproutes.Problem("Accepted", "UnsupportedValue", routes.too_many(key[0]))] if key in found else []


def _broken(read_: Mapping[tuple[str, str], Read[object]]) -> list[Status]:
    """Statuses of objects that have none where they are good."""
    return [status(each.identity, not_accepted(each)) for each in read_.values() if each.value is None]


def _backend_statuses(
    objects: Objects,
    compiled: Mapping[str, backends.Compiled],
    unserved: Mapping[str, exposure.Unserved],
    links: Iterable[routes.Link],
    keyless: Set[Identity],
    open_by_default: bool,
) -> list[Status]:
    leading: dict[str, list[routes.Link]] = defaultdict(list)
    for link in links:
        leading[link.backend].append(link)
    return [
        backend_status(
            backend,
            compiled[name],
            unserved.get(name),
            leading[name],
            keyless,
            open_by_default=open_by_default,
        )
        for backend in objects.backends.values()
        for name in [backend.identity.path]
    ]


def _by_parts(name: str) -> tuple[str, str]:
    namespace, _, rest = name.partition("/")
    return namespace, rest


def _endpoints(users: Iterable[backends.Compiled | Judged]) -> tuple[table.EndpointSet, ...]:
    found = {each.id: each for user in users for each in user.endpoints}
    return tuple(found[name] for name in sorted(found))


def _used(attachments: Attachments, entries: Iterable[table.Route]) -> tuple[table.CallerSet, ...]:
    """The callers that some route asks for."""
    used = {
        name
        for entry in entries
        for forward in entry.forwards
        if forward.policies.authentication
        for name in forward.policies.authentication.callers
    }
    return tuple(attachments.callers[name] for name in sorted(used))


def _judges(attachments: Attachments, entries: Iterable[table.Route]) -> list[Judged]:
    """Of the Policies whose guardrails hold somewhere."""
    used = {
        guardrail.policy for entry in entries for forward in entry.forwards for guardrail in forward.policies.guardrails
    }
    return [found for policy, found in attachments.judged.items() if policy.path in used]
