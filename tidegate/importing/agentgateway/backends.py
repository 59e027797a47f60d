"""AgentgatewayBackends to Backends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import crds.base
from tidegate.importing.agentgateway import advice
from tidegate.importing.agentgateway.upstreams import Upstream, upstream
from tidegate.importing.fields import Fields
from tidegate.importing.patterns import LABEL, MODEL_NAME, URL, fits
from tidegate.importing.writing import AZURE_VERSION, Object, azure, object_of, secret

KINDS: Final = ("openai", "azureopenai", "azure", "anthropic", "gemini", "vertexai", "bedrock", "custom")
_SERVED: Final = ("openai", "azureopenai", "azure", "custom")
_MOST_PROVIDERS = 32


@dataclass(frozen=True, slots=True)
class Provider:
    """One of a Backend's."""

    entry: Mapping[str, object]
    upstream: Upstream
    name: str


@dataclass(slots=True)
class Broader:
    """What Policies say of a Backend, and of its providers by their names."""

    of_all: Upstream = field(default_factory=Upstream)
    of_providers: dict[str, Upstream] = field(default_factory=dict)


def backend(document: Fields, name: str, namespace: str, broader: Broader) -> list[Object]:
    """The Backend, with a Secret for keys that stand there themselves, and Policies for what providers' headers become.
    Nothing, and findings, where it is none for models."""
    spec = document.block("spec")
    ai = spec.block("ai") if spec else None
    if spec is None or ai is None:
        if spec:
            spec.rest({}, advice.NOT_FOR_MODELS)
        document.missing("dropped", advice.NOT_FOR_MODELS)
        return []
    of_backend = upstream(spec.block("policies")).over(broader.of_all)
    providers = list(_providers(ai, of_backend, broader))
    ai.rest({})
    spec.rest({})
    if not providers:
        document.missing("dropped", "has no provider that can be imported, and is left out")
        return []
    if not of_backend.routes:
        spec.missing("changed", advice.NO_ROUTES)
    return _objects(name, namespace, providers, of_backend, spec)


def _providers(ai: Fields, of_backend: Upstream, broader: Broader) -> Iterator[Provider]:
    seen: set[str] = set()
    single = ai.block("provider")
    if single and (found := _provider(single, "", of_backend, Upstream(), seen)):
        yield found
    for group, inside in enumerate(ai.blocks("groups")):
        for each in inside.blocks("providers"):
            written = each.text("name") or ""
            own = upstream(each.block("policies")).over(broader.of_providers.get(written, Upstream()))
            if len(seen) == _MOST_PROVIDERS:
                each.missing("dropped", f"a Backend has at most {_MOST_PROVIDERS} providers")
            elif found := _provider(each, written, own.over(of_backend), own, seen):
                yield replace(found, entry={**found.entry, **({"priority": min(group, 15)} if group else {})})
            each.rest({}, "goes with its provider, which is left out")
        inside.rest({})


def _provider(fields: Fields, written: str, said: Upstream, own: Upstream, seen: set[str]) -> Provider | None:
    """`own`: what is said of this provider alone."""
    kind = next((each for each in KINDS if fields.has(each)), "")
    config = fields.block(kind) if kind else None
    entry = _kind(kind, config, fields, said) if config else None
    if config:
        config.rest({})
    if entry is None or said.closed:
        why = advice.NO_CREDENTIAL if entry else advice.NO_ADDRESS if kind in _SERVED else advice.NO_KIND
        fields.rest({}, why)
        fields.missing("dropped", why)
        return None
    name = written.replace(".", "-").lower() or kind
    if not fits(LABEL, name) or name in seen:
        name = next(free for number in range(1, 99) if (free := f"{kind}-{number}") not in seen)
    if written and name != written:
        fields.change("name", f"is {name} here: names of providers are unique, of letters, digits and '-'")
    seen.add(name)
    fields.rest(advice.PROVIDER)
    return Provider({"name": name, **entry}, replace(said, transformation=own.transformation), name)


def _kind(kind: str, config: Fields, fields: Fields, said: Upstream) -> Object | None:
    """What is said of the kind, its address and its model; None where Tidegate has not its like."""
    if kind == "openai":
        entry = _openai(fields, said)
    elif kind == "custom":
        entry = _custom(config, fields, said)
    elif kind == "azure":
        entry = _azure(config)
    elif kind == "azureopenai":
        entry = _azure_openai(config)
    else:
        return None
    name = "deploymentName" if kind == "azureopenai" else "model"
    if entry is not None and (model := config.text(name)):
        if fits(MODEL_NAME, model):
            entry["modelOverride"] = model
        else:
            config.drop(name, "is no exact name of a model: no '*', no spaces")
    return entry


def _openai(fields: Fields, said: Upstream) -> Object | None:
    said_host = fields.has("host")
    url = _url(fields, said)
    if said_host and url is None:
        return None
    if url is None:
        return {"openai": {}}
    is_openai = url.removeprefix("https://").partition("/")[0].endswith("openai.com")
    return {"openai" if is_openai else "custom": {}, "url": url}


