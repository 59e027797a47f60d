"""What remains of a credential that was accepted: enough to ask later whether it still would be. It opens nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from dataplane.metering.usage import ANONYMOUS, Caller


@dataclass(frozen=True, slots=True)
class Proof:
    """How somebody was let in. Ask a newer `CallerIndex` by `holds`."""

    kind: Literal["none", "key", "token"] = "none"
    """`none`: nothing was shown, and nothing had to be."""
    namespace: str = ""
    """Of the Policy that let the caller in."""
    digest: bytes = field(default=b"", repr=False)
    """SHA-256 of the key or the token."""
    expires: float | None = None
    """Seconds since the epoch from which on it no longer holds; None: it does not expire by itself."""
    issuer: str = ""
    """Of a token: its `iss`."""
    audiences: tuple[str, ...] = ()
    """Of a token: its `aud`."""
    signer: str = ""
    """Of a token: the id of the key that signed it (`keys.Signer.id`)."""


class Admitted(NamedTuple):
    """Somebody who was let in."""

    caller: Caller
    proof: Proof


NOBODY = Admitted(ANONYMOUS, Proof())
"""Somebody who had to show nothing, and did not."""
