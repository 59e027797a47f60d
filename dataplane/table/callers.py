"""Callers: whom keys and issuers of tokens admit."""

from __future__ import annotations

from pydantic import Field

from dataplane.table.entry import Frozen


class CallerKey(Frozen):
    name: str
    """The Secret's entry name."""
    sha256: str
    """Hex digest of the key."""
    expires: float | None = None
    """Seconds since the epoch."""


class PublicKey(Frozen):
    """A key that tokens are verified with, and the one algorithm that it is for."""

    kid: str = ""
    """As tokens name it; empty: it has no name."""
    algorithm: str
    """Of RFC 7518 §3.1 or RFC 8037: `RS256`, `PS256`, `ES256`, `EdDSA`, …; never a symmetric one, never `none`."""
    jwk: str = Field(repr=False)
    """Its public members alone (RFC 7517), as canonical JSON."""


class Issuer(Frozen):
    """Who issues tokens (JWT, RFC 7519), and what is read from them."""

    name: str
    """Their `iss`."""
    audiences: tuple[str, ...]
    """Their `aud` must have one of these."""
    url: str = ""
    """Where its keys are fetched; empty: `keys` are all."""
    keys: tuple[PublicKey, ...] = ()
    key_claim: str = "sub"
    """The claim that has the caller's name."""
    team_claim: str = ""
    """The claim that has the caller's team; empty: it is the set's."""


class CallerSet(Frozen):
    """Callers whom one Policy admits: those with the keys of one Secret, or those for whom one issuer vouches."""

    id: str
    namespace: str
    """Of the Policy that authenticates; part of every caller's identity."""
    team: str = ""
    keys: tuple[CallerKey, ...] = ()
    issuer: Issuer | None = None
