"""The routing table: the contract between whoever decides (the compiler) and whoever carries (the data plane).

Everything in it is decided: names are resolved, policies merged, templates parsed, so that a request costs
look-ups and nothing else. The models are frozen. They hold ids of secrets, never their values: those travel
apart, as `Secrets`, so that a table can be printed.

Entries of the routes section carry a hash of their own, so that a reload builds only what changed. A table
that says `error` on an entry is a good table: that entry answers 500 with the message, its neighbours work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Literal, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from dataplane.slices import SLICE, Slices, at_once

SCHEMA = 1
"""Number of the table's shape. A controller serves this one and the one before."""

Secrets = Mapping[str, SecretStr]
"""Secret values by the ids that a table uses. They are in memory only; no dump, log or error holds one."""


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Frozen(BaseModel):
    """Base of every model of the table."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RouteType(StrEnum):
    """How a path is handled (not where it goes)."""

    COMPLETIONS = "Completions"
    REALTIME = "Realtime"
    PASSTHROUGH = "Passthrough"
    MODELS = "Models"
    """Lists the models that a caller may use. No Backend declares it: `/v1/models` has it by itself."""


class Variable(Frozen):
    """`${…}` in a header value: where the text comes from when a request is served."""

    source: Literal[
        "request.header",
        "request.query",
        "request.path",
        "model",
        "route",
        "backend",
        "provider",
        "caller.key",
        "caller.team",
    ]
    name: str = ""
    """Header (lower case) or query parameter; empty for the other sources."""


Template = tuple[str | Variable, ...]
"""A header value: literal parts and variables, in order."""


class HeaderValue(Frozen):
    name: str
    """Lower case."""
    value: Template


class HeaderOps(Frozen):
    """Changes of one message's header fields, applied in this order: remove, set, add."""

    remove: tuple[str, ...] = ()
    set: tuple[HeaderValue, ...] = ()
    add: tuple[HeaderValue, ...] = ()


class Subject(Frozen):
    """Callers that a part of a Policy is for: one key, or one team, of the callers that `namespace` knows."""

    namespace: str
    key: str = ""
    team: str = ""


class Transformation(Frozen):
    policy: str
    """`namespace/name` of the Policy that says so, for `explain` and logs."""
    subjects: tuple[Subject, ...] = ()
    """Empty: for everyone."""
    request: HeaderOps = HeaderOps()
    response: HeaderOps = HeaderOps()


class ModelAllow(Frozen):
    policy: str
    subjects: tuple[Subject, ...] = ()
    patterns: tuple[str, ...]
    """Public model names, each with at most one `*`."""


class Telemetry(Frozen):
    policy: str = ""
    """Empty: no Policy says anything."""
    subjects: tuple[Subject, ...] = ()
    log_events: tuple[str, ...] = ()
    """Event types, or `*`."""
    caller_key: bool = False
    """Do metrics name the caller's key?"""


class AuthenticationMode(StrEnum):
    REQUIRED = "Required"
    OPTIONAL = "Optional"
    NONE = "None"


class Location(Frozen):
    """Where the credential is looked for, and nowhere else."""

    kind: Literal["header", "query"]
    name: str
    """A header's in lower case."""


class Authentication(Frozen):
    policy: str
    """Empty where no Policy had to say it (nothing is injected, or a standalone gateway on loopback)."""
    mode: AuthenticationMode
    callers: tuple[str, ...] = ()
    """Ids of `CallerSet`s."""
    location: Location | None = None
    """None: wherever real clients put one."""


class OnRevoke(StrEnum):
    """What becomes of a live session whose caller would not be let in any more."""

    KEEP = "KeepSession"
    END = "EndSession"


