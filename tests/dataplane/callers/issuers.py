"""An issuer of tokens for tests: its keys, its key set, and tokens good and bad."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from functools import cache

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from dataplane import jwks
from dataplane.table import CallerSet, Issuer, PublicKey

ISSUER = "https://idp.example.com"
AUDIENCE = "tidegate"
Json = dict[str, object]


@cache
def private(kind: str, number: int) -> PrivateKeyTypes:
    """`RSA`, the name of a curve, or `Ed25519`; another one for each number."""
    del number
    if kind.startswith("RSA"):
        return rsa.generate_private_key(65537, int(kind.removeprefix("RSA") or 2048))
    if kind == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    curves: dict[str, type[ec.EllipticCurve]] = {
        "P-256": ec.SECP256R1,
        "P-384": ec.SECP384R1,
        "P-521": ec.SECP521R1,
        "secp256k1": ec.SECP256K1,
    }
    return ec.generate_private_key(curves[kind]())


def jwk(kind: str, number: int = 0, secret: bool = False, /, **members: object) -> Json:
    """As an issuer publishes it; `secret`: as it never should."""
    key = private(kind, number)
    half = key if secret else key.public_key()
    writer = {"R": RSAAlgorithm, "E": OKPAlgorithm}.get(kind[0], ECAlgorithm)
    found = json.loads(writer.to_jwk(half))  # type: ignore[attr-defined]
    found.pop("key_ops", None)
    return {**found, **members}


def key_set(*keys: Mapping[str, object]) -> str:
    return json.dumps({"keys": keys})


def public_keys(*keys: Mapping[str, object]) -> tuple[PublicKey, ...]:
    return jwks.read(key_set(*keys)).keys


def pem(kind: str, number: int = 0) -> bytes:
    """The public key as text: what a careless verifier takes for a shared secret."""
    return private(kind, number).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def claims(now: float | None = None, /, **changes: object) -> Json:
    """Good ones, for an hour; a change to None leaves one out."""
    now = time.time() if now is None else now
    usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": now + 3600, "nbf": now - 3600}
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def token(
    said: Mapping[str, object],
    algorithm: str = "ES256",
    kind: str = "P-256",
    number: int = 0,
    kid: str | None = "a",
    **header: object,
) -> str:
    named = {"kid": kid} if kid is not None else {}
    return signed(json.dumps(said).encode(), algorithm, kind, number, **named, **header)


def signed(payload: bytes, algorithm: str = "ES256", kind: str = "P-256", number: int = 0, **header: object) -> str:
    """Whatever this is, with a good signature: by PyJWS, since PyJWT would not sign odd claims."""
    return jwt.PyJWS().encode(payload, private(kind, number), algorithm, headers=header)  # type: ignore[arg-type]


def unsigned(header: object, said: object, signature: bytes = b"x") -> str:
    """Whatever these are, as a token is written."""
    return ".".join(_part(each) for each in (json.dumps(header).encode(), json.dumps(said).encode(), signature))


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def callers(*keys: Mapping[str, object], namespace: str = "ai", team: str = "", **issuer: object) -> CallerSet:
    """Those for whom the issuer vouches."""
    usual: Json = {"name": ISSUER, "audiences": (AUDIENCE,), "keys": public_keys(*keys)}
    made = Issuer.model_validate({**usual, **issuer})
    return CallerSet(id=f"{namespace}/{made.name}", namespace=namespace, team=team, issuer=made)
