"""A Backend: its providers with their credentials, its models, and how its paths are handled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import crds.backend
from controller.compile import services
from controller.compile.bounds import balance, health, timeouts
from controller.compile.cluster import Cluster
from controller.compile.grants import BACKEND
from controller.compile.objects import Identity, Objects, Read
from controller.compile.paths import declared
from controller.compile.policies import Attachments
from controller.compile.secrets import Credential, Unresolved
from controller.compile.statuses import Condition, Target, false, true
from controller.compile.upstream_tls import Found as FoundTls
from controller.compile.upstream_tls import Place, upstream_tls
from controller.compile.upstreams import check_url, endpoints_of, look_up
from dataplane import table
from dataplane.providers import KINDS, Kind, azure

WELL_KNOWN = declared(
    {
        "/v1/chat/completions": crds.backend.RouteType.COMPLETIONS,
        "/v1/realtime": crds.backend.RouteType.REALTIME,
        "/v1/responses": crds.backend.RouteType.RESPONSES,
    }
)
"""What is served where a Backend says nothing of routes."""

REFUSED = (
    "/realtime/client_secrets",
    "/realtime/sessions",
    "/realtimeapi/sessions",
    "/realtime/transcription_sessions",
    "/realtime/translations/client_secrets",
    "/realtime/calls/*",
    "/auth_tokens",
    "/organization/*",
)
"""Paths that mint credentials or touch the account: under our credential they lead around every Policy."""
STORED = "/responses/*"
"""Refused as well where responses are served: by another spelling of their path (such as that without `/v1`), what a
provider stores would be asked for by ids that nobody has verified."""


_HEADERS: Mapping[crds.backend.Scheme, Literal["authorization", "api-key"]] = {
    crds.backend.Scheme.API_KEY: "api-key",
    crds.backend.Scheme.BEARER: "authorization",
}


@dataclass(frozen=True, slots=True)
class Compiled:
    """A Backend as far as it can be decided without knowing who is attached to it."""

    entry: table.Backend
    credentials: tuple[Credential, ...] = ()
    problems: tuple[Unresolved, ...] = ()
    """References that lead nowhere, each with the field in its message."""
    endpoints: tuple[table.EndpointSet, ...] = ()
    """Of the Services that are its providers."""
    validity: tuple[str, ...] = ()
    """Until when its certificates are valid, in a sentence each."""

    @property
    def injects(self) -> bool:
        """Whether a credential of ours is shown to a provider, be it missing for now."""
        return any(provider.credential.kind == "secret" for provider in self.entry.providers)

    @property
    def passthrough(self) -> str:
        """The first provider that is shown the client's own credential, or nothing."""
        kinds = (provider.name for provider in self.entry.providers if provider.credential.kind == "passthrough")
        return next(kinds, "")

    @property
    def has_sessions(self) -> bool:
        """Whether there is a path for realtime sessions."""
        return any(path.type is table.RouteType.REALTIME for path in self.entry.paths)

    @property
    def has_sockets(self) -> bool:
        """Whether there is a path for WebSockets: for realtime sessions, or for ones that are relayed as they are."""
        return self.has_sessions or bool(self.uninspected)

    @property
    def uninspected(self) -> tuple[str, ...]:
        """Paths that are relayed without being read."""
        return tuple(path.suffix for path in self.entry.paths if path.type is table.RouteType.PASSTHROUGH)


class _Found(NamedTuple):
    """A provider, and what it leads to."""

    entry: table.Provider
    credential: Credential | None = None
    endpoints: table.EndpointSet | None = None
    tls: FoundTls | None = None
    problem: Unresolved | None = None

    @property
    def credentials(self) -> tuple[Credential, ...]:
        own = (self.credential,) if self.credential else ()
        return (*own, *self.tls.credentials) if self.tls else own


def compile_backend(
    backend: Read[crds.Backend], objects: Objects, attachments: Attachments, cluster: Cluster | None
) -> Compiled:
    """Everything that is decided about a Backend by itself."""
    name = backend.identity.path
    if backend.value is None:
        return Compiled(table.Backend(name=name, error=f"{backend.identity} cannot be served: {backend.error}"))
    spec = backend.value.spec
    found = [
        _provider(provider, f"spec.providers[{index}]", backend.identity, objects, cluster)
        for index, provider in enumerate(spec.providers)
    ]
    compiled = Compiled(
        table.Backend(
            name=name,
            providers=tuple(_with_policies(each.entry, backend.identity, attachments) for each in found),
            models=tuple(_model(model) for model in spec.models),
            paths=declared(spec.routes) or WELL_KNOWN,
            timeouts=timeouts(spec.timeouts),
            balance=balance(spec.balance),
            health=health(spec.health),
            max_sessions=spec.max_sessions or 0,
            networks=cluster.networks(backend.identity.namespace) if cluster else (),
        ),
        tuple(credential for each in found for credential in each.credentials),
        tuple(each.problem for each in found if each.problem),
        tuple({each.endpoints.id: each.endpoints for each in found if each.endpoints}.values()),
        tuple(told for each in found if each.tls for told in each.tls.validity),
    )
    return _with_refused(compiled)