class SessionLimits(Frozen):
    """What one realtime session may take, and who may hold one. The defaults are above what real providers allow, so
    that a session ends by theirs: OpenAI after 60 minutes, xAI after 120 (docs/sessions.md)."""

    policy: str = ""
    """Empty: no Policy says anything, and these are the defaults."""
    subjects: tuple[Subject, ...] = ()
    idle: Seconds = 1800.0
    """Seconds in which no message passes in either direction."""
    duration: Seconds = 10_800.0
    """Seconds from its beginning to its end."""
    max_message: int = Field(24 * 1024 * 1024, gt=0)
    """Bytes of one message. OpenAI takes 15 MiB of base64 in one append; images are data URIs."""
    max_fragments: int = Field(65_536, gt=0)
    """Frames that one message may come in."""
    origins: tuple[str, ...] = ()
    """Of the pages that may open one: `scheme://host`, with the port where it is not the scheme's own; the host may
    begin with `*.`. Empty: any page."""
    on_revoke: OnRevoke = OnRevoke.KEEP


Per = Literal["Second", "Minute", "Hour", "Day", "Month"]
"""Windows by the UTC calendar."""


class Limit(Frozen):
    """One thing that is counted, and how much of it there may be."""

    kind: Literal["requests", "tokens", "spend", "sessions"]
    max: int = Field(gt=0)
    """In one window, or at a time. Of `spend` in nano-USD, which are exact."""
    per: Per | None = None
    """None: at a time (`sessions`)."""
    count: Literal["Total", "Input", "Output"] = "Total"
    """Which `tokens`."""

    @cached_property
    def name(self) -> str:
        """What is counted, among all that one Policy counts: it does not hold `max`, so that no edit begins anew."""
        return "/".join(filter(None, (self.kind, self.per, self.count if self.count != "Total" else "")))


class CallerLimits(Frozen):
    """How much callers may take: the block `limits` of one Policy."""

    policy: str
    subjects: tuple[Subject, ...] = ()
    fleet: bool = False
    """Do all processes count together?"""
    counted_by: Literal["Caller", "Team", "Backend", "Policy"] = "Caller"
    limits: tuple[Limit, ...]
    reserve: int = Field(gt=0)
    """Tokens that are set aside for a turn."""
    refuse_unpriced: bool = True
    end_session: bool = False
    """Does a session end when a turn is refused?"""
    refuse_without_store: bool = False
    """Is everything refused while the fleet's counters cannot be asked?"""


class PolicySet(Frozen):
    """What holds for one Backend on one route."""

    authentication: Authentication | None = None
    """None: nobody said how callers authenticate although a credential is injected; every request is
    answered 401 with the YAML to apply."""
    transformations: tuple[Transformation, ...] = ()
    """From broad to narrow; all that apply to the caller are applied, in order."""
    models: tuple[ModelAllow, ...] = ()
    """All that apply to the caller must allow the name."""
    limits: tuple[CallerLimits, ...] = ()
    """All that apply to the caller hold."""
    telemetry: tuple[Telemetry, ...] = ()
    """The first that applies to the caller holds."""
    session: tuple[SessionLimits, ...] = ()
    """The first that applies to the caller holds; the defaults where none does."""


def authentication_yaml(backend: str) -> str:
    """What to apply so that callers of a Backend (`namespace/name`) are let in, for the 401 and for its condition."""
    namespace, _, name = backend.rpartition("/")
    return f"""\
apiVersion: v1
kind: Secret
metadata: {{name: {name}-keys, namespace: {namespace}}}
stringData: {{my-app: CHOOSE-A-LONG-RANDOM-KEY}}
---
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {{name: {name}-callers, namespace: {namespace}}}
spec:
  targetRefs: [{{group: tidegate.dev, kind: Backend, name: {name}}}]
  authentication: {{mode: Required, keys: [{{secretRef: {{name: {name}-keys}}}}]}}
"""


class Credential(Frozen):
    """What the upstream is shown: a secret of ours, the client's own, or nothing."""

    kind: Literal["secret", "passthrough", "none"] = "none"
    secret: str = ""
    """Id of the secret, with kind `secret`."""


