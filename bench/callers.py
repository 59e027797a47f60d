"""What it costs to find out who asks: in microseconds of this machine's CPU, within the process.

A key is a digest and a look-up, known or not. A token is verified once (cold) and then remembered (warm), so the cold
figure is for each token and the warm one for each request. See docs/callers.md.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from dataplane import jwks
from dataplane.callers import CallerIndex, Credentials
from dataplane.errors import Refusal
from dataplane.table import Authentication, AuthenticationMode, CallerKey, CallerSet, Issuer

KEYS = 10_000
"""In one Secret."""
TOKENS = 200
"""Of each algorithm, each verified once."""
WARM = 10_000
BEST_OF = 3
NOW = 1_800_000_000.0
_IDP = "https://idp.example.com"


def costs() -> Iterator[str]:
    """A line for each figure."""
    named = [CallerKey(name=f"caller-{number}", sha256=_digest(f"key-{number}")) for number in range(KEYS)]
    keys = CallerSet(id="keys", namespace="bench", keys=tuple(named))
    ask = _asker(keys)
    known, guessed = ["key-5000"] * WARM, [f"guess-{number}" for number in range(WARM)]
    unknown = _best(_refused(ask), guessed)
    yield f"callers, a key of {KEYS:,}: {_best(ask, known):.2f} µs; one that is not known: {unknown:.2f} µs"
    for algorithm, tokens, issuer in _issuers():
        cold = min(_each(_asker(keys, issuer), tokens) for _ in range(BEST_OF))
        warm = _best(_asker(keys, issuer), [tokens[0]] * WARM)
        yield f"callers, a token ({algorithm}): verified once {cold:.1f} µs, then looked up {warm:.2f} µs"


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _asker(*sets: CallerSet) -> Callable[[str], None]:
    index = CallerIndex(sets)
    required = Authentication(
        policy="bench/callers", mode=AuthenticationMode.REQUIRED, callers=tuple(each.id for each in sets)
    )

    def ask(credential: str) -> None:
        index.authenticate(required, Credentials((credential,)), NOW, "bench/backend")

    return ask


def _refused(ask: Callable[[str], None]) -> Callable[[str], None]:
    def refused(credential: str) -> None:
        with suppress(Refusal):
            ask(credential)

    return refused


def _issuers() -> Iterator[tuple[str, Sequence[str], CallerSet]]:
    """Each algorithm, with tokens of an issuer that uses it."""
    private = rsa.generate_private_key(65537, 2048)
    yield "RS256", *_issued("RS256", private, RSAAlgorithm.to_jwk(private.public_key()))
    curve = ec.generate_private_key(ec.SECP256R1())
    yield "ES256", *_issued("ES256", curve, ECAlgorithm.to_jwk(curve.public_key()))
    edwards = ed25519.Ed25519PrivateKey.generate()
    yield "EdDSA", *_issued("EdDSA", edwards, OKPAlgorithm.to_jwk(edwards.public_key()))


def _issued(
    algorithm: str, private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, public: str
) -> tuple[Sequence[str], CallerSet]:
    published = json.dumps({"keys": [{**json.loads(public), "kid": "a", "alg": algorithm}]})
    issuer = Issuer(name=_IDP, audiences=("tidegate",), keys=jwks.read(published).keys)
    usual = {"iss": _IDP, "aud": "tidegate", "exp": NOW + 3600, "scope": "openid profile email"}
    tokens = [
        jwt.encode({**usual, "sub": f"user-{number}"}, private, algorithm, headers={"kid": "a"})
        for number in range(TOKENS)
    ]
    return tokens, CallerSet(id=f"tokens-{algorithm}", namespace="bench", issuer=issuer)


def _best(ask: Callable[[str], None], credentials: Sequence[str]) -> float:
    return min(_each(ask, credentials) for _ in range(BEST_OF))


def _each(ask: Callable[[str], None], credentials: Sequence[str]) -> float:
    """Microseconds of CPU, on average."""
    began = time.process_time()
    for each in credentials:
        ask(each)
    return (time.process_time() - began) * 1e6 / len(credentials)


if __name__ == "__main__":
    print(*costs(), sep="\n")
