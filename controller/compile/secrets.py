"""Secrets: the credential that a provider is shown, and the keys that callers show.

A value goes from the document into a `SecretStr` or a digest and nowhere else: no message, id or repr holds one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

import orjson
from pydantic import SecretStr

from crds import FieldError, Invalid
from dataplane.table import CallerKey, CallerSet

_SHA256 = re.compile(r"[0-9a-f]{64}")
_ENTRY = re.compile(r"[-._A-Za-z0-9]{1,253}")
"""What an API server takes as the name of an entry."""
_CALLER_FIELDS = ("key", "sha256", "expires")
LEAST = 16
"""Characters of a key that is not called weak. Random ones of 64 kinds are 96 bits then."""


class Callers(NamedTuple):
    """Whose keys a Secret holds."""

    keys: tuple[CallerKey, ...]
    problems: tuple[str, ...]
    """What is wrong with the entries that were skipped."""
    weak: tuple[str, ...]
    """Entries whose keys are found by trying."""


@dataclass(frozen=True)
class Secret:
    """A Secret document: its entries as text, where they are text."""

    namespace: str
    name: str
    version: str
    """metadata.resourceVersion: part of every id made from this Secret, so that a rotation is a change."""
    entries: Mapping[str, SecretStr] = field(repr=False)
    unreadable: Mapping[str, str]
    """Why an entry is no text, by its name."""

    @property
    def path(self) -> str:
        return f"{self.namespace}/{self.name}"

    @cached_property
    def callers(self) -> Callers:
        """Read once, however many Policies name it, and while it stays as it is."""
        return _callers(self)


class Credential(NamedTuple):
    """A provider's credential, under the id that the table uses."""

    id: str
    value: SecretStr


class Unresolved(Exception):
    """What a reference leads to cannot be used: `reason` for the condition, the message says what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def read_secret(document: Mapping[str, object]) -> Secret:
    """A Secret. `stringData` wins over `data`, as in an API server. Raises `Invalid` where it is no Secret at all."""
    entries: dict[str, SecretStr] = {}
    unreadable: dict[str, str] = {}
    for name, value in _mapping(document, "data").items():
        try:
            entries[name] = SecretStr(base64.b64decode("".join(str(value).split()), validate=True).decode())
        except (binascii.Error, ValueError):
            unreadable[name] = f"data.{name} is not base64 of UTF-8 text; use stringData for plain text"
    for name, value in _mapping(document, "stringData").items():
        unreadable.pop(name, None)
        if isinstance(value, str):
            entries[name] = SecretStr(value)
        else:
            unreadable[name] = f"stringData.{name} is not text: put it in quotes"
            entries.pop(name, None)
    metadata = _mapping(document, "metadata")
    version = metadata.get("resourceVersion") or "0"
    namespace = metadata.get("namespace") or "default"
    return Secret(str(namespace), str(metadata.get("name")), str(version), entries, unreadable)


def provider_credential(secret: Secret, key: str) -> Credential:
    """The credential in the entry `key`. Raises `Unresolved`."""
    if key in secret.unreadable:
        raise Unresolved("InvalidCredential", f"Secret {secret.path}: {secret.unreadable[key]}")
    if key not in secret.entries:
        found = ", ".join(sorted(secret.entries)) or "nothing"
        raise Unresolved(
            "SecretKeyNotFound",
            f'Secret {secret.path} has no entry "{key}" (it has: {found}); add it, or name another with secretRef.key',
        )
    try:
        value = bare_key(secret.entries[key].get_secret_value())
    except ValueError as error:
        raise Unresolved("InvalidCredential", f'Secret {secret.path}: entry "{key}" {error}') from None
    return Credential(f"{secret.path}/{key}@{secret.version}", SecretStr(value))


def caller_set(secret: Secret, team: str) -> CallerSet:
    """The callers whose keys a Secret holds, as those of a team."""
    identity = f"{secret.path}@{secret.version}" + (f"#{team}" if team else "")
    return CallerSet(id=identity, namespace=secret.namespace, team=team, keys=secret.callers.keys)


def _callers(secret: Secret) -> Callers:
    problems = [f"{problem} (skipped)" for _, problem in sorted(secret.unreadable.items())]
    weak: list[str] = []
    keys: dict[str, CallerKey] = {}
    for name, value in sorted(secret.entries.items()):
        try:
            if not _ENTRY.fullmatch(name):
                raise ValueError("has a name that is none in Kubernetes: use letters, digits, '-', '_' and '.'")
            key, is_weak = _caller_key(name, value.get_secret_value())
        except ValueError as error:
            problems.append(f'entry "{name}" {error} (skipped)')
            continue
        if (first := keys.setdefault(key.sha256, key)) is not key:
            problems.append(f'entry "{name}" is the same key as "{first.name}", which holds: give each caller its own')
        elif is_weak:
            weak.append(name)
    return Callers(tuple(keys.values()), tuple(problems), tuple(weak))


def missing_secret(namespace: str, name: str, key: str) -> str:
    return (
        f'Secret {namespace}/{name} does not exist; create it with the entry "{key}": '
        f"kubectl --namespace {namespace} create secret generic {name} --from-literal={key}=KEY"
    )


def bare_key(text: str) -> str:
    """A key without white space around it and without a leading "Bearer".

    Raises ValueError, without the text, for what cannot be sent in a header.
    """
    key = re.sub(r"(?i)^bearer(\s+|$)", "", text.strip()).strip()
    if not key:
        raise ValueError("is empty; write the key there")
    if not re.fullmatch(r"[\x20-\x7e]+", key):
        raise ValueError("has line breaks, control characters or non-ASCII characters inside; no key has")
    return key


def _caller_key(name: str, text: str) -> tuple[CallerKey, bool]:
    """The key of a caller, and whether it is found by trying, as far as can be told."""
    if not text.strip().startswith("{"):
        key = bare_key(text)
        return CallerKey(name=name, sha256=_digest(key)), _is_weak(key)
    try:
        written = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ValueError("begins with '{' but is not JSON") from None
    if set(written) - set(_CALLER_FIELDS):  # not named here: what was written may be a key
        raise ValueError(f"has unknown fields; known: {', '.join(_CALLER_FIELDS)}")
    if any(not isinstance(value, str) for value in written.values()):
        raise ValueError("has a field that is not text")
    if ("key" in written) == ("sha256" in written):
        raise ValueError("needs exactly one of key and sha256")
    key = bare_key(written["key"]) if "key" in written else ""
    digest = _digest(key) if key else written["sha256"].lower()
    if not _SHA256.fullmatch(digest):
        raise ValueError("has a sha256 that is not 64 hexadecimal digits")
    return CallerKey(name=name, sha256=digest, expires=_expiry(written.get("expires"))), bool(key) and _is_weak(key)


def _is_weak(key: str) -> bool:
    return len(key) < LEAST or len(set(key)) == 1


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _expiry(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        expires = datetime.fromisoformat(text)
    except ValueError:
        expires = None
    if expires is None or expires.tzinfo is None:
        raise ValueError("has an expires that is no time with its zone, such as 2027-01-31T12:00:00Z")
    return expires.timestamp()


def _mapping(document: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = document.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Invalid([FieldError(name, "must be a mapping (name: value)")])
    return value
