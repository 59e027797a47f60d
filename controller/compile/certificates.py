"""Certificates and private keys in Secrets of type kubernetes.io/tls: what listeners show their clients, and what
providers are shown (`upstream_tls.py`).

A value goes from the Secret into a `SecretStr` and nowhere else, as in `secrets.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import SecretStr

from controller.compile.cluster import Cluster
from controller.compile.gateways import SecretRef
from controller.compile.grants import GATEWAY, SECRET, permitted
from controller.compile.objects import Identity
from controller.compile.secrets import Credential, Secret, Unresolved

CHAIN, KEY = "tls.crt", "tls.key"
"""Entries of such a Secret."""
LEAST_RSA = 2048
"""Bits: Python's TLS takes no shorter key (security level 2 of OpenSSL)."""
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def blocks(pem: SecretStr) -> Iterator[str]:
    """The certificates in a PEM, each by itself, without what stands between them: names of authorities often do, and
    a private key may."""
    for part in pem.get_secret_value().split(_BEGIN)[1:]:
        yield _BEGIN + part.partition(_END)[0] + _END


def certificates(
    refs: Sequence[SecretRef], gateway: Identity, path: str, cluster: Cluster
) -> tuple[tuple[Credential, ...], tuple[Unresolved, ...]]:
    """Those that can be used, and what is wrong with the others. `path` leads to the list."""
    found: list[Credential] = []
    problems: list[Unresolved] = []
    for index, ref in enumerate(refs):
        try:
            found.append(_certificate(ref, gateway, f"{path}[{index}]", cluster))
        except Unresolved as problem:
            problems.append(problem)
    if not refs:
        message = f"{path}: names no certificate; create one: {create('NAMESPACE', 'NAME')}"
        problems.append(Unresolved("InvalidCertificateRef", message))
    return tuple(found), tuple(problems)


def _certificate(ref: SecretRef, gateway: Identity, path: str, cluster: Cluster) -> Credential:
    """Raises Unresolved."""
    namespace, name = ref.namespace or gateway.namespace, ref.name
    if (ref.group, ref.kind) != SECRET:
        raise _invalid(f'{path}: is of kind {ref.kind}, group "{ref.group}"; name a Secret of type kubernetes.io/tls')
    if not permitted(cluster.objects, GATEWAY, gateway.namespace, SECRET, namespace, name):
        raise Unresolved(
            "RefNotPermitted",
            f"{path}.namespace: Secret {namespace}/{name} is in another namespace, and no ReferenceGrant there lets "
            f"Gateways of {gateway.namespace} refer to it; ask its owner for one, or copy the Secret",
        )
    if denied := cluster.denied(namespace):
        raise Unresolved("SecretAccessDenied", f"{path}: {denied}")
    secret = cluster.objects.secrets.get((namespace, name))
    if secret is None:
        message = f"{path}.name: Secret {namespace}/{name} does not exist; create it: {create(namespace, name)}"
        raise _invalid(message)
    if secret.value is None:
        raise _invalid(f"{path}: {secret.identity} cannot be used: {secret.error}")
    try:
        return pair(secret.value)
    except ValueError as fault:
        raise _invalid(f"{path}: {fault}") from None


def pair(secret: Secret) -> Credential:
    """Its certificate and key, as one text in PEM. Raises ValueError, which says what is wrong with the Secret."""
    for entry in (CHAIN, KEY):
        if entry in secret.unreadable:
            raise ValueError(f"Secret {secret.path}: {secret.unreadable[entry]}")
        if entry not in secret.entries:
            made = create(secret.namespace, secret.name)
            raise ValueError(f'Secret {secret.path} has no entry "{entry}"; make it anew: {made}')
    chain, key = secret.entries[CHAIN], secret.entries[KEY]
    if fault := _fault(chain, key):
        raise ValueError(f"Secret {secret.path}: {fault}")
    pem = SecretStr("\n".join([*blocks(chain), key.get_secret_value().strip(), ""]))
    return Credential(f"{secret.path}/{CHAIN}+{KEY}@{secret.version}", pem)


@lru_cache(256)  # to read a key takes as long as to compile ten routes
def _fault(chain: SecretStr, key: SecretStr) -> str:
    """Why these are no certificate and its key, or nothing."""
    try:
        first = x509.load_pem_x509_certificates(chain.get_secret_value().encode())[0].public_key()
    except (ValueError, UnsupportedAlgorithm):
        return f'entry "{CHAIN}" is no chain of certificates in PEM'
    try:
        private = load_pem_private_key(key.get_secret_value().encode(), None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return f'entry "{KEY}" is no private key in PEM that is without a passphrase'
    if private.public_key() != first:
        return f'entry "{KEY}" is not the key of the first certificate in "{CHAIN}"'
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size < LEAST_RSA:
        return f'entry "{KEY}" is an RSA key of {private.key_size} bits, and TLS takes none below {LEAST_RSA}'
    return ""


def _invalid(message: str) -> Unresolved:
    return Unresolved("InvalidCertificateRef", message)


def create(namespace: str, name: str) -> str:
    """The command that makes such a Secret."""
    return f"kubectl --namespace {namespace} create secret tls {name} --cert=CHAIN.pem --key=KEY.pem"