class Provider(Frozen):
    name: str
    kind: Literal["openai", "custom"]
    url: str
    """Base address, without a trailing slash: `https://api.openai.com/v1`."""
    credential: Credential = Credential()
    default_model: str = ""
    model_override: str = ""
    transformations: tuple[Transformation, ...] = ()
    """Of Policies that target this provider; applied last."""
    error: str = ""
    """Why this provider cannot be used (its Secret is missing, …). It is never chosen; where no other is
    left, requests are answered 500 with the message."""


class Price(Frozen):
    """USD per million tokens, as decimal strings. What is absent is not said here (the catalogue may know)."""

    input_text: str | None = None
    input_audio: str | None = None
    input_image: str | None = None
    cached_text: str | None = None
    cached_audio: str | None = None
    cached_image: str | None = None
    output_text: str | None = None
    output_audio: str | None = None


class Target(Frozen):
    provider: str
    model: str = ""
    """The upstream's name. Empty: the name that was asked for. A `*` stands for what the pattern's `*` matched."""
    weight: int = 1


class Model(Frozen):
    """A public model name and where it goes."""

    name: str
    """Exact, or with one `*`. An exact name wins over a pattern, a longer pattern over a shorter one."""
    targets: tuple[Target, ...]
    price: Price | None = None


class PathType(Frozen):
    suffix: str
    """Whole path segments at the end of the path (`/v1/realtime`), or `*` for the rest."""
    type: RouteType


class Entry(Frozen):
    """A part of the routes section that is loaded by itself."""

    name: str
    hash: str = ""
    """SHA-256 of the entry's canonical JSON without this field; see `sealed`."""
    error: str = ""
    """Why the object behind this entry cannot be served; its requests are answered 500 with this message."""


class Timeouts(Frozen):
    """Seconds that a Backend's providers are waited for."""

    connect: Seconds = 5.0
    """To be connected, TLS included."""
    handshake: Seconds = 10.0
    """From a WebSocket handshake to its answer."""
    first_event: Seconds = 1.0
    """From that answer to a realtime session's first event; then the session begins without one."""
    response: Seconds = 120.0
    """From the end of an HTTP request to the head of its answer."""
    idle: Seconds = 300.0
    """Between two reads of an HTTP answer."""


class Backend(Entry):
    """`namespace/name` of a Backend, with its providers resolved."""

    providers: tuple[Provider, ...] = ()
    models: tuple[Model, ...] = ()
    """Empty: every name goes to every provider as it is."""
    paths: tuple[PathType, ...] = ()
    """Longest suffix first, `*` last."""
    timeouts: Timeouts = Timeouts()
    max_sessions: int = Field(0, ge=0)
    """Realtime sessions that one data-plane process holds at a time; 0: as many as the process may."""
    refused: tuple[str, ...] = ()
    """Paths behind `*` that mint credentials or touch the account, refused because a credential is injected:
    suffixes, or with `/*` at the end whole segments anywhere in the path."""


class NameMatch(Frozen):
    """A header field or query parameter that must have this value."""

    name: str
    value: str
    regex: bool = False


class Match(Frozen):
    """All of it must hold (Gateway API, HTTPRouteMatch)."""

    path: str = "/"
    path_kind: Literal["exact", "prefix", "regex"] = "prefix"
    method: str = ""
    headers: tuple[NameMatch, ...] = ()
    query: tuple[NameMatch, ...] = ()


class Forward(Frozen):
    """One Backend of a route, with the policies that hold for it there."""

    backend: str
    weight: int = 1
    policies: PolicySet = PolicySet()
    error: str = ""
    """Why this share of the requests cannot be served (no such Backend, …): it is answered 500."""


class Route(Entry):
    """A rule of an HTTPRoute (`namespace/name#rule`), or an exposed Backend (`namespace/name`).

    Of routes that match a request equally well the first in the table wins; the compiler orders them."""

    hostnames: tuple[str, ...] = ()
    """Lower case, exact or `*.example.com`. Empty: any host."""
    matches: tuple[Match, ...] = (Match(),)
    """Any of them suffices."""
    strip_prefix: str = ""
    """`expose.pathPrefix`, taken off the path before anything else looks at it."""
    forwards: tuple[Forward, ...] = ()


