"""What the upstream request looks like: address and header fields. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from pydantic import SecretStr

from dataplane import callers
from dataplane.errors import Refusal
from dataplane.exchange import Exchange
from dataplane.http import headers, paths
from dataplane.http import query as queries
from dataplane.table import Provider, RouteType
from dataplane.upstreams.choose import Destination

_VERSION = re.compile(r"v\d+\w*")


def address(provider: Provider, path: str, query: str) -> str:
    """The upstream URL: the provider's base joined with the client's raw path and query.

    A leading version (`/v1`) of the path that the base ends with is merged, never doubled:

    >>> address(Provider(name="a", kind="openai", url="https://a.example/v1"), "/v1/models", "")
    'https://a.example/v1/models'
    """
    base, version = _base(provider.url)
    path = paths.stripped(path, version)
    if query and provider.credential.kind != "passthrough":
        query = queries.without(query, callers.QUERY)
    return f"{base}{path}?{query}" if query else base + path


@lru_cache(1024)
def _base(url: str) -> tuple[str, str]:
    """Without a slash at the end, and the version that it ends with, if it does."""
    base = url.rstrip("/")
    last = urlsplit(base).path.rpartition("/")[2]
    return base, last if _VERSION.fullmatch(last) else ""


def upstream_headers(
    exchange: Exchange, destination: Destination, extra: Iterable[tuple[str, str]] = ()
) -> headers.Fields:
    """The fields that the provider sees: the client's, then `extra` (a handshake's), changed by Policies, and
    the credential of ours last, so that nothing can replace it.

    Raises Refusal invalid_value."""
    provider = destination.provider
    credential = provider.credential
    trace = exchange.type is RouteType.PASSTHROUGH
    fields = headers.upstream(exchange.headers.fields, credential=credential.kind, trace=trace)
    fields += extra
    if changes := exchange.transformations(provider.transformations):
        resolve = exchange.resolver(model=destination.public_model, provider=provider.name)
        for change in changes:
            fields = headers.transformed(fields, change.request, resolve)
    if credential.kind == "secret":
        fields.append(("authorization", bearer(exchange.snapshot.secrets, credential.secret)))
    return fields


def response_headers(exchange: Exchange, destination: Destination, fields: Iterable[tuple[str, str]]) -> headers.Fields:
    """The fields that the client sees of an upstream's answer."""
    provider = destination.provider
    result = headers.downstream(fields)
    if exchange.budget is not None:
        result = headers.limited(result, exchange.budget.headers())
    if changes := exchange.transformations(provider.transformations):
        resolve = exchange.resolver(model=destination.public_model, provider=provider.name)
        for change in changes:
            result = headers.transformed(result, change.response, resolve)
        result = headers.unframed(result)
    return result


def subprotocols(offered: str, *, credential: str) -> str:
    """The client's `sec-websocket-protocol` as the provider sees it: without keys unless they pass through."""
    names = [name.strip() for name in offered.split(",")]
    return ", ".join(name for name in names if credential == "passthrough" or not callers.key_in(name))


def bearer(secrets: Mapping[str, SecretStr], name: str) -> str:
    """The `authorization` value of a secret, whose text may or may not begin with `Bearer`.

    Raises Refusal configuration_error where the text is no key."""
    value = secrets[name].get_secret_value().strip()
    scheme, _, key = value.partition(" ")
    value = key.strip() if scheme.lower() == "bearer" else value
    if not value or not value.isascii() or not value.isprintable():
        raise Refusal("configuration_error", f"Secret {name} is empty or has characters that no key has.")
    return f"Bearer {value}"
