"""The routing table: the contract between whoever decides (the compiler) and whoever carries (the data plane).

    callers    whom keys and issuers of tokens admit
    policies   what holds for them on a Backend of a route
    guardrails what may be said there (blocks: what is said for some callers)
    backends   providers, models, the types of paths
    routes     which requests go to which Backend
    listeners  where Gateways are served
    endpoints  where the pods of Services are
    entry      what all of these are: frozen, and known by the hash of their content

Everything in it is decided: names are resolved, policies merged, templates parsed, so that a request costs
look-ups and nothing else. The models are frozen. They hold ids of secrets, never their values: those travel
apart, as `Secrets`, so that a table can be printed.

Entries of the routes section carry a hash of their own, so that a reload builds only what changed. A table
that says `error` on an entry is a good table: that entry answers 500 with the message, its neighbours work.

From a controller it comes in pieces, each known by its hash (`delta`), in `messages` of a shape that both sides know
(`schemas`), and is never replaced by an older one (`watermark`). `bundle` is the copy that a data plane starts from
where no controller answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from pydantic import ConfigDict, Field, SecretStr

from dataplane.regular import matcher
from dataplane.slices import SLICE, Slices, at_once
from dataplane.table.backends import (
    Backend,
    Balance,
    Credential,
    Health,
    Model,
    PathType,
    Price,
    Provider,
    RouteType,
    Target,
    Timeouts,
    Tls,
)
from dataplane.table.blocks import Block, Subject
from dataplane.table.callers import CallerKey, CallerSet, Issuer, PublicKey
from dataplane.table.endpoints import EndpointSet
from dataplane.table.entry import Entry, Frozen, canonical, digest, hash_of, sealed, weighed
from dataplane.table.guardrails import Guardrail, Keywords, Moderation, Pattern, Pii, PiiKind, Regex, Webhook
from dataplane.table.listeners import Attachment, Listener
from dataplane.table.policies import (
    Authentication,
    AuthenticationMode,
    CallerLimits,
    HeaderOps,
    HeaderValue,
    Limit,
    Location,
    ModelAllow,
    OnRevoke,
    Per,
    PolicySet,
    SessionLimits,
    Telemetry,
    Template,
    Transformation,
    Variable,
    authentication_yaml,
)
from dataplane.table.routes import Forward, Match, NameMatch, Redirect, Route

__all__ = [
    "SCHEMA",
    "Attachment",
    "Authentication",
    "AuthenticationMode",
    "Backend",
    "Balance",
    "Block",
    "CallerKey",
    "CallerLimits",
    "CallerSet",
    "Credential",
    "EndpointSet",
    "Entry",
    "Forward",
    "Frozen",
    "Guardrail",
    "HeaderOps",
    "HeaderValue",
    "Health",
    "Issuer",
    "Keywords",
    "Limit",
    "Listener",
    "Location",
    "Match",
    "Model",
    "ModelAllow",
    "Moderation",
    "NameMatch",
    "OnRevoke",
    "Part",
    "PathType",
    "Pattern",
    "Per",
    "Pii",
    "PiiKind",
    "PolicySet",
    "Price",
    "Provider",
    "PublicKey",
    "Redirect",
    "Regex",
    "Route",
    "RouteType",
    "Secrets",
    "SessionLimits",
    "Subject",
    "Table",
    "Target",
    "Telemetry",
    "Template",
    "Timeouts",
    "Tls",
    "Transformation",
    "Variable",
    "Webhook",
    "authentication_yaml",
    "digest",
    "hash_of",
    "matcher",
    "sealed",
    "weighed",
]

SCHEMA = 2
"""Number of the table's shape. A controller serves this one and the one before."""

Secrets = Mapping[str, SecretStr]
"""Secret values by the ids that a table uses. They are in memory only; no dump, log or error holds one."""


Part = Backend | Route | CallerSet | Listener | EndpointSet
"""What a table is made of."""


class Table(Frozen):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_number: int = Field(default=SCHEMA, alias="schema")
    backends: tuple[Backend, ...] = ()
    routes: tuple[Route, ...] = ()
    callers: tuple[CallerSet, ...] = ()
    listeners: tuple[Listener, ...] = ()
    endpoints: tuple[EndpointSet, ...] = ()
    secrets: tuple[str, ...] = ()
    """Ids of all secrets that the table uses, sorted. An id holds the resourceVersion: rotation is a change."""
    hints: tuple[str, ...] = ()
    """Ids of secrets: keys that sign what providers keep (`dataplane.affinity`). The first one signs, the others did so
    before."""
    unreadable: tuple[str, ...] = ()
    """HTTPRoutes (`namespace/name`) of which something cannot be read, sorted: that a rule of theirs is not here does
    not mean that it was taken away, so it ends no session."""

    def versions(self) -> dict[str, str]:
        """Content hash of each section; equal on every replica that compiled the same objects."""
        return at_once(self.versioning())

    def versioning(self) -> Slices[dict[str, str]]:
        """`versions` in slices."""
        hashes: dict[str, list[str]] = {}
        count = 0
        for name, parts in self.sections():
            hashes[name] = []
            for part in parts:
                hashes[name].append(hash_of(part))
                count += 1
                if count % SLICE == 0:
                    yield
        routes = [hashes["backends"], hashes["routes"], hashes["listeners"], self.unreadable]
        sections = {
            "routes": routes,
            "callers": hashes["callers"],
            "secrets": self.secrets,
            "endpoints": hashes["endpoints"],
        }
        return {name: hashlib.sha256(canonical(section)).hexdigest() for name, section in sections.items()}

    def sections(self) -> Iterator[tuple[str, Sequence[Part]]]:
        """Those that are made of parts, by their fields' names."""
        yield "backends", self.backends
        yield "routes", self.routes
        yield "callers", self.callers
        yield "listeners", self.listeners
        yield "endpoints", self.endpoints
