"""One entry of LiteLLM's `model_list`: a provider, and what it calls a model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from crds.backend import RouteType
from tidegate.importing.fields import Fields
from tidegate.importing.keys import Key
from tidegate.importing.litellm import advice
from tidegate.importing.litellm.environment import Environment
from tidegate.importing.litellm.prices import price_of
from tidegate.importing.litellm.vendors import Unknown, Vendor, vendor_of
from tidegate.importing.patterns import MODEL_PATTERN, URL, fits
from tidegate.importing.writing import AZURE_VERSION

SERVED: Final = frozenset(["chat", *(each.value.lower() for each in RouteType)])
"""What `model_info.mode` may say of a model that a Backend can serve."""
_OPENAI_HOST = re.compile(r"https://([a-z0-9-]+\.)*openai\.com(:443)?(/.*)?")


@dataclass(frozen=True, slots=True)
class Provider:
    """What deployments share that may share a provider."""

    kind: str
    url: str
    key: Key | None
    bearer: bool = False
    """Whether Azure is shown a token of Entra ID."""
    api_version: str = ""
    """Of Azure's API before GA."""
    organization: str = ""
    priority: int = 0
    base: str = field(default="", compare=False)
    """What its name begins with."""


@dataclass(frozen=True, slots=True)
class Shared:
    """An entry of `credential_list`: what deployments say together."""

    url: str | None = None
    key: Key | None = None
    token: Key | None = None
    api_version: str | None = None


@dataclass(frozen=True, slots=True)
class Deployment:
    """One place that serves a model."""

    name: str
    """Under which clients ask for it."""
    provider: Provider
    model: str
    weights: Mapping[str, Decimal]
    """What LiteLLM may choose by: weight, rpm and tpm."""
    order: Decimal | None
    """Those of the lowest are asked first, those without one last."""
    timeout: Decimal | None
    price: Mapping[str, str]
    entry: Fields
    params: Fields


def deployment(entry: Fields, environment: Environment, credentials: Mapping[str, Shared]) -> Deployment | None:
    """None, and findings, where it cannot be served. `credentials`: the entries of `credential_list`, by name."""
    name, params = entry.text("model_name"), entry.block("litellm_params")
    info = entry.block("model_info") or Fields(entry.source, entry.report, {}, (*entry.steps, "model_info"))
    if params is None or not name:
        what = "model_name" if params else "litellm_params"
        entry.missing("dropped", f"has no {what}, so that it is no deployment; is everything indented as it was?")
        return None
    mode = info.text("mode")
    found = None
    if mode and mode not in SERVED:
        info.drop("mode", advice.MODE)
        entry.missing("dropped", "the deployment is left out: its model_info.mode is not served")
    elif _is_name(entry, "model_name", name):
        found = _found(name, entry, params, info, environment, credentials)
    if found is None:
        params.rest({}, "goes with its deployment, which is left out")
        info.rest({}, "goes with its deployment, which is left out")
        entry.rest({}, "goes with its deployment, which is left out")
        return None
    params.rest(advice.PARAMS, advice.PARAM)
    info.rest(advice.INFO, advice.DESCRIBES)
    entry.rest(advice.ENTRY)
    return found


def _found(
    name: str,
    entry: Fields,
    params: Fields,
    info: Fields,
    environment: Environment,
    credentials: Mapping[str, Shared],
) -> Deployment | None:
    written, provider = environment.plain(params, "model"), params.text("custom_llm_provider") or ""
    if not written:
        params.missing("dropped", "names no model that can be told, so that the deployment is left out")
        return None
    try:
        vendor_name, vendor, model = vendor_of(written, provider)
    except Unknown as why:
        params.drop("model", f"{why}; the deployment is left out")
        return None
    if not _is_name(params, "model", model) or not _star_has_a_source(name, model, params):
        return None
    if vendor.adapts:
        params.change("model", advice.ADAPTS)
    is_session = info.content.get("mode") == "realtime"
    found = _provider(vendor_name, vendor, params, _shared(params, credentials), environment, is_session=is_session)
    if found is None:
        return None
    weights = {each: number for each in ("weight", "rpm", "tpm") if (number := params.number(each)) is not None}
    return Deployment(
        name=name,
        provider=found,
        model=model,
        weights=weights,
        order=params.number("order"),
        timeout=params.number("timeout"),
        price=price_of(params, info),
        entry=entry,
        params=params,
    )


