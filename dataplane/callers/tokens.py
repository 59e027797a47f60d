"""Tokens (JWT, RFC 7519): who vouches for whom. Pure: `now` is an argument, keys are there or not.

What is checked follows RFC 8725 (JSON Web Token Best Current Practices). The algorithm is the key's and never the
token's choice, so neither `none` nor a public key taken for a shared secret opens anything. Issuer, audience and
expiry are required, and looked at before the signature, which costs most. PyJWT does the signature; times and claims
are checked here, since it would look at a clock of its own.

A token that was verified is remembered by its digest until it expires or its key is gone, so that those who show the
same one with every request cost a look-up. Each issuer of each Policy remembers apart, and a bounded number: nobody's
tokens push out a neighbour's. Nothing is remembered of those that are refused.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import jwt
import orjson

from dataplane.callers.keys import KeySource
from dataplane.callers.proof import Admitted, Proof
from dataplane.errors import Refusal
from dataplane.metering.usage import Caller
from dataplane.table import CallerSet, Issuer

LEEWAY = 30.0
"""Seconds by which the clocks of issuer and gateway may differ."""
LONGEST = 8192
"""Characters of a token."""
REMEMBERED = 1024
"""Tokens of one issuer under one Policy, at most."""
IN_ALL = 32_768
"""Of all of them together, as long as each may remember `FEW`: some 20 MiB."""
FEW = 64
_LATEST = 2.0**43
"""Seconds: no clock gets so far, and no date beyond is one."""
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_NAME = re.compile(r"[!-~]([ -~]{0,253}[!-~])?")
"""OpenID Connect Core §2: `sub` has at most 255 ASCII characters. As `CallerName` in crds."""
_TEAM = re.compile(r"[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_JWS = jwt.PyJWS()


class KeyUnknown(Refusal):
    """The token may be good: its key is not known, or has changed, and there may be a newer set of keys at
    `url`. Whoever has fetched that may ask again; it is the answer where that was of no use."""

    def __init__(self, refusal: Refusal, url: str) -> None:
        super().__init__(refusal.code, refusal.message, headers=refusal.headers)
        self.url = url


class Token(NamedTuple):
    """What a token says; nothing of it is proved yet."""

    text: str
    kid: str
    algorithm: str
    claims: Mapping[str, object]


def looks_like_one(text: str) -> bool:
    """Whether it can be a token at all: most keys cannot."""
    return text.count(".") == 2


def opened(text: str) -> Token:
    """Raises Refusal invalid_token."""
    if len(text) > LONGEST:
        raise invalid(f"It is longer than {LONGEST} characters.")
    if not _TOKEN.fullmatch(text):
        raise invalid("It is no signed JWT: three parts of base64url, with dots between them.")
    written, said, _ = text.split(".")
    try:
        header, claims = _decoded(written), _decoded(said)
    except ValueError:
        raise invalid("Its header or its claims cannot be read.") from None
    if not isinstance(header, dict) or not isinstance(claims, dict) or "crit" in header:
        raise invalid("Its header or its claims are not those of a JWT.")
    kid, algorithm = header.get("kid", ""), header.get("alg")
    if not isinstance(kid, str) or not isinstance(algorithm, str):
        raise invalid("Its header says no algorithm (alg), or a kid that is no text.")
    return Token(text, kid, algorithm, claims)


class Verifier:
    """Admits those for whom one issuer vouches, as one Policy says."""

    def __init__(self, callers: CallerSet, issuer: Issuer, source: KeySource) -> None:
        self.callers = callers
        self.issuer = issuer
        self.source = source
        self._namespace, self._team = callers.namespace, callers.team
        self.room = REMEMBERED
        """How many tokens are remembered."""
        self._audiences = frozenset(issuer.audiences)
        self._remembered: dict[bytes, Admitted] = {}

    def remembered(self, digest: bytes, now: float) -> Admitted | None:
        """Whom a token was found to be good for, if it still is."""
        found = self._remembered.get(digest)
        if found is None:
            return None
        if now < (found.proof.expires or 0.0) and self.source.has(found.proof.signer):
            return found
        del self._remembered[digest]
        return None

    def holds(self, proof: Proof, now: float) -> bool:
        """Whether a token that was verified, maybe by another's like, would be now."""
        return (
            proof.issuer == self.issuer.name
            and proof.namespace == self._namespace
            and proof.expires is not None
            and now < proof.expires
            and not self._audiences.isdisjoint(proof.audiences)
            and (self.source.has(proof.signer) or not self.source.known)
        )

    def verified(self, token: Token, digest: bytes, now: float) -> Admitted:
        """Who shows the token, which has this digest. Raises Refusal invalid_token, and KeyUnknown."""
        audiences = self._for_us(token.claims)
        expires = _in_time(token.claims, now)
        signer = self.source.signer(token.kid, token.algorithm)
        if signer is None:
            raise self._no_key()
        try:
            _JWS.decode_complete(token.text, signer.key, algorithms=[signer.key.algorithm_name])
        except jwt.PyJWTError:
            raise self._not_theirs() from None
        caller = Caller(self._namespace, self._name(token.claims), self._team_of(token.claims))
        proof = Proof("token", self._namespace, digest, expires, self.issuer.name, audiences, signer.id)
        return self._remember(Admitted(caller, proof))

    def _remember(self, admitted: Admitted) -> Admitted:
        while len(self._remembered) >= self.room:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[admitted.proof.digest] = admitted
        return admitted

    def _not_theirs(self) -> Refusal:
        """Or it is that of a key which has taken the name of one that is known."""
        refusal = invalid("Its signature is not the issuer's.")
        return KeyUnknown(refusal, self.source.url) if self.source.url else refusal

    def _no_key(self) -> Refusal:
        url = self.source.url
        if not url:
            return invalid("Its key (kid) is none of the issuer's keys, or is for another algorithm.")
        if self.source.known:
            return KeyUnknown(
                invalid("Its key (kid) is none of those that the issuer publishes, or is for another algorithm."), url
            )
        message = (
            "The keys of the token's issuer could not be fetched yet, so it cannot be verified. Try again later; "
            "whoever runs this gateway finds the reason in its log."
        )
        return KeyUnknown(Refusal("issuer_keys_unavailable", message), url)

    def _for_us(self, claims: Mapping[str, object]) -> tuple[str, ...]:
        """The token's audiences, of which one is ours."""
        said = claims.get("aud")
        listed: Sequence[object] = said if isinstance(said, list) else [said]
        audiences = tuple(each for each in listed if isinstance(each, str) and each in self._audiences)
        if not audiences:
            raise invalid("It is for somebody else: its audience (aud) is none of those that are accepted here.")
        return audiences

    def _name(self, claims: Mapping[str, object]) -> str:
        claim = self.issuer.key_claim
        said = claims.get(claim)
        if not isinstance(said, str) or not _NAME.fullmatch(said):
            raise invalid(f"Its claim {claim} must name the caller: 1 to 255 printable ASCII characters.")
        return said

    def _team_of(self, claims: Mapping[str, object]) -> str:
        claim = self.issuer.team_claim
        if not claim:
            return self._team
        said = claims.get(claim)
        if not isinstance(said, str) or not _TEAM.fullmatch(said):
            raise invalid(
                f"Its claim {claim} must name the caller's team: up to 63 letters, digits, '-', '_' and '.', with a "
                "letter or digit at both ends."
            )
        return said