def resolved(compiled: Compiled) -> Condition:
    """The condition ResolvedRefs."""
    problems = compiled.problems
    if problems:
        return false("ResolvedRefs", problems[0].reason, "; ".join(map(str, problems)))
    empty = filter(None, map(services.not_ready, compiled.endpoints))
    return true(
        "ResolvedRefs", " ".join(["Everything that the Backend refers to was found.", *empty, *compiled.validity])
    )


def has_no_endpoint(compiled: Compiled) -> str:
    """What is said where all providers are Services without an endpoint that is ready; nothing where one can be
    called."""
    empty = {each.id: services.not_ready(each) for each in compiled.endpoints if not each.addresses}
    called = [each for each in compiled.entry.providers if each.endpoints not in empty]
    return "" if called else " ".join(empty.values())


def _provider(
    provider: crds.backend.Provider, field: str, backend: Identity, objects: Objects, cluster: Cluster | None
) -> _Found:
    service = _service(provider, f"{field}.custom.service", backend)
    kind = _kind(provider)
    url = _of_service(service, provider) if service else _url(provider, kind)
    credential = endpoints = tls = problem = None
    try:
        if service is None:
            check_url(url, f"{field}.url", cluster.networks(backend.namespace) if cluster else None)
        else:
            endpoints = endpoints_of(service, cluster)
        if provider.auth and provider.auth.secret_ref:
            where = f"{field}.auth.secretRef"
            ref = provider.auth.secret_ref
            credential = look_up(ref.name, ref.key, where, backend.namespace, objects, cluster)
        if provider.tls:
            tls = upstream_tls(provider.tls, Place(f"{field}.tls", backend.namespace, objects, cluster))
    except Unresolved as error:
        problem = error
    entry = table.Provider(
        name=provider.name,
        kind=kind.name,
        url=url,
        api_version=(provider.azure and provider.azure.api_version) or "",
        credential=table.Credential(
            kind=_credential_kind(provider.auth),
            secret=credential.id if credential is not None else "",
            header=_header(provider.auth, kind),
        ),
        endpoints=endpoints.id if endpoints else "",
        tls=tls.entry if tls else None,
        domain=provider.domain or "",
        default_model=provider.default_model or "",
        model_override=provider.model_override or "",
        weight=1 if provider.weight is None else provider.weight,
        priority=provider.priority or 0,
        max_sessions=provider.max_sessions or 0,
        error=str(problem) if problem is not None else "",
    )
    return _Found(entry, credential, endpoints, tls, problem)


def _of_service(service: services.Reference, provider: crds.backend.Provider) -> str:
    return f"https://{service.authority}" if provider.tls else service.url


def _kind(provider: crds.backend.Provider) -> Kind:
    """The one whose field is set."""
    return next(kind for kind in KINDS.values() if getattr(provider, kind.name) is not None)


def _url(provider: crds.backend.Provider, kind: Kind) -> str:
    if provider.azure is not None and provider.azure.resource_name:
        return azure.url_of(provider.azure.resource_name)
    return (provider.url or kind.url).rstrip("/")


def _header(auth: crds.backend.Auth | None, kind: Kind) -> Literal["authorization", "api-key"]:
    """Where the credential is shown, if it is ours."""
    if auth is None or auth.secret_ref is None:
        return "authorization"
    return _HEADERS[auth.scheme] if auth.scheme else kind.header


def _service(provider: crds.backend.Provider, field: str, backend: Identity) -> services.Reference | None:
    ref = provider.custom and provider.custom.service
    if not ref:
        return None
    own = backend.namespace
    return services.Reference(BACKEND, own, ref.namespace or own, ref.name, ref.port, field)


def _with_policies(provider: table.Provider, backend: Identity, attachments: Attachments) -> table.Provider:
    """The provider with the transformations of Policies that target it: the oldest last, since it wins."""
    target = Target(*backend, provider.name)
    attached = attachments.at.get(target, [])
    found = [each.blocks.transformation for each in reversed(attached) if each.blocks.transformation]
    error = provider.error or attachments.why_closed(target)
    if not found and not error:
        return provider
    return provider.model_copy(update={"transformations": tuple(found), "error": error})


def _credential_kind(auth: crds.backend.Auth | None) -> Literal["secret", "passthrough", "none"]:
    if auth is None:
        return "none"
    return "passthrough" if auth.passthrough is not None else "secret"


def _model(model: crds.backend.Model) -> table.Model:
    return table.Model(
        name=model.name,
        targets=tuple(
            table.Target(provider=target.provider, model=target.model or "", weight=target.weight)
            for target in model.targets
        ),
        price=table.Price(**model.price.model_dump(by_alias=False)) if model.price else None,
    )


def _with_refused(compiled: Compiled) -> Compiled:
    """Behind `*` and under our credential, paths are refused unless they are declared, which wins over `*`."""
    suffixes = {path.suffix for path in compiled.entry.paths}
    if "*" not in suffixes or not compiled.injects:
        return compiled
    refused = tuple(path for path in REFUSED if path not in suffixes)
    if any(path.type is table.RouteType.RESPONSES and path.suffix != "*" for path in compiled.entry.paths):
        refused += (STORED,)
    return replace(compiled, entry=compiled.entry.model_copy(update={"refused": refused}))
