"""Shapes of the table, by their numbers. A controller serves the last two, so that it and the data planes need not be
upgraded in one moment; a data plane reads both.

A step takes a part from one number to the one before. What the older version does not know either falls away, where
nothing else can be served by mistake then, or becomes an `error` that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from dataplane.table import (
    SCHEMA,
    Backend,
    Balance,
    EndpointSet,
    Forward,
    Health,
    Listener,
    Model,
    Part,
    Provider,
    Route,
    RouteType,
    Table,
    sealed,
)

SERVED: Final = (SCHEMA, SCHEMA - 1)
"""The best first."""

TOO_OLD: Final = "This data plane is too old for it: upgrade it to the version of the controller."


def best(schemas: Iterable[int]) -> int | None:
    """The best that both sides know; None: there is none."""
    return max(set(schemas) & set(SERVED), default=None)


def lowered(table: Table, schema: int) -> Table:
    """The table for a data plane that reads this schema. Parts that are the same there stay the same objects."""
    if schema not in SERVED:
        raise ValueError(f"schema {schema} is not served; these are: {SERVED}")
    for number in range(table.schema_number - 1, schema - 1, -1):
        step = STEPS[number]
        sections = {
            name: tuple(part for each in parts if (part := step(each)) is not None) for name, parts in table.sections()
        }
        table = table.model_copy(update={**sections, **_WITHOUT[number](table), "schema_number": number})
    return table


def _to_1(part: Part) -> Part | None:
    """Without Gateways, redirects, endpoints of Services, TLS of providers, kinds of providers but two, the Responses
    API, and what is said of balancing and health: such a data plane shares requests by the weights of targets. Nothing
    is served where guardrails hold."""
    match part:
        case Listener() | EndpointSet():
            return None
        case Route(attached=attached) if attached:
            return None
        case Route(redirect=redirect) if redirect:
            return sealed(part.model_copy(update={"redirect": None, "error": part.error or TOO_OLD}))
        case Route(forwards=forwards) if any(each.policies.guardrails for each in forwards):
            return sealed(part.model_copy(update={"forwards": tuple(map(_forward, forwards))}))
        case Backend():
            parts = {"providers": tuple(map(_provider, part.providers)), "models": tuple(map(_model, part.models))}
            new = {**_BACKEND, **parts, **_paths(part)}
            if any(getattr(part, name) != value for name, value in new.items()):
                return sealed(part.model_copy(update=new))
    return part


_BACKEND: Final = {"networks": (), "balance": Balance(), "health": Health()}
_PROVIDER: Final = {"weight": 1, "priority": 0, "max_sessions": 0, "domain": ""}
_TIME: Final = dict.fromkeys(("session_minute", "audio_minute", "item"))


def _forward(forward: Forward) -> Forward:
    if not forward.policies.guardrails:
        return forward
    policies = forward.policies.model_copy(update={"guardrails": ()})
    return forward.model_copy(update={"policies": policies, "error": forward.error or TOO_OLD})


def _model(model: Model) -> Model:
    """Without what schema 1 has no prices for: it counts nothing of that."""
    if model.price is None or all(getattr(model.price, name) is None for name in _TIME):
        return model
    return model.model_copy(update={"price": model.price.model_copy(update=_TIME)})


def _provider(provider: Provider) -> Provider:
    new: dict[str, object] = {**_PROVIDER}
    if not _known_to_1(provider):
        secret = provider.credential.model_copy(update={"header": "authorization"})
        new |= {"kind": "custom", "endpoints": "", "tls": None, "api_version": "", "credential": secret}
        new["error"] = provider.error or TOO_OLD
    return provider.model_copy(update=new)


def _known_to_1(provider: Provider) -> bool:
    return provider.kind in ("openai", "custom") and not (provider.endpoints or provider.tls)


def _paths(backend: Backend) -> dict[str, object]:
    """Without those of a type that is unknown there, and the Backend's error: `*` would have them relayed unread."""
    paths = tuple(each for each in backend.paths if each.type is not RouteType.RESPONSES)
    open_ended = paths != backend.paths and any(each.suffix == "*" for each in paths)
    return {"paths": paths, "error": backend.error or (TOO_OLD if open_ended else "")}


def _tables_of_1(table: Table) -> dict[str, object]:
    """Without hints, and what signs them."""
    return {"hints": (), "secrets": tuple(each for each in table.secrets if each not in table.hints)}


_WITHOUT: Final[Mapping[int, Callable[[Table], dict[str, object]]]] = {1: _tables_of_1}
"""What is changed beside parts, to each number from the one after it."""
STEPS: Final[Mapping[int, Callable[[Part], Part | None]]] = {1: _to_1}
"""To each number, from the one after it."""
