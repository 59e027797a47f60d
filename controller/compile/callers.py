"""Callers whom a Policy admits: those with keys in Secrets of its namespace, and those for whom issuers vouch.

A key or an issuer that cannot be used admits nobody, and is reported with its place; the others hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from controller.compile.objects import Document, Identity, Read
from controller.compile.secrets import Secret, caller_set, missing_secret
from controller.compile.subjects import Known
from crds.authentication import Authentication, Claims, JwtIssuer, KeySource, Location
from dataplane import jwks, table

CLIENTS_OWN = {
    "header": ("authorization", "api-key", "x-api-key", "x-goog-api-key"),
    "query": ("access_token", "api-key", "key"),
}
"""Where clients put the provider's credential: with `auth.passthrough` it goes on from there."""
_HOW = "write them as stringData: {CALLER: KEY}"


class Keys(NamedTuple):
    """Where one namespace has its keys."""

    secrets: Mapping[str, Read[Secret]]
    """By name and in that order."""
    denied: str = ""
    """Why there may be others, which cannot be read."""


@dataclass(slots=True)
class Admitted:
    """What an `authentication` comes to."""

    sets: list[table.CallerSet] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    """Reason and message of what is wrong."""
    weak: list[str] = field(default_factory=list)
    """Entries whose keys hold, and are found by trying."""
    _by: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By the name of a Secret: the field that admits its keys, and their team."""
    _first_use: dict[str, str] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)
    _whole: bool = True
    """Are all Secrets there, so that all names are known?"""

    def say(self, reason: str, message: str) -> None:
        self.problems.append((reason, message))

    def misses(self, reason: str, message: str) -> None:
        """Say what is wrong with a whole Secret: callers may come of it one day, under names that nobody knows yet."""
        self._whole = False
        self.say(reason, message)

    def add(self, where: str, secret: Read[Secret], team: str) -> None:
        """Admit who has a key in this Secret."""
        if secret.value is None:
            self.misses("InvalidKeys", f"{where}: {secret.identity} cannot be used: {secret.error}")
            return
        first, as_team = self._by.setdefault(secret.identity.name, (where, team))
        if first != where:
            if as_team != team:
                of_team = f"as team {as_team}" if as_team else "without a team"
                message = f"{where}: {secret.identity} is admitted by {first} already, {of_team}, which holds"
                self.say("InvalidKeys", message)
            return
        if not secret.value.entries and not secret.value.unreadable:
            self.misses("InvalidKeys", f"{where}: {secret.identity} has no entries, so nobody has a key by it; {_HOW}")
        self._names |= {*secret.value.entries, *secret.value.unreadable}
        found, callers = caller_set(secret.value, team), secret.value.callers
        self.weak += (f'{secret.identity}, entry "{name}"' for name in callers.weak)
        for problem in callers.problems:
            self.say("InvalidKeys", f"{where}: {secret.identity}: {problem}")
        for key in found.keys:
            here = f'{secret.identity}, entry "{key.name}"'
            if (before := self._first_use.setdefault(key.sha256, here)) != here:
                self.say("InvalidKeys", f"{where}: {here} is the same key as {before}, which holds")
        self.sets.append(found)

    @property
    def anybody(self) -> bool:
        """Is there any key by which somebody could come in?"""
        return any(each.keys or (each.issuer and (each.issuer.url or each.issuer.keys)) for each in self.sets)

    def known(self, namespace: str, written: Authentication) -> Known:
        """Who may come of all that."""
        keys = None if written.jwt or not self._whole else frozenset(self._names)
        teams = {*(each.team for each in written.keys), *(each.team for each in written.jwt)}
        said = frozenset(filter(None, teams))
        return Known(namespace, keys, None if any(each.claims and each.claims.team for each in written.jwt) else said)


def admitted(policy: Identity, written: Authentication, keys: Keys) -> Admitted:
    """Whom the Policy lets in. Of keys and Secrets that are named twice, the first in `keys` holds."""
    found = Admitted()
    for index, source in enumerate(written.keys):
        where = f"spec.authentication.keys[{index}]"
        for place, secret in _secrets(policy.namespace, source, where, keys, found):
            found.add(place, secret, source.team or "")
    for index, issuer in enumerate(written.jwt):
        found.sets.append(_issuer(policy, issuer, f"spec.authentication.jwt[{index}]", found))
    return found


def location(written: Location | None) -> table.Location | None:
    """Where the credential is looked for."""
    if written is None:
        return None
    if written.header is not None:
        return table.Location(kind="header", name=written.header.lower())
    return table.Location(kind="query", name=written.query or "")


def _secrets(
    namespace: str, source: KeySource, where: str, keys: Keys, found: Admitted
) -> Iterator[tuple[str, Read[Secret]]]:
    if source.secret_ref:
        name, where = source.secret_ref.name, f"{where}.secretRef"
        if secret := keys.secrets.get(name):
            yield where, secret
        elif keys.denied:
            found.misses("SecretAccessDenied", f"{where}: {keys.denied}")
        else:
            found.misses("SecretNotFound", f"{where}.name: {missing_secret(namespace, name, 'CALLER')}")
    elif source.secret_selector:
        wanted, where = source.secret_selector.match_labels, f"{where}.secretSelector"
        selected = [each for each in keys.secrets.values() if any(_has(wanted, one) for one in each.documents)]
        yield from ((where, each) for each in selected)
        if keys.denied:
            found.misses("SecretAccessDenied", f"{where}: {keys.denied}")
        elif not selected:
            labels = " ".join(f"{key}={value}" for key, value in sorted(wanted.items()))
            message = (
                f"{where}: no Secret of namespace {namespace} has the labels {labels.replace(' ', ', ')}, so nobody "
                f"has a key by it; label one: kubectl --namespace {namespace} label secret NAME {labels}"
            )
            found.misses("SecretNotFound", message)


def _has(wanted: Mapping[str, str], document: Document) -> bool:
    metadata = document.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
    return isinstance(labels, Mapping) and all(labels.get(key) == value for key, value in wanted.items())


def _issuer(policy: Identity, written: JwtIssuer, where: str, found: Admitted) -> table.CallerSet:
    claims = written.claims or Claims()
    issuer = table.Issuer(
        name=written.issuer,
        audiences=written.audiences,
        url=written.jwks.url or "",
        keys=_inline_keys(written.jwks.inline, f"{where}.jwks.inline", found) if written.jwks.inline else (),
        key_claim=claims.key,
        team_claim=claims.team or "",
    )
    made = table.CallerSet(id="", namespace=policy.namespace, team=written.team or "", issuer=issuer)
    return made.model_copy(update={"id": f"{policy.namespace}/{issuer.name}#{table.digest(made)[:16]}"})


def _inline_keys(text: str, where: str, found: Admitted) -> tuple[table.PublicKey, ...]:
    try:
        read = jwks.read(text)
    except jwks.NoKeySet as error:
        found.say("InvalidKeys", f"{where}: {error}; until then no token of this issuer is accepted")
        return ()
    for problem in read.problems:
        found.say("InvalidKeys", f"{where}: {problem}")
    if not read.keys and not read.problems:
        found.say("InvalidKeys", f"{where}: has no key that verifies tokens, so no token of this issuer is accepted")
    return read.keys
