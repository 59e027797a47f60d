"""The callers of a table. Nothing here compares keys: a key is hashed and the digest looked up, so that neither time
nor errors tell how close a guess was. What is no key is a token, where issuers are trusted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from dataplane.callers import tokens
from dataplane.callers.credentials import Credentials, words
from dataplane.callers.keys import KeySource
from dataplane.callers.proof import NOBODY, Admitted, Proof
from dataplane.callers.tokens import Verifier
from dataplane.errors import Refusal
from dataplane.metering.usage import Caller
from dataplane.slices import SLICE, Slices, at_once
from dataplane.table import Authentication, AuthenticationMode, CallerSet, Issuer, authentication_yaml

_NO_KEYS: Mapping[bytes, Admitted] = {}


class CallerIndex:
    """All callers of a table: by the digests of their keys, and by those who vouch for them."""

    def __init__(self, sets: Iterable[CallerSet] = ()) -> None:
        self.sources: dict[str, KeySource] = {}
        """Where keys of issuers are fetched, by URL."""
        self.tenants: dict[str, set[str]] = {}
        """The namespaces whose Policies name each of these URLs."""
        self._keys: dict[str, dict[bytes, Admitted]] = {}
        self.verifiers: dict[str, Verifier] = {}
        """Those who vouch for callers, by the ids of their sets."""
        at_once(self._take(sets, None))

    @classmethod
    def building(cls, sets: Iterable[CallerSet], previous: CallerIndex | None = None) -> Slices[CallerIndex]:
        """An index of these sets, in slices. What `previous` has of the same issuers is taken over: keys that were
        fetched, tokens that are known. Raises ValueError for a key that is none."""
        index = cls()
        yield from index._take(sets, previous)
        return index

    def _take(self, sets: Iterable[CallerSet], previous: CallerIndex | None) -> Slices[None]:
        count = 0
        for callers in sets:
            if callers.issuer:
                self.verifiers[callers.id] = self._verifier(callers, callers.issuer, previous)
                yield
            known = self._keys[callers.id] = {}
            for key in callers.keys:
                digest = bytes.fromhex(key.sha256)
                proof = Proof("key", callers.namespace, digest, key.expires)
                known[digest] = Admitted(Caller(callers.namespace, key.name, callers.team), proof)
                count += 1
                if count % SLICE == 0:
                    yield
        tokens.share(self.verifiers.values())

    def _verifier(self, callers: CallerSet, issuer: Issuer, previous: CallerIndex | None) -> Verifier:
        before = previous.verifiers.get(callers.id) if previous else None
        if issuer.url:
            fetched = previous.sources.get(issuer.url) if previous else None
            source = self.sources.setdefault(issuer.url, fetched or KeySource(issuer.url))
            self.tenants.setdefault(issuer.url, set()).add(callers.namespace)
        else:
            source = before.source if before and before.callers == callers else KeySource(keys=issuer.keys)
        return before if before and before.callers == callers else Verifier(callers, issuer, source)

    def authenticate(
        self, authentication: Authentication | None, presented: Credentials, now: float, backend: str
    ) -> Admitted:
        """Who presented these credentials at `now` (seconds since the epoch), to `namespace/name` of a Backend.

        Raises Refusal credentials_required, invalid_api_key, invalid_token, ambiguous_credentials,
        authentication_not_configured; and tokens.KeyUnknown."""
        if authentication is None:
            raise _refused(
                "authentication_not_configured",
                f"Backend {backend} injects a credential, and no Policy says how callers authenticate. Apply one, with "
                f"your own keys:\n{authentication_yaml(backend)}"
                "(Or `authentication: {mode: None}` to serve everyone who can reach it.)",
            )
        if authentication.mode == AuthenticationMode.NONE:
            return NOBODY
        if not presented.keys:
            if authentication.mode == AuthenticationMode.OPTIONAL:
                return NOBODY
            raise _refused("credentials_required", _nothing_sent(authentication))
        if len(presented.keys) > 1:
            raise _refused(
                "ambiguous_credentials",
                "Several different API keys were sent (headers, query and subprotocols count). Send one.",
            )
        key = presented.keys[0]
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        return self._found(authentication, digest, now) or self._vouched_for(authentication, key, digest, now)

    def holds(self, authentication: Authentication | None, proof: Proof, now: float) -> bool:
        """Whether somebody who was let in by `proof`, maybe under an older table, would be at `now` too: as a caller of
        the same namespace, with the same key or token. It costs look-ups.

        Who showed nothing may stay where nothing need be shown. Who showed a key may stay where nobody has to."""
        if authentication is None:
            return False
        if authentication.mode == AuthenticationMode.NONE:
            return True
        if proof.kind == "none":
            return authentication.mode == AuthenticationMode.OPTIONAL
        if proof.kind == "token":
            return any(each.holds(proof, now) for each in self._trusted(authentication))
        found = self._found(authentication, proof.digest, now)
        return found is not None and found.caller.namespace == proof.namespace

    def _vouched_for(self, authentication: Authentication, key: str, digest: bytes, now: float) -> Admitted:
        """Who shows what is no key."""
        if tokens.looks_like_one(key) and (trusted := self._trusted(authentication)):
            return tokens.admitted(trusted, key, digest, now)
        raise _refused(
            "invalid_api_key", "The API key is not known here, or has expired. Ask whoever runs this gateway."
        )

    def _found(self, authentication: Authentication, digest: bytes, now: float) -> Admitted | None:
        """Whose key has this digest, and has not expired."""
        for set_id in authentication.callers:
            found = self._keys.get(set_id, _NO_KEYS).get(digest)
            if found is not None and (found.proof.expires is None or now < found.proof.expires):
                return found
        return None

    def _trusted(self, authentication: Authentication) -> list[Verifier]:
        """Those whose word is enough."""
        return [self.verifiers[name] for name in authentication.callers if name in self.verifiers]


def _nothing_sent(authentication: Authentication) -> str:
    if authentication.location:
        return f"No API key was sent. Send it in {words(authentication.location)}."
    return "No API key was sent. Send `Authorization: Bearer KEY`."


def _refused(code: str, message: str) -> Refusal:
    return Refusal(code, message, headers={"WWW-Authenticate": "Bearer"})
