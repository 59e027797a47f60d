"""TLS towards a provider: certificates that are trusted there, and the one that it is shown, from Secrets.

A value goes from the Secret into a `SecretStr` and nowhere else, as in `secrets.py`. There is no clock here, so that a
certificate that has expired is taken like any other; until when each is valid is said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from pydantic import SecretStr

from controller.compile.certificates import blocks, create, pair
from controller.compile.cluster import Cluster
from controller.compile.objects import Objects
from controller.compile.secrets import Credential, Secret, Unresolved
from crds.upstream_tls import AuthoritiesRef, ClientCertificateRef, UpstreamTls
from dataplane import table


@dataclass(frozen=True, slots=True)
class Found:
    entry: table.Tls
    credentials: tuple[Credential, ...] = field(default=(), repr=False)
    validity: tuple[str, ...] = ()
    """Until when its certificates are valid, in a sentence each."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where it is written."""

    field: str
    """`spec.providers[0].tls`"""
    namespace: str
    objects: Objects
    cluster: Cluster | None


def upstream_tls(written: UpstreamTls, place: Place) -> Found:
    """What is written, with the certificates that it leads to. Raises Unresolved."""
    credentials: list[Credential] = []
    validity: list[str] = []
    if written.ca_secret_ref:
        credentials.append(found := _authorities(written.ca_secret_ref, place))
        validity.append(f"{place.field}.caSecretRef: trusted until {_written(max(_ends(found.value)))}.")
    if written.client_secret_ref:
        credentials.append(found := _client(written.client_secret_ref, place))
        validity.append(f"{place.field}.clientSecretRef: valid until {_written(_ends(found.value)[0])}.")
    ids = [each.id for each in credentials]
    entry = table.Tls(
        authorities=ids[0] if written.ca_secret_ref else "",
        client=ids[-1] if written.client_secret_ref else "",
        server_name=written.server_name or "",
    )
    return Found(entry, tuple(credentials), tuple(validity))


def _authorities(ref: AuthoritiesRef, place: Place) -> Credential:
    path, key = f"{place.field}.caSecretRef", ref.key
    made = f"kubectl --namespace {place.namespace} create secret generic {ref.name} --from-file={key}=CA.pem"
    secret = _secret(ref.name, path, made, place)
    if key in secret.unreadable:
        raise Unresolved("InvalidCertificate", f"{path}: Secret {secret.path}: {secret.unreadable[key]}")
    if key not in secret.entries:
        found = ", ".join(sorted(secret.entries)) or "nothing"
        message = f'Secret {secret.path} has no entry "{key}" (it has: {found}); add it, or name another with key'
        raise Unresolved("SecretKeyNotFound", f"{path}: {message}")
    value = secret.entries[key]
    if not _ends(value):
        message = f'Secret {secret.path}: entry "{key}" is no certificates in PEM, or one of them cannot be read'
        raise Unresolved("InvalidCertificate", f"{path}: {message}")
    pem = SecretStr("\n".join(blocks(value)) + "\n")
    return Credential(f"{secret.path}/{key}+@{secret.version}", pem)  # no entry's name has "+", so none is another's id


def _client(ref: ClientCertificateRef, place: Place) -> Credential:
    path = f"{place.field}.clientSecretRef"
    secret = _secret(ref.name, path, create(place.namespace, ref.name), place)
    try:
        return pair(secret)
    except ValueError as fault:
        raise Unresolved("InvalidCertificate", f"{path}: {fault}") from None


def _secret(name: str, path: str, made: str, place: Place) -> Secret:
    secret = place.objects.secrets.get((place.namespace, name))
    if secret is None and place.cluster and (denied := place.cluster.denied(place.namespace)):
        raise Unresolved("SecretAccessDenied", f"{path}: {denied}")
    if secret is None:
        message = f"{path}: Secret {place.namespace}/{name} does not exist; create it: {made}"
        raise Unresolved("SecretNotFound", message)
    if secret.value is None:
        raise Unresolved("InvalidCertificate", f"{path}: {secret.identity} cannot be used: {secret.error}")
    return secret.value


@lru_cache(256)  # a bundle of all public authorities takes as long to read as a hundred routes to compile
def _ends(pem: SecretStr) -> tuple[datetime, ...]:
    """When each of these certificates ends; nothing where they cannot all be read."""
    try:
        found = x509.load_pem_x509_certificates(pem.get_secret_value().encode())
        return tuple(each.not_valid_after_utc for each in found)
    except (ValueError, UnsupportedAlgorithm):
        return ()


def _written(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
