"""Who could be asked for a model, and what it is called on both sides: by the data plane's own rules."""

from __future__ import annotations

from dataclasses import dataclass

from dataplane import models
from dataplane.errors import Refusal
from dataplane.http import query as queries
from dataplane.limits.spending import Model as Asked
from dataplane.table import Backend, Model, Price, Provider, RouteType
from dataplane.upstreams.choose import default_not_allowed, default_of
from dataplane.upstreams.request import address
from tidegate.wording import joined


@dataclass(frozen=True, slots=True)
class Candidate:
    """A provider that may be asked, and what the model is called on both sides."""

    provider: Provider
    public: str = ""
    upstream: str = ""
    weight: int = 1
    """Its own, times that of its target."""
    price: Price | None = None

    def asked(self, kind: RouteType) -> Asked:
        """What limits are asked about."""
        return Asked(self.public, self.provider.kind, self.upstream, self.price, kind is RouteType.REALTIME)

    def url(self, kind: RouteType, path: str, query: str) -> str:
        """Where it would be asked."""
        if kind is not RouteType.REALTIME:
            return address(self.provider, path, query, self.upstream)
        if self.upstream:
            query = queries.replaced(query, "model", self.upstream)
        return address(self.provider, path, query, self.upstream).replace("http", "ws", 1)


def candidates(
    backend: Backend, kind: RouteType, name: str, query: str, allow: models.Allow
) -> tuple[list[Candidate], str]:
    """Who may be asked for a model by that name, and what is to be said of it, if anything.

    Raises Refusal model_not_found, missing_model, model_not_allowed."""
    transcribes = queries.get(query, "intent") == "transcription" and not name
    if kind is RouteType.PASSTHROUGH or (kind is RouteType.REALTIME and transcribes):
        return [Candidate(provider, weight=provider.weight) for provider in backend.providers], ""
    if not name:
        return _defaults(backend, allow), "none is named, so a provider's own default is asked for"
    if not backend.models:
        found = [Candidate(each, name, each.model_override or name, each.weight) for each in backend.providers]
        return found, f"{name}; the Backend declares no models, so every name goes on as it is"
    model, star = declared(backend, name)
    providers = {provider.name: provider for provider in backend.providers}
    found = [
        Candidate(provider, name, upstream, target.weight * provider.weight, model.price)
        for target in model.targets
        for provider in [providers[target.provider]]
        for upstream in [provider.model_override or target.model.replace("*", star) or name]
    ]
    return found, f"{name}, declared as {model.name}"


def declared(backend: Backend, name: str) -> tuple[Model, str]:
    """The model that the Backend has by that name, and what stands for its `*`. Raises Refusal model_not_found."""
    found = models.find(backend.models, name)
    if found is None:
        names = joined([model.name for model in backend.models])
        raise Refusal("model_not_found", f"Backend {backend.name} does not know {name}; it has: {names}.")
    return found


def _defaults(backend: Backend, allow: models.Allow) -> list[Candidate]:
    willing = [each for each in backend.providers if default_of(each)]
    if not willing:
        raise Refusal("missing_model", f"No model is named, and no provider of {backend.name} has a defaultModel.")
    permitted = [each for each in willing if not models.refused(allow, default_of(each))]
    if not permitted:
        raise default_not_allowed(allow)
    return [_default(backend, each) for each in permitted]


def _default(backend: Backend, provider: Provider) -> Candidate:
    name = default_of(provider)
    known = models.find(backend.models, name)
    price = known[0].price if known else None
    return Candidate(provider, name, provider.model_override or name, provider.weight, price)
