"""Backends made by hand, and what a request gets of one whose providers are all well."""

from __future__ import annotations

from collections.abc import Callable

from dataplane import models
from dataplane.table import Backend, Model, Price, Provider, Target
from dataplane.upstreams.choose import Choice, Destination, Providers
from dataplane.upstreams.health import Standing


def provider(name: str, **fields: object) -> Provider:
    default = fields.pop("default", "")
    first = Provider(name=name, kind="openai", url=f"https://{name}.test/v1", default_model=str(default))
    return first.model_copy(update=fields)


def model(name: str, *targets: Target, price: Price | None = None) -> Model:
    return Model(name=name, targets=targets or (Target(provider="a"),), price=price)


def backend(*providers: Provider, models: tuple[Model, ...] = ()) -> Backend:
    return Backend(name="ai/voice", providers=providers, models=models)


def well(served: Backend) -> Providers:
    """Its providers, all of them well."""
    return Providers(served, {each.name: Standing() for each in served.providers})


def choose(served: Backend, name: str, rand: Callable[[], float], allow: models.Allow = ()) -> Destination:
    """Where a request goes that names this model."""
    providers = well(served)
    wish = providers.named(name, allow)
    member = Choice(wish, served.balance, rand, session=False).next(0.0)
    assert member is not None
    return providers.destination(wish, member)
