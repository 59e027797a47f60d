"""Certificates that sign themselves, for TLS on loopback."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID


def pem(host: str) -> bytes:
    """A certificate and its key."""
    return "".join(pair(host)).encode()


Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def pair(host: str, ends: datetime.datetime | None = None, key: Private | None = None) -> tuple[str, str]:
    """The same, one by one. `ends`: tomorrow, unless that is said."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    day = datetime.timedelta(days=1)
    ends = ends or datetime.datetime.now(datetime.UTC) + day
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ends - 2 * day)
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _shown(made), _private(key)


class Authority:
    """Signs certificates, for one day."""

    def __init__(self, name: str = "An authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(
            key_cert_sign=True,
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        )
        made = self._built(self._name, self._key).add_extension(x509.BasicConstraints(True, None), critical=True)
        made = made.add_extension(usage, critical=True)
        self.pem = _shown(made.sign(self._key, hashes.SHA256()))

    def issue(self, host: str) -> tuple[str, str]:
        """A certificate for a host, or a client, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._built(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)]), key)
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return _shown(made.sign(self._key, hashes.SHA256())), _private(key)

    def server(self, folder: Path, host: str, clients: str = "") -> ssl.SSLContext:
        """Of a server for this host, which wants clients to show certificates that these authorities have signed."""
        path = folder / f"{host}.pem"
        path.write_text("".join(self.issue(host)))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=clients or None)
        context.load_cert_chain(path)
        context.verify_mode = ssl.CERT_REQUIRED if clients else ssl.CERT_NONE
        return context

    def _built(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + day)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )


def _shown(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _private(key: Private) -> str:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()


def certificate(folder: Path, host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a server that has the certificate, and of a client that trusts it."""
    path = folder / "certificate.pem"
    path.write_bytes(pem(host))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=str(path))
