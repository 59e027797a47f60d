"""The Backends, Policies and the Secret that LiteLLM's configuration becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

import crds.base
from tidegate.importing.litellm.deployments import Provider
from tidegate.importing.litellm.pools import Group, Pool, Target, names
from tidegate.importing.litellm.settings import Settings
from tidegate.importing.writing import Object, azure, duration, object_of, secret

NAME: Final = "litellm"
_PROVIDERS = f"{NAME}-providers"
_KEYS = f"{NAME}-keys"
_MOST_TARGET_REFS = 16
_SHORTEST, _LONGEST = Decimal("0.1"), Decimal(3600)


def objects(groups: Sequence[Group], said: Settings, namespace: str) -> list[Object]:
    """In the order in which people read them; Secrets last."""
    called = names(provider for group in groups for provider in group.providers)
    backends = {_numbered(NAME, index): group for index, group in enumerate(groups)}
    made = [
        *(_backend(name, group, called, said, namespace, alone=len(groups) == 1) for name, group in backends.items()),
        *_policies(list(backends), said, namespace),
        *(
            _organization(name, provider, called[provider], namespace)
            for name, group in backends.items()
            for provider in group.providers
            if provider.organization
        ),
    ]
    credentials = {called[provider]: provider.key.written for provider in called if provider.key}
    if credentials:
        made.append(secret(_PROVIDERS, namespace, credentials))
    if said.master_key:
        made.append(secret(_KEYS, namespace, {"master": said.master_key.written}))
    return made


def _backend(
    name: str, group: Group, called: Mapping[Provider, str], said: Settings, namespace: str, *, alone: bool
) -> Object:
    spec: Object = {
        "providers": [_provider(each, called[each]) for each in group.providers],
        "models": [_model(pool, called) for pool in group.pools],
    }
    if not alone:  # a Backend that is alone is at the root by itself
        spec["expose"] = {"pathPrefix": "/"} if name == NAME else {}
    if said.strategy:
        spec["balance"] = {"strategy": said.strategy}
    if health := _health(said):
        spec["health"] = health
    if said.timeout is not None:
        spec["timeouts"] = {"response": duration(min(max(said.timeout, _SHORTEST), _LONGEST))}
    return object_of("Backend", name, namespace, spec)


def _provider(provider: Provider, name: str) -> Object:
    written: Object = {"name": name, provider.kind: {}}
    if provider.kind == "azure":
        written |= azure(provider.url, provider.api_version)
    elif provider.url:
        written["url"] = provider.url
    if provider.key:
        scheme = {"scheme": "Bearer"} if provider.bearer else {}
        written["auth"] = {"secretRef": {"name": _PROVIDERS, "key": name}, **scheme}
    if provider.priority:
        written["priority"] = provider.priority
    return written


def _health(said: Settings) -> Object:
    """LiteLLM leaves a deployment out for the same time each time."""
    health: Object = {} if said.eject_after is None else {"ejectAfter": said.eject_after}
    if said.eject_for is not None:
        length = duration(min(max(said.eject_for, _SHORTEST), _LONGEST))
        health |= {"ejectFor": length, "ejectForMost": length}
    return health


def _model(pool: Pool, called: Mapping[Provider, str]) -> Object:
    alone = len(pool.targets) == 1
    written: Object = {"name": pool.name, "targets": [_target(each, called, alone=alone) for each in pool.targets]}
    if pool.price:
        written["price"] = dict(pool.price)
    return written


def _target(target: Target, called: Mapping[Provider, str], *, alone: bool) -> Object:
    written: Object = {"provider": called[target.provider], "model": target.model}
    return written if alone or target.weight == 1 else {**written, "weight": target.weight}


def _policies(backends: Sequence[str], said: Settings, namespace: str) -> list[Object]:
    blocks: Object = {}
    if said.master_key:
        blocks["authentication"] = {"keys": [{"secretRef": {"name": _KEYS}}]}
    if said.events:
        blocks["telemetry"] = {"logEvents": list(said.events)}
    if not blocks:
        return []
    return [
        object_of("Policy", _numbered(NAME, index // _MOST_TARGET_REFS), namespace, _attached(some, blocks))
        for index in range(0, len(backends), _MOST_TARGET_REFS)
        for some in [backends[index : index + _MOST_TARGET_REFS]]
    ]


def _attached(backends: Sequence[str], blocks: Mapping[str, object]) -> Object:
    targets = [{"group": crds.base.GROUP, "kind": "Backend", "name": name} for name in backends]
    return {"targetRefs": targets, **blocks}


def _organization(backend: str, provider: Provider, called: str, namespace: str) -> Object:
    """For OpenAI a header says whose account is meant; the client's own is not sent on beside our credential."""
    value = provider.organization.replace("$", "$$")
    target = {"group": crds.base.GROUP, "kind": "Backend", "name": backend, "sectionName": called}
    change = {"request": {"set": [{"name": "OpenAI-Organization", "value": value}]}}
    name = f"{backend}-{called}-organization"
    return object_of("Policy", name, namespace, {"targetRefs": [target], "transformation": change})


def _numbered(name: str, index: int) -> str:
    return name if index == 0 else f"{name}-{index + 1}"
