"""JSON Web Key Sets (RFC 7517): what of one can verify a token. Pure; the compiler reads those that stand in Policies
with it, the data plane those that it fetches.

A set may hold keys for other ends, and keys that nobody here can use: they are left out, each with the reason. What is
secret in it is never taken over: a set with a private key in it was published by mistake, and whoever read it could
issue tokens, so that key verifies nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jwt
import orjson

from dataplane.table import PublicKey

MOST = 64
"""Keys in one set."""
MAX_BYTES = 256 * 1024
_BITS = range(2048, 8192 + 1)
"""Of an RSA key: fewer are not safe (RFC 7518 §3.3), more only cost time."""
_PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
"""Members that are secret (RFC 7518 §6.2.2, §6.3.2, §6.4)."""
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_MEMBERS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_OF_CURVE = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA"}
_NAMES = {"Ed25519": "EdDSA"}
"""Another name of the same algorithm (RFC 9864)."""


class KeysRead(NamedTuple):
    """A key set as far as it is of use."""

    keys: tuple[PublicKey, ...]
    problems: tuple[str, ...]
    """What is wrong with each key that was left out, with its place; nothing of what is in it."""


class NoKeySet(ValueError):
    """It is no JSON Web Key Set. The message says why, and repeats nothing of it."""


def read(text: str | bytes) -> KeysRead:
    """The keys that can verify tokens, in order. Keys for encryption are left out without a word.

    Raises NoKeySet."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise NoKeySet(f"is not JSON (line {error.lineno}, column {error.colno})") from None
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise NoKeySet('is no JSON Web Key Set: write {"keys": [...]}')
    if len(listed) > MOST:
        raise NoKeySet(f"has {len(listed)} keys; at most {MOST} are read")
    keys: dict[PublicKey, None] = {}
    problems: list[str] = []
    for index, each in enumerate(listed):
        try:
            if key := _key(each):
                keys[key] = None
        except ValueError as error:
            problems.append(f"keys[{index}] {error} (skipped)")
    return KeysRead(tuple(keys), tuple(problems))


def loaded(key: PublicKey) -> jwt.PyJWK:
    """The key, ready to verify; its algorithm is bound to it. Raises ValueError, without the key."""
    try:
        return jwt.PyJWK(orjson.loads(key.jwk), key.algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):  # their messages repeat the key
        raise ValueError("is no valid key: its members do not fit together") from None


def _key(written: object) -> PublicKey | None:
    """None: it is for something else. Raises ValueError."""
    if not isinstance(written, dict):
        raise ValueError("is no mapping")
    if secret := [name for name in _PRIVATE if name in written]:
        raise ValueError(
            f'has the secret member "{secret[0]}": publish the public key alone, and renew this one, since others may '
            "have seen it"
        )
    operations = written.get("key_ops", ["verify"])
    if written.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    kid = written.get("kid", "")
    if not isinstance(kid, str) or len(kid) > 256:
        raise ValueError("has a kid that is no text of at most 256 characters")
    key = PublicKey(kid=kid, algorithm=_algorithm(written), jwk=_public(written))
    usable = loaded(key).key
    if key.algorithm in _RSA and usable.key_size not in _BITS:
        raise ValueError(f"is an RSA key of {usable.key_size} bits; from {_BITS[0]} to {_BITS[-1]} are taken")
    return key


def _algorithm(written: Mapping[str, object]) -> str:
    """The one that the key is for. Where it does not say, as some do not, RSA keys are for RS256."""
    kind, said = written.get("kty"), written.get("alg")
    if not isinstance(kind, str) or kind not in _MEMBERS:
        raise ValueError("has a kty that verifies no tokens here; RSA, EC and OKP (Ed25519) do")
    usual = "RS256" if kind == "RSA" else _OF_CURVE.get(str(written.get("crv")), "")
    if not usual or (kind == "OKP") != (usual == "EdDSA"):
        raise ValueError("has a crv that verifies no tokens here; P-256, P-384, P-521 and Ed25519 do")
    possible = _RSA if kind == "RSA" else (usual,)
    named = usual if said is None else _NAMES.get(str(said), str(said))
    if named not in possible:
        raise ValueError(f"has an alg that does not go with its kty; for it write {', '.join(possible)}")
    return named


def _public(written: Mapping[str, object]) -> str:
    kind = str(written["kty"])
    members = {name: written.get(name) for name in _MEMBERS[kind]}
    if wrong := [name for name, value in members.items() if not isinstance(value, str)]:
        raise ValueError(f'has no "{wrong[0]}" that is text')
    return orjson.dumps({"kty": kind, **members}, option=orjson.OPT_SORT_KEYS).decode()
