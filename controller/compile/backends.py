"""A Backend: its providers with their credentials, its models, and how its paths are handled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import urlsplit

import crds.backend
from controller.compile.bounds import timeouts
from controller.compile.objects import Identity, Objects, Read
from controller.compile.paths import declared
from controller.compile.policies import Attachments
from controller.compile.secrets import Credential, Unresolved, missing_secret, provider_credential
from controller.compile.statuses import Condition, Target, false, true
from dataplane import table

OPENAI_URL = "https://api.openai.com/v1"

WELL_KNOWN = declared(
    {
        "/v1/chat/completions": crds.backend.RouteType.COMPLETIONS,
        "/v1/realtime": crds.backend.RouteType.REALTIME,
    }
)
"""What is served where a Backend says nothing of routes."""

REFUSED = (
    "/realtime/client_secrets",
    "/realtime/sessions",
    "/realtime/transcription_sessions",
    "/realtime/translations/client_secrets",
    "/realtime/calls/*",
    "/auth_tokens",
    "/organization/*",
)
"""Paths that mint credentials or touch the account: under our credential they lead around every Policy."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A Backend as far as it can be decided without knowing who is attached to it."""

    entry: table.Backend
    credentials: tuple[Credential, ...] = ()
    problems: tuple[Unresolved, ...] = ()
    """References that lead nowhere, each with the field in its message."""

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


def compile_backend(backend: Read[crds.Backend], objects: Objects, attachments: Attachments) -> Compiled:
    """Everything that is decided about a Backend by itself."""
    name = backend.identity.path
    if backend.value is None:
        return Compiled(table.Backend(name=name, error=f"{backend.identity} cannot be served: {backend.error}"))
    spec = backend.value.spec
    found = [
        _provider(provider, f"spec.providers[{index}]", backend.identity, objects)
        for index, provider in enumerate(spec.providers)
    ]
    compiled = Compiled(
        table.Backend(
            name=name,
            providers=tuple(_with_policies(provider, backend.identity, attachments) for provider, _, _ in found),
            models=tuple(_model(model) for model in spec.models),
            paths=declared(spec.routes) or WELL_KNOWN,
            timeouts=timeouts(spec.timeouts),
            max_sessions=spec.max_sessions or 0,
        ),
        tuple(credential for _, credential, _ in found if credential),
        tuple(problem for _, _, problem in found if problem),
    )
    return _with_refused(compiled)


def resolved(problems: Iterable[Unresolved]) -> Condition:
    """The condition ResolvedRefs."""
    listed = list(problems)
    if listed:
        return false("ResolvedRefs", listed[0].reason, "; ".join(map(str, listed)))
    return true("ResolvedRefs", "Everything that the Backend refers to was found.")


def _provider(
    provider: crds.backend.Provider, field: str, backend: Identity, objects: Objects
) -> tuple[table.Provider, Credential | None, Unresolved | None]:
    url = (provider.url or OPENAI_URL).rstrip("/")
    credential = problem = None
    try:
        _check_url(url, f"{field}.url")
        if provider.auth and provider.auth.secret_ref:
            credential = _look_up(provider.auth.secret_ref, f"{field}.auth.secretRef", backend.namespace, objects)
    except Unresolved as error:
        problem = error
    entry = table.Provider(
        name=provider.name,
        kind="openai" if provider.openai is not None else "custom",
        url=url,
        credential=table.Credential(
            kind=_credential_kind(provider.auth), secret=credential.id if credential is not None else ""
        ),
        default_model=provider.default_model or "",
        model_override=provider.model_override or "",
        error=str(problem) if problem is not None else "",
    )
    return entry, credential, problem


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


def _check_url(url: str, field: str) -> None:
    try:
        parts = urlsplit(url)
        if parts.hostname and parts.port != 0:
            return
    except ValueError:
        pass
    raise Unresolved("InvalidAddress", f"{field}: is no address that can be called; check host and port")


def _look_up(ref: crds.backend.SecretKeyRef, field: str, namespace: str, objects: Objects) -> Credential:
    secret = objects.secrets.get((namespace, ref.name))
    try:
        if secret is None:
            raise Unresolved("SecretNotFound", missing_secret(namespace, ref.name, ref.key))
        if secret.value is None:
            raise Unresolved("InvalidCredential", f"{secret.identity} cannot be used: {secret.error}")
        return provider_credential(secret.value, ref.key)
    except Unresolved as problem:
        raise Unresolved(problem.reason, f"{field}: {problem}") from None


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
    return replace(compiled, entry=compiled.entry.model_copy(update={"refused": refused}))
