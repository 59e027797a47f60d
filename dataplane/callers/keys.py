"""The keys of an issuer as they are known at the moment. Where they come by URL, whoever fetches them puts them here
(`refresh`); whoever verifies looks here, and never waits. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import jwt

from dataplane import jwks
from dataplane.table import PublicKey


class Signer(NamedTuple):
    """A key, ready to verify."""

    id: str
    """Of its content: a key that was replaced under the same name is another one."""
    key: jwt.PyJWK


class KeySource:
    """The keys of one issuer. Snapshots whose tables name the same URL share one."""

    __slots__ = ("_by_name", "_ids", "url")

    def __init__(self, url: str = "", keys: Iterable[PublicKey] | None = None) -> None:
        """`url`: where they are fetched; empty: they are `keys`, once and for all."""
        self.url = url
        self._by_name: dict[tuple[str, str], list[Signer]] | None = None
        self._ids: frozenset[str] = frozenset()
        if keys is not None:
            self.take(keys)

    def take(self, keys: Iterable[PublicKey]) -> None:
        """From now on these are the keys, and no others."""
        found: dict[tuple[str, str], list[Signer]] = {}
        for each in keys:
            signer = Signer(hashlib.sha256(f"{each.algorithm} {each.jwk}".encode()).hexdigest(), jwks.loaded(each))
            found.setdefault((each.kid, each.algorithm), []).append(signer)
            if each.kid:  # for tokens that name no key
                found.setdefault(("", each.algorithm), []).append(signer)
        self._by_name = found
        self._ids = frozenset(signer.id for signers in found.values() for signer in signers)

    @property
    def known(self) -> bool:
        """Whether there ever were keys; be it none, where the issuer says so."""
        return self._by_name is not None

    def has(self, signer: str) -> bool:
        """Whether the key of this id is one of them."""
        return signer in self._ids

    def signer(self, kid: str, algorithm: str) -> Signer | None:
        """The key of that name for that algorithm. A token without a name is verified where there is one key alone
        that it can mean."""
        found = (self._by_name or {}).get((kid, algorithm), ())
        return found[0] if len(found) == 1 else None
