"""Which provider takes a request, and under which name it knows the model. Pure; chance is an argument."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dataplane import models
from dataplane.errors import Refusal
from dataplane.table import Backend, Model, Price, Provider

Rand = Callable[[], float]
"""A number in [0, 1)."""
T = TypeVar("T")


@dataclass(slots=True)
class Destination:
    provider: Provider
    public_model: str
    """The name that the client asked for, or the default. Policies and price lists speak of this one."""
    upstream_model: str
    """The name that the provider is sent."""
    price: Price | None = None
    """The Backend's own price."""
    declared: bool = False
    """Whether the Backend declares the name; only then may it become a metric label unseen."""


def choose(backend: Backend, requested: str, rand: Rand, allow: models.Allow = ()) -> Destination:
    """The destination of a request that names `requested` (empty: it names no model), of a caller for whom `allow`
    holds. Whether the caller may use a model is decided before whether there is one.

    Raises Refusal model_not_allowed, model_not_found, missing_model, configuration_error."""
    if requested and allow:
        check(allow, requested)
    usable = {provider.name: provider for provider in backend.providers if not provider.error}
    if not usable:
        raise unusable(backend, [provider.name for provider in backend.providers])
    if not requested:
        return _default(backend, list(usable.values()), rand, allow)
    if not backend.models:
        provider = _weighted([(provider, 1) for provider in usable.values()], rand)
        return Destination(provider, requested, provider.model_override or requested)
    model, star = declared(backend, requested, allow)
    targets = [(target, target.weight) for target in model.targets if target.provider in usable]
    if not any(weight for _, weight in targets):
        raise unusable(backend, [target.provider for target in model.targets])
    target = _weighted(targets, rand)
    provider = usable[target.provider]
    name = provider.model_override or target.model.replace("*", star) or requested
    return Destination(provider, requested, name, model.price, declared=True)


def check(allow: models.Allow, name: str) -> None:
    """Raises Refusal model_not_allowed."""
    if why := models.refused(allow, name):
        raise Refusal("model_not_allowed", why, param="model")


def any_provider(backend: Backend, rand: Rand) -> Provider:
    """A usable provider for a request that names no model at all (Passthrough).

    Raises Refusal configuration_error."""
    usable = [(provider, 1) for provider in backend.providers if not provider.error]
    if not usable:
        raise unusable(backend, [provider.name for provider in backend.providers])
    return _weighted(usable, rand)


def default_of(provider: Provider) -> str:
    """The model that a request gets there that names none; empty if there is none."""
    return provider.default_model or provider.model_override


def _default(backend: Backend, usable: list[Provider], rand: Rand, allow: models.Allow) -> Destination:
    willing = [provider for provider in usable if default_of(provider)]
    if not willing:
        raise Refusal(
            "missing_model",
            f"The request names no model, and no provider of Backend {backend.name} has a defaultModel. Name one.",
            param="model",
        )
    permitted = [(provider, 1) for provider in willing if not (allow and models.refused(allow, default_of(provider)))]
    if not permitted:
        raise default_not_allowed(allow)
    provider = _weighted(permitted, rand)
    name = default_of(provider)
    known = models.find(backend.models, name)
    return Destination(
        provider, name, provider.model_override or name, known[0].price if known else None, declared=True
    )


def default_not_allowed(allow: models.Allow) -> Refusal:
    """What is answered where no default may be used; which they are is not told."""
    why = f"The request names no model, and this caller may not use the default. Name one. {models.alternatives(allow)}"
    return Refusal("model_not_allowed", why.rstrip(), param="model")


def declared(backend: Backend, name: str, allow: models.Allow) -> tuple[Model, str]:
    """The Backend's model of that name, and what its `*` stands for. Raises Refusal model_not_found."""
    if found := models.find(backend.models, name):
        return found
    names = models.names(backend.models, allow) if allow else [model.name for model in backend.models]
    close = difflib.get_close_matches(name[:256], names, n=3, cutoff=0.4) or names[:5]
    hint = f" Did you mean {', '.join(close)}?" if close else ""
    raise Refusal(
        "model_not_found", f"Backend {backend.name} does not know the model {name[:256]!r}.{hint}", param="model"
    )


def unusable(backend: Backend, names: Sequence[str]) -> Refusal:
    """What is answered where none of these providers can be used, with their own reasons."""
    errors = {provider.name: provider.error for provider in backend.providers if provider.error}
    reasons = [f"provider {name}: {errors[name]}" for name in dict.fromkeys(names) if name in errors]
    why = "; ".join(reasons) or "every target has weight 0 or there is none"
    return Refusal("configuration_error", f"Backend {backend.name} has no usable provider: {why}.")


def _weighted(items: Sequence[tuple[T, int]], rand: Rand) -> T:
    if len(items) == 1:
        return items[0][0]
    point = rand() * sum([weight for _, weight in items])
    for item, weight in items:
        point -= weight
        if point < 0:
            return item
    return next(item for item, weight in reversed(items) if weight)
