"""The controller's certificates: a certificate authority that the leader keeps, and what each replica serves with.

Gateways trust what the ConfigMap of the install holds. It reaches them minutes after it is written, so an authority
is trusted before it signs, and for as long as what it signed may be served:

    at 2/3 of its life    a `coming` one is made; both are trusted, the old one signs
    OVERLAP later         the coming one signs; the old one is trusted until it has expired, without its key

Who deletes the Secret makes all of them worthless: the next authority is a new one, and it alone is trusted.

Nothing here reads or writes the cluster or the clock. Keys are random, so what is made is new each time; what is
decided depends on the arguments alone. All certificates have what strict verifiers (Python 3.13) ask for: RFC 5280,
section 4.2.1, with keyUsage critical and both key identifiers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFE = timedelta(days=365)
"""Of an authority."""
OVERLAP = timedelta(days=1)
"""How long a coming authority is trusted before it signs: for a kubelet that was away, too."""
SERVING_LIFE = timedelta(days=30)
SKEW = timedelta(hours=1)
"""Certificates begin this much before they are made: clocks of nodes differ."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Who signs."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authorities:
    """Who signs, and whom gateways trust beside."""

    signing: Authority
    coming: Authority | None = None
    previous: tuple[x509.Certificate, ...] = ()
    """Signed before, and have not expired."""

    def secret(self) -> dict[str, bytes]:
        """What the Secret has to hold, by entry: see `stored`."""
        entries = {"ca.crt": _pem(self.signing.certificate), "ca.key": _key_pem(self.signing.key)}
        if self.coming:
            entries |= {"next.crt": _pem(self.coming.certificate), "next.key": _key_pem(self.coming.key)}
        if self.previous:
            entries["previous.crt"] = b"".join(map(_pem, self.previous))
        return entries

    def config(self) -> dict[str, str]:
        """What the ConfigMap has to hold: every trusted certificate, PEM."""
        coming = (self.coming.certificate,) if self.coming else ()
        trusted = (self.signing.certificate, *coming, *self.previous)
        return {"ca.crt": b"".join(map(_pem, trusted)).decode()}


@dataclass(frozen=True, slots=True)
class Serving:
    """A certificate that a replica shows, with its key, both PEM."""

    chain: bytes
    key: bytes = field(repr=False)
    expires: datetime
    renewal: datetime
    """When to have another."""
    issuer: bytes = field(repr=False)

    def due(self, now: datetime, authority: Authority) -> bool:
        """Is another needed: because of its age, or because another authority signs now?"""
        return now >= self.renewal or self.issuer != _pem(authority.certificate)


class Unusable(ValueError):
    """The Secret holds no authority that can sign. The message says why, and repeats nothing of it."""


def stored(entries: Mapping[str, bytes]) -> Authorities:
    """The authorities of a Secret: entries ca.crt and ca.key, perhaps next.crt and next.key, and previous.crt.

    Raises Unusable."""
    coming = _authority(entries, "next") if "next.crt" in entries or "next.key" in entries else None
    previous = entries.get("previous.crt", b"")
    try:
        certificates = tuple(x509.load_pem_x509_certificates(previous)) if previous else ()
    except ValueError:
        raise Unusable("previous.crt holds no certificates") from None
    return Authorities(_authority(entries, "ca"), coming, certificates)


def kept(found: Authorities | None, now: datetime) -> Authorities:
    """What there has to be, of what there is: equal to it where nothing has to be done. None: no usable Secret."""
    if found is None or _expired(found.signing.certificate, now):
        if found and found.coming and not _expired(found.coming.certificate, now):
            return Authorities(found.coming)
        return Authorities(new_authority(now))
    previous = tuple(each for each in found.previous if not _expired(each, now))
    if found.coming is None:
        coming = new_authority(now) if now >= _renewal(found.signing.certificate) else None
        return Authorities(found.signing, coming, previous)
    if now < found.coming.certificate.not_valid_before_utc + SKEW + OVERLAP:
        return Authorities(found.signing, found.coming, previous)
    return Authorities(found.coming, None, (found.signing.certificate, *previous))


def new_authority(now: datetime) -> Authority:
    """One that signs for LIFE."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # Names of their own: where two of the same name are trusted, some verifiers try but one.
    name = _name(f"tidegate controller CA {serial:040x}"[:40])
    usage = _usage(key_cert_sign=True, crl_sign=True)
    builder = (
        _builder(name, name, key.public_key(), serial, now, LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    return Authority(builder.sign(key, hashes.SHA256()), key)


def new_serving(
    authority: Authority, names: Sequence[str], addresses: Iterable[IPv4Address | IPv6Address], now: datetime
) -> Serving:
    """A certificate for servers of these names and addresses, for SERVING_LIFE, or as long as its authority lives."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate
    life = min(SERVING_LIFE, issuer.not_valid_after_utc - now)
    alternatives = [*map(x509.DNSName, names), *map(x509.IPAddress, addresses)]
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        _builder(_name(names[0][:64]), issuer.subject, key.public_key(), x509.random_serial_number(), now, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return Serving(
        _pem(certificate), _key_pem(key), certificate.not_valid_after_utc, _renewal(certificate), _pem(issuer)
    )


def service_names(service: str, namespace: str) -> tuple[str, ...]:
    """The names that pods of a cluster call a Service by."""
    return service, f"{service}.{namespace}", f"{service}.{namespace}.svc", f"{service}.{namespace}.svc.cluster.local"


def _authority(entries: Mapping[str, bytes], name: str) -> Authority:
    try:
        certificate = x509.load_pem_x509_certificate(entries.get(f"{name}.crt", b""))
        key = serialization.load_pem_private_key(entries.get(f"{name}.key", b""), None)
    except (ValueError, TypeError):
        raise Unusable(f"{name}.crt and {name}.key are no certificate and key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
        raise Unusable(f"{name}.key is not the key of {name}.crt")
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        raise Unusable(f"{name}.crt lacks basicConstraints or its key identifier") from None
    if not constraints.ca:
        raise Unusable(f"{name}.crt may sign nothing: it is no certificate authority")
    return Authority(certificate, key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    serial: int,
    now: datetime,
    life: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(serial)
        .not_valid_before(now - SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _renewal(certificate: x509.Certificate) -> datetime:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return begins + (ends - begins) * 2 / 3


def _expired(certificate: x509.Certificate, now: datetime) -> bool:
    return now >= certificate.not_valid_after_utc


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
