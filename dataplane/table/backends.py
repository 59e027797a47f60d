"""Backends: their providers and models, and how their paths are handled."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from dataplane.table.entry import Entry, Frozen, Seconds
from dataplane.table.policies import Transformation


class RouteType(StrEnum):
    """How a path is handled (not where it goes)."""

    COMPLETIONS = "Completions"
    REALTIME = "Realtime"
    RESPONSES = "Responses"
    PASSTHROUGH = "Passthrough"
    MODELS = "Models"
    """Lists the models that a caller may use. No Backend declares it: `/v1/models` has it by itself."""


class Credential(Frozen):
    """What the upstream is shown: a secret of ours, the client's own, or nothing."""

    kind: Literal["secret", "passthrough", "none"] = "none"
    secret: str = ""
    """Id of the secret, with kind `secret`."""
    header: Literal["authorization", "api-key"] = "authorization"
    """Where the secret is shown; in `authorization` with the scheme Bearer before it."""


class Tls(Frozen):
    """TLS towards a provider, where it is not as towards everybody."""

    authorities: str = ""
    """Id of the secret whose certificates (PEM) are trusted instead of the public ones."""
    client: str = ""
    """Id of the secret with the certificate that is shown, and its key (PEM)."""
    server_name: str = ""
    """What the server's certificate must be for; empty: the host of the provider's `url`."""

    @property
    def ids(self) -> tuple[str, str]:
        return self.authorities, self.client


class Provider(Frozen):
    name: str
    kind: Literal["openai", "azure", "xai", "custom"]
    """One of `dataplane.providers.KINDS`."""
    url: str
    """Base address, without a trailing slash: `https://api.openai.com/v1`."""
    api_version: str = ""
    """With kind `azure`: the version of the API that is asked for by the paths of deployments. Empty: GA."""
    credential: Credential = Credential()
    endpoints: str = ""
    """Id of the `EndpointSet` that is dialled, one of its addresses for each connection, instead of the host of `url`,
    which is what upstreams are told then."""
    tls: Tls | None = None
    domain: str = ""
    """Providers of one domain in one namespace share the vendor's stored state. Empty: this one shares it with none."""
    default_model: str = ""
    model_override: str = ""
    weight: int = Field(1, ge=0)
    """Share among those of its priority."""
    priority: int = Field(0, ge=0)
    """Those with the lowest number take everything that they can."""
    max_sessions: int = Field(0, ge=0)
    """Sessions, and other WebSockets, that one data-plane process holds with it at a time; 0: any number."""
    transformations: tuple[Transformation, ...] = ()
    """Of Policies that target this provider; applied last."""
    error: str = ""
    """Why this provider cannot be used (its Secret is missing, …). It is never chosen; where no other is
    left, requests are answered 500 with the message."""


class Price(Frozen):
    """USD as decimal strings: per million tokens, per minute, and per item. What is absent is not said here (the
    catalogue may know)."""

    input_text: str | None = None
    input_audio: str | None = None
    input_image: str | None = None
    cached_text: str | None = None
    cached_audio: str | None = None
    cached_image: str | None = None
    output_text: str | None = None
    output_audio: str | None = None
    session_minute: str | None = None
    """Of a realtime session that is billed by the clock."""
    audio_minute: str | None = None
    """Of audio that is billed by its length."""
    item: str | None = None
    """That a client adds to the conversation of such a session."""


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


class Balance(Frozen):
    """How requests are shared among the providers of one priority."""

    strategy: Literal["LeastActive", "Weighted", ""] = ""
    """Empty: LeastActive for sessions and other WebSockets, Weighted for requests."""
    sticky: Literal["caller", "header", ""] = ""
    """What requests have in common that stay together; empty: they do not."""
    header: str = ""
    """Its name in lower case, with sticky `header`."""


class Health(Frozen):
    """When a provider that fails is left out."""

    eject_after: int = Field(3, ge=1)
    """Failures in a row."""
    eject_for: Seconds = 5.0
    """The first time; twice as long each time that follows."""
    eject_for_most: Seconds = 300.0


class Backend(Entry):
    """`namespace/name` of a Backend, with its providers resolved."""

    providers: tuple[Provider, ...] = ()
    models: tuple[Model, ...] = ()
    """Empty: every name goes to every provider as it is."""
    paths: tuple[PathType, ...] = ()
    """Longest suffix first, `*` last."""
    timeouts: Timeouts = Timeouts()
    balance: Balance = Balance()
    health: Health = Health()
    max_sessions: int = Field(0, ge=0)
    """Realtime sessions that one data-plane process holds at a time; 0: as many as the process may."""
    networks: tuple[str, ...] = ()
    """Private networks (CIDR) that its upstreams may be in."""
    refused: tuple[str, ...] = ()
    """Paths behind `*` that mint credentials or touch the account, refused because a credential is injected:
    suffixes, or with `/*` at the end whole segments anywhere in the path."""
