"""LiteLLM's `router_settings`, `litellm_settings` and `general_settings`, as far as Tidegate has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from tidegate.importing.fields import Fields
from tidegate.importing.keys import Key
from tidegate.importing.litellm import advice
from tidegate.importing.litellm.environment import Environment
from tidegate.importing.patterns import EVENT_TYPE, fits
from tidegate.importing.report import written

_STRATEGIES: Final = {"simple-shuffle": "Weighted", "least-busy": "LeastActive"}


@dataclass(slots=True)
class Settings:
    """What is said of all models."""

    weighted: bool = True
    """Whether deployments are chosen by weight."""
    strategy: str = ""
    """How to balance, as a Backend has it."""
    fallbacks: list[tuple[Fields, str, Sequence[str]]] = field(default_factory=list)
    """Where it is written, for which name, and the names that are asked then."""
    eject_after: int | None = None
    eject_for: Decimal | None = None
    """Seconds."""
    timeout: Decimal | None = None
    """Seconds."""
    aliases: list[tuple[Fields, str, str]] = field(default_factory=list)
    """Where it is written, another name, and the name that it stands for."""
    events: tuple[str, ...] = ()
    """To log."""
    master_key: Key | None = None


def settings(roots: Sequence[Fields], environment: Environment) -> Settings:
    """Of several files the first that says something holds."""
    found = Settings()
    router, litellm, general = (
        _blocks(roots, name) for name in ("router_settings", "litellm_settings", "general_settings")
    )
    _routing(found, router)
    _failing(found, router, litellm)
    for name, blocks in (("timeout", router), ("request_timeout", litellm)):
        if fields := _first(blocks, name):
            seconds = fields.number(name)
            if found.timeout is not None:
                fields.drop(name, "router_settings.timeout holds")
            found.timeout = found.timeout or seconds
    if fields := _first(litellm, "logged_real_time_event_types"):
        found.events = _events(fields)
    if fields := _first(general, "master_key"):
        found.master_key = environment.key(fields, "master_key")
    for blocks, advised in ((router, advice.ROUTER), (litellm, advice.LITELLM), (general, advice.GENERAL)):
        for block in blocks:
            block.rest(advised)
    return found


def _routing(found: Settings, router: Sequence[Fields]) -> None:
    if fields := _first(router, "routing_strategy"):
        strategy = fields.text("routing_strategy")
        found.weighted = strategy in (None, "simple-shuffle")
        found.strategy = _STRATEGIES.get(strategy or "", "")
        if not found.strategy:
            fields.change("routing_strategy", "sessions go where the fewest are, and requests to all targets alike")
    if (fields := _first(router, "model_group_alias")) and (block := fields.block("model_group_alias")):
        for alias in list(block.left()):
            if model := _aliased(block, alias):
                found.aliases.append((block, alias, model))


def _failing(found: Settings, router: Sequence[Fields], litellm: Sequence[Fields]) -> None:
    """What becomes of providers that fail, and of requests then. Both blocks may say it; the router's holds."""
    blocks = [*router, *litellm]
    if fields := _first(blocks, "fallbacks"):
        for entry in fields.blocks("fallbacks"):
            found.fallbacks += [(entry, name, entry.texts(name)) for name in list(entry.left())]
    if fields := _first(blocks, "default_fallbacks"):
        found.fallbacks.append((fields, "default_fallbacks", fields.texts("default_fallbacks")))
    if (fields := _first(blocks, "allowed_fails")) and (fails := fields.number("allowed_fails")) is not None:
        found.eject_after = min(max(int(fails) + 1, 1), 100)
        fields.change("allowed_fails", "counts failures in a row (health.ejectAfter), and not those of a minute")
    if fields := _first(blocks, "cooldown_time"):
        found.eject_for = fields.number("cooldown_time")


def _aliased(block: Fields, alias: str) -> str | None:
    """What it stands for: text, or a mapping with `model`."""
    if not isinstance(block.content[alias], dict):
        return block.text(alias)
    inside = block.block(alias)
    model = inside.text("model") if inside else None
    if inside and inside.flag("hidden"):
        inside.drop("hidden", "/v1/models lists it")
    if inside:
        inside.rest({})
    return model


def _events(fields: Fields) -> tuple[str, ...]:
    name = "logged_real_time_event_types"
    if fields.content[name] == "*":
        fields.take(name)
        return ("*",)
    events = list(dict.fromkeys(fields.texts(name)))
    good = [event for event in events if fits(EVENT_TYPE, event)][:64]
    if len(good) < len(events):
        fields.drop(name, "some of them are no types of events, such as response.done, or there are more than 64")
    return tuple(good)


def _blocks(roots: Sequence[Fields], name: str) -> list[Fields]:
    return [block for root in roots if (block := root.block(name))]


def _first(blocks: Sequence[Fields], name: str) -> Fields | None:
    """The block that says it; of later ones it is told that they do in vain."""
    found = [block for block in blocks if block.has(name)]
    for other in found[1:]:
        other.drop(name, f"{written((*found[0].steps, name))} of {found[0].source.file} comes first, and holds")
    return found[0] if found else None


def credential_entries(roots: Sequence[Fields]) -> Mapping[str, Fields]:
    """The `credential_values` of `credential_list`, by name."""
    found: dict[str, Fields] = {}
    for root in roots:
        for entry in root.blocks("credential_list"):
            name, values = entry.text("credential_name"), entry.block("credential_values")
            entry.rest({"credential_info": "describes the credential, and nothing here depends on it"})
            if not name or values is None:
                entry.missing("dropped", "has no credential_name or no credential_values")
            elif name in found:
                entry.missing("dropped", "there is an entry of this credential_name before it, which holds")
            else:
                found[name] = values
    return found
