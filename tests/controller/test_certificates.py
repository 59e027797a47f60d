"""The controller's certificates hold for strict verifiers, and nobody loses trust while they rotate."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from controller import certificates
from controller.certificates import LIFE, OVERLAP, SERVING_LIFE, Authorities, Serving, Unusable
from controller.push import tls

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
NAMES = certificates.service_names("tidegate-controller", "tidegate")


def serving(authorities: Authorities, now: datetime = NOW) -> Serving:
    return certificates.new_serving(authorities.signing, NAMES, [ip_address("10.1.2.3"), ip_address("fd00::1")], now)


def handshake(shown: Serving, trusted: str, name: str) -> None:
    """In memory, as strict as Python 3.13 is. Raises ssl.SSLCertVerificationError."""
    context = tls.server_context()
    tls.show(context, shown)
    trusting = ssl.create_default_context(cadata=trusted)
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server, server_hostname=name)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert client.version() in ("TLSv1.2", "TLSv1.3")


def trusts(trusted: str, shown: Serving) -> bool:
    try:
        handshake(shown, trusted, NAMES[0])
    except ssl.SSLCertVerificationError:
        return False
    return True


@pytest.mark.parametrize("name", [*NAMES, "10.1.2.3", "fd00::1"])
def test_a_strict_client_trusts_every_name_of_the_service_and_the_address_of_the_pod(name: str) -> None:
    authorities = certificates.kept(None, NOW)
    handshake(serving(authorities), authorities.config()["ca.crt"], name)


def test_no_other_name_and_no_other_authority_is_trusted() -> None:
    authorities, others = certificates.kept(None, NOW), certificates.kept(None, NOW)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(serving(authorities), authorities.config()["ca.crt"], "other.tidegate.svc")
    assert not trusts(others.config()["ca.crt"], serving(authorities))


def test_what_was_stored_is_read_and_left_alone() -> None:
    made = certificates.kept(None, NOW)
    found = certificates.stored(made.secret())
    assert found.secret() == made.secret()
    assert certificates.kept(found, NOW + LIFE / 2) == found
    assert certificates.kept(found, NOW - 10 * DAY) == found, "a clock that is behind is no reason to rotate"


def test_a_rotation_never_leaves_a_gateway_without_trust() -> None:
    """Day by day for three years: what replicas serve is trusted by the ConfigMap of that day and of the day before."""
    authorities = certificates.kept(None, NOW)
    shown = serving(authorities)
    before = authorities.config()["ca.crt"]
    signers = set()
    for day in range(3 * 365):
        now = NOW + day * DAY
        authorities = certificates.kept(certificates.stored(authorities.secret()), now)
        was = shown
        if shown.due(now, authorities.signing):
            shown = serving(authorities, now)
        signers.add(shown.issuer)
        trusted = authorities.config()["ca.crt"]
        for each in (was, shown):  # a replica may notice a day late
            assert each.issuer.decode() in trusted
            assert each.issuer.decode() in before
        assert shown.expires > now + SERVING_LIFE / 4
        assert trusted.count("BEGIN CERTIFICATE") <= 3
        before = trusted
    assert len(signers) == 5


def test_both_authorities_are_trusted_while_one_comes_and_one_goes() -> None:
    first = certificates.kept(None, NOW - LIFE * 3 / 4)
    coming = certificates.kept(first, NOW - OVERLAP - DAY)
    assert coming.coming is not None
    assert coming.signing == first.signing
    assert certificates.kept(coming, NOW - OVERLAP - DAY / 2) == coming, "too early to sign"
    after = certificates.kept(certificates.stored(coming.secret()), NOW)
    assert after.signing.certificate == coming.coming.certificate
    assert "previous.key" not in after.secret()
    for authorities in (coming, after):
        assert trusts(coming.config()["ca.crt"], serving(authorities))
        assert trusts(after.config()["ca.crt"], serving(authorities))
    assert not trusts(first.config()["ca.crt"], serving(after))
    later = certificates.kept(after, NOW + LIFE / 2)
    assert later.previous == (), "what has expired is dropped"


def test_a_controller_that_was_away_for_long_begins_with_the_authority_that_was_to_come() -> None:
    first = certificates.kept(None, NOW - LIFE * 3 / 4)
    coming = certificates.kept(first, NOW)
    assert coming.coming
    assert certificates.kept(coming, NOW + LIFE / 2) == Authorities(coming.coming)
    assert certificates.kept(coming, NOW + 2 * LIFE).signing not in (first.signing, coming.coming)
    assert certificates.kept(first, NOW + LIFE).signing != first.signing


def test_a_certificate_is_renewed_at_two_thirds_of_its_life_or_for_another_authority() -> None:
    authorities = certificates.kept(None, NOW)
    shown = serving(authorities)
    assert not shown.due(NOW + 19 * DAY, authorities.signing)
    assert shown.due(NOW + 20 * DAY, authorities.signing)
    assert shown.due(NOW, certificates.new_authority(NOW))
    assert serving(authorities, NOW + LIFE - 3 * DAY).expires == NOW + LIFE, "not longer than its authority"


def altered(**entries: bytes | None) -> dict[str, bytes]:
    authorities = certificates.kept(certificates.kept(None, NOW - LIFE * 3 / 4), NOW)
    changed = authorities.secret() | {name.replace("_", "."): value for name, value in entries.items() if value}
    return {name: value for name, value in changed.items() if entries.get(name.replace(".", "_"), b"") is not None}


def rsa_key() -> bytes:
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "ca.crt and ca.key are no certificate and key in PEM"),
        (altered(ca_key=None), "ca.crt and ca.key are no certificate and key in PEM"),
        (altered(ca_crt=b"-----BEGIN CERTIFICATE-----"), "ca.crt and ca.key are no certificate and key in PEM"),
        (altered(ca_key=altered()["next.key"]), "ca.key is not the key of ca.crt"),
        (altered(ca_key=rsa_key()), "ca.key is not the key of ca.crt"),
        (altered(next_key=None), "next.crt and next.key are no certificate and key in PEM"),
        (altered(previous_crt=b"what?"), "previous.crt holds no certificates"),
        (
            {"ca.crt": (leaf := serving(certificates.kept(None, NOW))).chain, "ca.key": leaf.key},
            "ca.crt may sign nothing: it is no certificate authority",
        ),
    ],
)
def test_a_secret_that_holds_no_authority_says_why(entries: dict[str, bytes], message: str) -> None:
    with pytest.raises(Unusable, match=message) as raised:
        certificates.stored(entries)
    assert str(raised.value) == message


def test_keys_are_in_no_repr() -> None:
    authorities = certificates.kept(certificates.kept(None, NOW - LIFE * 3 / 4), NOW)
    assert "key" not in repr(authorities)
    assert "PRIVATE" not in repr(serving(authorities))
    assert "PRIVATE" not in authorities.config()["ca.crt"]