def _is_name(fields: Fields, field_name: str, name: str) -> bool:
    if fits(MODEL_PATTERN, name):
        return True
    fields.drop(
        field_name, "a model's name is ASCII, without spaces, with at most one '*' and 256 characters: rename it"
    )
    return False


def _star_has_a_source(name: str, model: str, params: Fields) -> bool:
    if "*" in model and "*" not in name:
        params.drop("model", "its '*' stands for what that of model_name matched, which has none: name the model")
        return False
    return True


def shared_of(values: Fields, environment: Environment) -> Shared:
    """The `credential_values` of an entry."""
    said, url = _url(values, environment)
    shared = Shared(
        url if said else None,
        environment.key(values, "api_key"),
        environment.key(values, "azure_ad_token"),
        environment.plain(values, "api_version"),
    )
    values.rest(advice.PARAMS, advice.PARAM)
    return shared


def _shared(params: Fields, credentials: Mapping[str, Shared]) -> Shared:
    """What `litellm_credential_name` leads to, or nothing."""
    name = params.text("litellm_credential_name")
    if name is None:
        return Shared()
    if name not in credentials:
        params.drop("litellm_credential_name", "credential_list in these files has no such entry")
    return credentials.get(name, Shared())


def _provider(
    vendor_name: str, vendor: Vendor, params: Fields, shared: Shared, environment: Environment, *, is_session: bool
) -> Provider | None:
    """Where it is, and what it is shown."""
    said, written = _url(params, environment)
    if said and written is None:
        params.missing("dropped", "the deployment is left out: its address cannot be told")
        return None
    url = written or shared.url or vendor.url
    kind = vendor.kind
    if url and kind == "openai" and not _OPENAI_HOST.fullmatch(url):
        kind = "custom"
    if kind in ("custom", "azure") and not url:
        params.missing("dropped", "has no api_base, which its provider needs, so that the deployment is left out")
        return None
    if written and kind != "azure" and not re.search(r"/v1(/|$)", written):
        params.change("api_base" if params.content.get("api_base") else "base_url", advice.NO_V1)
    usable, key, bearer = _credential(vendor, params, shared, environment)
    if not usable:
        params.missing("dropped", "the deployment is left out: its credential cannot be used")
        return None
    version = _version(params, shared, environment, is_session=is_session) if kind == "azure" else ""
    organization = environment.plain(params, "organization") or ""
    base = vendor_name.replace("_", "-") if kind == vendor.kind else "custom"
    return Provider(kind, url, key, bearer, version, organization, base=base)


def _credential(
    vendor: Vendor, params: Fields, shared: Shared, environment: Environment
) -> tuple[bool, Key | None, bool]:
    """Whether the provider can be called, with which credential, and whether that is a token of Azure's."""
    if params.has("api_key"):
        key = environment.key(params, "api_key")
        return key is not None, key, False
    if vendor.kind == "azure" and params.has("azure_ad_token"):
        key = environment.key(params, "azure_ad_token")
        return key is not None, key, True
    if shared.key or shared.token:
        return True, shared.key or shared.token, not shared.key
    if not vendor.variable:
        return True, None, False
    params.missing("changed", f"has no api_key; LiteLLM takes {vendor.variable} then, and so does the Secret")
    return True, environment.implied(vendor.variable), False


def _version(params: Fields, shared: Shared, environment: Environment, *, is_session: bool) -> str:
    """Of Azure's API before GA; "": GA."""
    protocol = (params.text("realtime_protocol") or "").lower()
    written = environment.plain(params, "api_version")
    version = written or shared.api_version
    if not version:
        params.missing("changed", advice.NO_VERSION)
        return ""
    if version.lower() in ("v1", "latest", "preview"):
        return ""
    if not AZURE_VERSION.fullmatch(version):
        params.missing("dropped", "its api_version is none that Azure has; the GA API is called")
        return ""
    if is_session and protocol != "beta":
        params.missing("changed", advice.SESSIONS_ARE_GA)
        return ""
    return version


def _url(fields: Fields, environment: Environment) -> tuple[bool, str | None]:
    """Whether an address is written, and which, if it can be used."""
    name = next((name for name in ("api_base", "base_url") if fields.has(name)), None)
    if name is None:
        return False, None
    url = environment.plain(fields, name)
    if url is None:
        return True, None
    url = url.strip().rstrip("/")
    if not fits(URL, url):
        fields.drop(name, advice.NO_URL)
        return True, None
    return True, url
