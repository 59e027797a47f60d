"""Who asks: find the key wherever real clients put it, and look its digest up.

Nothing here compares keys: a key is hashed and the digest looked up, so that neither time nor errors tell how
close a guess was. A key is in no message and in no repr.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from dataplane.errors import Refusal
from dataplane.http import query as queries
from dataplane.metering.usage import ANONYMOUS, Caller
from dataplane.slices import SLICE, Slices, at_once
from dataplane.table import Authentication, AuthenticationMode, CallerSet, Subject, authentication_yaml

HEADERS = ("api-key", "x-api-key", "x-goog-api-key")
"""Headers whose value is a key (Azure, Anthropic, Google). `authorization` has a scheme before it."""
QUERY = ("api-key", "key", "access_token")
"""Query parameters that are keys (Azure in browsers, Google, xAI)."""
SUBPROTOCOLS = ("openai-insecure-api-key.", "xai-client-secret.")
"""WebSocket subprotocols that carry a key behind this prefix (browsers cannot set headers)."""
_CARRIERS = frozenset(["authorization", "sec-websocket-protocol", *HEADERS])
_SCHEMES = ("bearer", "token")


@dataclass(slots=True)
class Credentials:
    """The different keys of one request. More than one is ambiguous."""

    keys: tuple[str, ...] = field(default=(), repr=False)


def credentials(headers: Iterable[tuple[str, str]], query: str) -> Credentials:
    """The keys in a request's headers (all fields, names in lower case) and raw query."""
    found: list[str] = []
    for name, value in headers:
        if name not in _CARRIERS:
            continue
        if name == "authorization":
            scheme, _, key = value.strip().partition(" ")
            found.append(key if scheme.lower() in _SCHEMES else "")
        elif name == "sec-websocket-protocol":
            found += [key_in(protocol) for protocol in value.split(",")]
        else:
            found.append(value)
    for name in QUERY if query else ():
        found += queries.getall(query, name)
    return Credentials(tuple(dict.fromkeys([key for each in found if (key := each.strip())])))


def key_in(protocol: str) -> str:
    """The key that a WebSocket subprotocol carries, or nothing."""
    protocol = protocol.strip()
    for prefix in SUBPROTOCOLS:
        if protocol.startswith(prefix):
            return protocol.removeprefix(prefix)
    return ""


def applies(subjects: tuple[Subject, ...], caller: Caller) -> bool:
    """Whether a part of a Policy is for this caller. Without subjects it is for everyone."""
    return not subjects or any(
        subject.namespace == caller.namespace
        and (subject.key in ("", caller.key))
        and (subject.team in ("", caller.team))
        and caller != ANONYMOUS
        for subject in subjects
    )


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    expires: float | None


class CallerIndex:
    """All callers of a table, by the digest of their keys."""

    def __init__(self, sets: Iterable[CallerSet] = ()) -> None:
        self._sets: dict[str, dict[bytes, _Known]] = {}
        at_once(self._take(sets))

    @classmethod
    def building(cls, sets: Iterable[CallerSet]) -> Slices[CallerIndex]:
        """An index of these sets, in slices."""
        index = cls()
        yield from index._take(sets)
        return index

    def _take(self, sets: Iterable[CallerSet]) -> Slices[None]:
        count = 0
        for callers in sets:
            known = self._sets[callers.id] = {}
            for key in callers.keys:
                caller = Caller(callers.namespace, key.name, callers.team)
                known[bytes.fromhex(key.sha256)] = _Known(caller, key.expires)
                count += 1
                if count % SLICE == 0:
                    yield

    def __contains__(self, set_id: str) -> bool:
        return set_id in self._sets

    def authenticate(
        self, authentication: Authentication | None, presented: Credentials, now: float, backend: str
    ) -> Caller:
        """Who presented these credentials at `now` (seconds since the epoch), to `namespace/name` of a Backend.

        Raises Refusal credentials_required, invalid_api_key, ambiguous_credentials,
        authentication_not_configured."""
        if authentication is None:
            raise _refused(
                "authentication_not_configured",
                f"Backend {backend} injects a credential, and no Policy says how callers authenticate. Apply one, with "
                f"your own keys:\n{authentication_yaml(backend)}"
                "(Or `authentication: {mode: None}` to serve everyone who can reach it.)",
            )
        if authentication.mode == AuthenticationMode.NONE:
            return ANONYMOUS
        if not presented.keys:
            if authentication.mode == AuthenticationMode.OPTIONAL:
                return ANONYMOUS
            raise _refused("credentials_required", "No API key was sent. Send `Authorization: Bearer KEY`.")
        if len(presented.keys) > 1:
            raise _refused(
                "ambiguous_credentials",
                "Several different API keys were sent (headers, query and subprotocols count). Send one.",
            )
        return self._caller(authentication, presented.keys[0], now)

    def _caller(self, authentication: Authentication, key: str, now: float) -> Caller:
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        for set_id in authentication.callers:
            known = self._sets.get(set_id, {}).get(digest)
            if known and (known.expires is None or now < known.expires):
                return known.caller
        raise _refused(
            "invalid_api_key", "The API key is not known here, or has expired. Ask whoever runs this gateway."
        )


def _refused(code: str, message: str) -> Refusal:
    return Refusal(code, message, headers={"WWW-Authenticate": "Bearer"})
