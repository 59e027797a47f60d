"""TLS contexts for providers that say whom they trust, or want to be shown a certificate.

They are made when a table is loaded, and known by the ids of their secrets: a rotated Secret is another id, another
context, and so another `Origin`, whose connections are new ones. What is under way keeps the context that it began
with. A certificate that OpenSSL refuses (its key is too small, say) costs the providers that use it and nothing else.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import replace

import structlog

from dataplane.http.certificates import no_passphrase, readable
from dataplane.snapshot import Snapshot
from dataplane.table import Backend, Secrets

log = structlog.get_logger("tidegate")

Ids = tuple[str, str]
"""Of secrets: the authorities that are trusted, the certificate that is shown; empty: the usual ones, none."""


def identified(snapshot: Snapshot, before: Snapshot) -> Snapshot:
    """The snapshot with the contexts that its providers need. What `before` has is taken from there: an id is of one
    content."""
    return _with(snapshot, before, _made(snapshot, before))


async def identify(snapshot: Snapshot, before: Snapshot) -> Snapshot:
    """The same in a thread, if there is something to make: to read the public authorities takes some 20 ms."""
    missing = set(_wanted(snapshot)) - set(before.contexts)
    return _with(snapshot, before, await asyncio.to_thread(_made, snapshot, before) if missing else {})


def _wanted(snapshot: Snapshot) -> Iterator[Ids]:
    for backend in snapshot.backends.values():
        for provider in backend.providers:
            if provider.tls and any(provider.tls.ids) and not provider.error:
                yield provider.tls.ids


Made = Mapping[Ids, ssl.SSLContext | str]
"""Text: why there is none."""


def _made(snapshot: Snapshot, before: Snapshot) -> Made:
    return {ids: _context(ids, snapshot.secrets) for ids in {*_wanted(snapshot)} - {*before.contexts}}


def _with(snapshot: Snapshot, before: Snapshot, made: Made) -> Snapshot:
    known: Made = {**before.contexts, **made}
    found = {ids: known[ids] for ids in _wanted(snapshot)}
    if not found:
        return snapshot
    backends = {name: _without_faulty(backend, found) for name, backend in snapshot.backends.items()}
    contexts = {ids: context for ids, context in found.items() if isinstance(context, ssl.SSLContext)}
    return replace(snapshot, backends=backends, contexts=contexts)


def _without_faulty(backend: Backend, found: Made) -> Backend:
    """The Backend, with an error on each provider whose certificates cannot be used."""
    faults = {
        provider.name: why
        for provider in backend.providers
        if provider.tls and isinstance(why := found.get(provider.tls.ids), str)
    }
    if not faults:
        return backend
    for name, why in faults.items():
        log.warning("a provider cannot be used", backend=backend.name, provider=name, error=why)
    providers = tuple(
        each.model_copy(update={"error": faults[each.name]}) if each.name in faults else each
        for each in backend.providers
    )
    return backend.model_copy(update={"providers": providers})


def _context(ids: Ids, secrets: Secrets) -> ssl.SSLContext | str:
    authorities, client = ids
    try:
        context = ssl.create_default_context(cadata=secrets[authorities].get_secret_value() if authorities else None)
    except (ssl.SSLError, ValueError) as error:
        return _fault(authorities, error)
    if authorities:  # what is named is trusted, be it no root: an authority between, or the server's own certificate
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        # With it, which is Python's way since 3.13, many authorities of companies are none: they lack extensions.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if client:
        try:
            with readable(secrets[client].get_secret_value().encode()) as path:
                context.load_cert_chain(path, password=no_passphrase)
        except (ssl.SSLError, OSError) as error:
            return _fault(client, error)
    return context


def _fault(name: str, error: Exception) -> str:
    why = (isinstance(error, ssl.SSLError) and error.reason) or type(error).__name__
    return f"the certificates of Secret {name} cannot be used ({why}); make them anew"