def _azure(config: Fields) -> Object | None:
    """A resource by its name; of Foundry, by its address."""
    resource, is_foundry = config.text("resourceName") or "", config.text("resourceType") == "Foundry"
    if config.has("projectName"):
        config.change("projectName", "the API of the resource is called, at /openai/v1")
    domain = "services.ai.azure.com" if is_foundry else "openai.azure.com"
    return _azure_at(f"https://{resource}.{domain}", config)


def _azure_openai(config: Fields) -> Object | None:
    host = (config.text("endpoint") or "").removeprefix("https://").removeprefix("http://").rstrip("/")
    return _azure_at(f"https://{host}", config)


def _azure_at(url: str, config: Fields) -> Object | None:
    if not fits(URL, url):
        config.missing("dropped", "names no resource or endpoint that makes an address")
        return None
    version = config.text("apiVersion") or ""
    if version and version != "v1" and not AZURE_VERSION.fullmatch(version):
        config.drop("apiVersion", "is none that Azure has; the GA API is called")
    return azure(url, version if AZURE_VERSION.fullmatch(version) else "")


def _custom(config: Fields, fields: Fields, said: Upstream) -> Object | None:
    for format_ in config.blocks("formats"):
        format_.take("type")
        format_.rest({"path": advice.PROVIDER["path"]})
    ref = config.block("backendRef")
    if ref is None:
        url = _url(fields, said)
        return {"custom": {}, "url": url} if url else None
    name, port = ref.text("name"), ref.number("port")
    if (ref.text("kind") or "Service") != "Service" or (ref.text("group") or "") or not name or port is None:
        ref.missing("dropped", "leads to no port of a Service")
        return None
    ref.rest({})
    if not fits(LABEL, name) or port != int(port) or not 0 < port < 65536:
        ref.missing("dropped", "leads to no port of a Service")
        return None
    return {"custom": {"service": {"name": name, "port": int(port)}}}


def _url(fields: Fields, said: Upstream) -> str | None:
    """Of `host`, `port` and `pathPrefix`."""
    host, port, prefix = fields.text("host"), fields.number("port"), fields.text("pathPrefix") or ""
    if host is None:
        return None
    tls = said.tls or port == 443
    scheme, usual = ("https", 443) if tls else ("http", 80)
    number = int(port) if port is not None and port == int(port) else usual
    url = f"{scheme}://{host}" + (f":{number}" if number != usual else "") + prefix.rstrip("/")
    if not fits(URL, url):
        fields.drop("host", "makes no address together with port and pathPrefix")
        return None
    if not tls:
        fields.change("host", "is called by plain HTTP, since policies.tls says nothing else")
    return url


def _objects(
    name: str, namespace: str, providers: Sequence[Provider], of_backend: Upstream, spec: Fields
) -> list[Object]:
    keys = {each.name: each.upstream.key.written for each in providers if each.upstream.key}
    written: Object = {"providers": [_written(each, name) for each in providers]}
    overridden = any("modelOverride" in each.entry for each in providers)
    if of_backend.aliases and overridden:
        spec.missing("dropped", "policies.ai.modelAliases say nothing where the provider's model is set")
    elif of_backend.aliases:
        written["models"] = _models(of_backend.aliases, providers)
    if of_backend.routes:
        written["routes"] = dict(of_backend.routes)
    if timeouts := _first([of_backend.timeouts, *(each.upstream.timeouts for each in providers)]):
        written["timeouts"] = timeouts
    if health := _first([of_backend.health, *(each.upstream.health for each in providers)]):
        written["health"] = health
    made = [object_of("Backend", name, namespace, written)]
    changes = {"": of_backend.transformation, **{each.name: each.upstream.transformation for each in providers}}
    made += [_policy(name, namespace, section, change) for section, change in changes.items() if change]
    if keys:
        made.append(secret(_secret_of(name), namespace, keys))
    return made


def _first(said: Sequence[Mapping[str, object]]) -> Object:
    """A Backend says it once for all its providers: its own, else that of the first provider that says something."""
    return dict(next(filter(None, said), {}))


def _written(provider: Provider, backend_name: str) -> Object:
    said = provider.upstream
    if said.key:
        return {**provider.entry, "auth": {"secretRef": {"name": _secret_of(backend_name), "key": provider.name}}}
    return {**provider.entry, **({"auth": dict(said.auth)} if said.auth else {})}


def _models(aliases: Mapping[str, str], providers: Sequence[Provider]) -> list[Object]:
    """And every other name as it is."""
    named: list[Object] = [
        {"name": alias, "targets": [{"provider": each.name, "model": model} for each in providers]}
        for alias, model in aliases.items()
    ]
    return [*named, {"name": "*", "targets": [{"provider": each.name} for each in providers]}]


def _policy(backend_name: str, namespace: str, section: str, change: Mapping[str, object]) -> Object:
    target = {"group": crds.base.GROUP, "kind": "Backend", "name": backend_name}
    if section:
        target["sectionName"] = section
    name = f"{backend_name}-{section or 'backend'}-headers"
    return object_of("Policy", name, namespace, {"targetRefs": [target], "transformation": dict(change)})


def _secret_of(backend_name: str) -> str:
    return f"{backend_name}-providers"
