"""What the upstream request looks like: address and header fields. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import SecretStr

from dataplane import callers
from dataplane.errors import Refusal
from dataplane.exchange import Exchange
from dataplane.http import headers
from dataplane.http import query as queries
from dataplane.providers import KINDS
from dataplane.table import Credential, Provider, RouteType
from dataplane.upstreams.choose import Destination


def address(provider: Provider, path: str, query: str, model: str = "") -> str:
    """The upstream URL for the client's raw path and query, and the upstream's name of the model, if it names one: as
    the provider's kind has it. Keys in the query go on only where the client's credential does."""
    if query and provider.credential.kind != "passthrough":
        query = queries.without(query, callers.QUERY)
    return KINDS[provider.kind].address(provider, path, query, model)


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
    if refused := KINDS[provider.kind].refuses:
        fields = [field for field in fields if field[0] not in refused]
    fields += extra
    if changes := exchange.transformations(provider.transformations):
        resolve = exchange.resolver(model=destination.public_model, provider=provider.name)
        for change in changes:
            fields = headers.transformed(fields, change.request, resolve)
    if credential.kind == "secret":
        fields.append((credential.header, shown(exchange.snapshot.secrets, credential)))
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


def shown(secrets: Mapping[str, SecretStr], credential: Credential) -> str:
    """What stands in the header that the credential goes into: there is a scheme before the key in `authorization`, and
    none elsewhere. Raises Refusal configuration_error."""
    key = bare_key(secrets, credential.secret)
    return f"Bearer {key}" if credential.header == "authorization" else key


def bare_key(secrets: Mapping[str, SecretStr], name: str) -> str:
    """The key of a secret, whose text may or may not begin with `Bearer`.

    Raises Refusal configuration_error where the text is no key."""
    value = secrets[name].get_secret_value().strip()
    scheme, _, key = value.partition(" ")
    value = key.strip() if scheme.lower() == "bearer" else value
    if not value or not value.isascii() or not value.isprintable():
        raise Refusal("configuration_error", f"Secret {name} is empty or has characters that no key has.")
    return value