class CallerKey(Frozen):
    name: str
    """The Secret's entry name."""
    sha256: str
    """Hex digest of the key."""
    expires: float | None = None
    """Seconds since the epoch."""


class PublicKey(Frozen):
    """A key that tokens are verified with, and the one algorithm that it is for."""

    kid: str = ""
    """As tokens name it; empty: it has no name."""
    algorithm: str
    """Of RFC 7518 §3.1 or RFC 8037: `RS256`, `PS256`, `ES256`, `EdDSA`, …; never a symmetric one, never `none`."""
    jwk: str = Field(repr=False)
    """Its public members alone (RFC 7517), as canonical JSON."""


class Issuer(Frozen):
    """Who issues tokens (JWT, RFC 7519), and what is read from them."""

    name: str
    """Their `iss`."""
    audiences: tuple[str, ...]
    """Their `aud` must have one of these."""
    url: str = ""
    """Where its keys are fetched; empty: `keys` are all."""
    keys: tuple[PublicKey, ...] = ()
    key_claim: str = "sub"
    """The claim that has the caller's name."""
    team_claim: str = ""
    """The claim that has the caller's team; empty: it is the set's."""


class CallerSet(Frozen):
    """Callers whom one Policy admits: those with the keys of one Secret, or those for whom one issuer vouches."""

    id: str
    namespace: str
    """Of the Policy that authenticates; part of every caller's identity."""
    team: str = ""
    keys: tuple[CallerKey, ...] = ()
    issuer: Issuer | None = None


class Table(Frozen):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_number: int = Field(default=SCHEMA, alias="schema")
    backends: tuple[Backend, ...] = ()
    routes: tuple[Route, ...] = ()
    callers: tuple[CallerSet, ...] = ()
    secrets: tuple[str, ...] = ()
    """Ids of all secrets that the table uses, sorted. An id holds the resourceVersion: rotation is a change."""
    unreadable: tuple[str, ...] = ()
    """HTTPRoutes (`namespace/name`) of which something cannot be read, sorted: that a rule of theirs is not here does
    not mean that it was taken away, so it ends no session."""

    def versions(self) -> dict[str, str]:
        """Content hash of each section; equal on every replica that compiled the same objects."""
        return at_once(self.versioning())

    def versioning(self) -> Slices[dict[str, str]]:
        """`versions` in slices."""
        hashes: list[str] = []
        parts: tuple[Entry | CallerSet, ...] = (*self.backends, *self.routes, *self.callers)
        for count, part in enumerate(parts, 1):
            hashes.append(hash_of(part))
            if count % SLICE == 0:
                yield
        first = len(self.backends) + len(self.routes)
        routes = [*hashes[:first], *self.unreadable]
        sections = {"routes": routes, "callers": hashes[first:], "secrets": self.secrets}
        return {name: hashlib.sha256(canonical(section)).hexdigest() for name, section in sections.items()}


EntryT = TypeVar("EntryT", bound=Entry)


def sealed(entry: EntryT) -> EntryT:
    """The entry with its hash filled in."""
    bare = entry.model_copy(update={"hash": ""}) if entry.hash else entry
    return entry.model_copy(update={"hash": digest(bare)})


def hash_of(part: Entry | CallerSet) -> str:
    """The entry's own hash, or that of what has none."""
    return (isinstance(part, Entry) and part.hash) or digest(part)


def digest(part: Frozen) -> str:
    """SHA-256 of the canonical JSON, in hex."""
    return hashlib.sha256(canonical(part.model_dump(mode="json"))).hexdigest()


def canonical(value: object) -> bytes:
    """JSON with sorted keys and no white space: equal values, equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