def share(verifiers: Collection[Verifier]) -> None:
    """Give each its part of what may be remembered in all."""
    for each in verifiers:
        each.room = max(FEW, min(REMEMBERED, IN_ALL // len(verifiers)))


def admitted(verifiers: Sequence[Verifier], text: str, digest: bytes, now: float) -> Admitted:
    """Who shows this token. Raises Refusal invalid_token, and KeyUnknown."""
    for each in verifiers:
        if found := each.remembered(digest, now):
            return found
    token = opened(text)
    for each in verifiers:
        if token.claims.get("iss") == each.issuer.name:
            return each.verified(token, digest, now)
    raise invalid("Its issuer (iss) is none of those that are accepted here.")


def invalid(why: str) -> Refusal:
    """The refusal of a token. `why` repeats nothing of it."""
    return Refusal(
        "invalid_token",
        f"The token is not accepted. {why}",
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},  # RFC 6750 §3
    )


def _decoded(part: str) -> object:
    """Raises ValueError. Whether it was encoded to the letter is checked with the signature."""
    return orjson.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def _in_time(claims: Mapping[str, object], now: float) -> float:
    """When the token is of no use any more."""
    expires = _time(claims.get("exp"))
    begins = _time(claims.get("nbf", 0))
    if expires is None or begins is None:
        raise invalid("It needs a claim exp, and nbf if it is there, that is a time: seconds since 1970.")
    if now >= expires + LEEWAY:
        raise invalid("It has expired.")
    if now < begins - LEEWAY:
        raise invalid("It is not valid yet (nbf).")
    return expires + LEEWAY


def _time(said: object) -> float | None:
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 <= said < _LATEST:
        return None
    return float(said)
