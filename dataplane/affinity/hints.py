"""Hints: which domain made a response's id, or encrypted content, and for which caller. Pure.

A hint is `tg1` and base64url of: version (1 byte), domain tag (8), caller tag (8), MAC (12). A tag is an HMAC-SHA-256
of a name, so that a hint tells nobody what domains and callers are called; the MAC covers version, both tags and what
the hint is put on. It stands behind an id's prefix (`resp_tg1…_X` for `resp_X`) or before a content (`tg1….S`).

>>> keys = Keys(b"0123456789abcdef0123456789abcdef")
>>> signer = keys.signer("ai\\0voice/openai", "ai\\0ci-bot")
>>> keys.read_id(signer.id("resp_42")).original
'resp_42'
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Final

_NAME: Final = "tg1"
_VERSION: Final = b"\x01"
_TAG, _MAC = 8, 12
_LENGTH: Final = 39
"""Characters of base64url that 29 bytes take."""
_HINT = rf"{_NAME}(?P<hint>[A-Za-z0-9_-]{{{_LENGTH}}})"
_ID = re.compile(rf"(?:(?P<prefix>[^_]*)_)?{_HINT}_(?P<rest>.*)", re.DOTALL)
_CONTENT = re.compile(rf"{_HINT}\.(?P<rest>.*)", re.DOTALL)
_REMEMBERED = 4096
"""Tags of names that are made once."""
SHORTEST: Final = 32
"""Characters of a key."""
NOBODY: Final = bytes(_TAG)
"""The caller tag where the provider is shown the client's own credential, and knows itself what is whose."""


class Unsigned(Exception):
    """It has no hint that one of the keys has signed."""


class _Key:
    """One key, and the tags of names by it."""

    __slots__ = ("_secret", "_tags")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._tags: dict[str, bytes] = {}

    def tag(self, name: str) -> bytes:
        found = self._tags.get(name)
        if found is None:
            if len(self._tags) >= _REMEMBERED:
                self._tags.clear()
            found = self._tags[name] = hmac.digest(self._secret, name.encode("utf-8", "surrogatepass"), "sha256")[:_TAG]
        return found

    def mac(self, tags: bytes, signed: bytes) -> bytes:
        return hmac.digest(self._secret, _VERSION + tags + signed, "sha256")[:_MAC]


@dataclass(frozen=True, slots=True)
class Signed:
    """What a hint was taken off, and what the hint said."""

    original: str
    encrypted: bool
    """Is it content? Otherwise it is an id."""
    domain: bytes
    caller: bytes
    _key: _Key = field(repr=False)

    def of_domain(self, name: str) -> bool:
        return self.domain == self._key.tag(name)

    def of_caller(self, name: str) -> bool:
        return self.caller == self._key.tag(name)


@dataclass(frozen=True, slots=True)
class Signer:
    """Puts hints on what one domain made for one caller."""

    _key: _Key = field(repr=False)
    _tags: bytes

    def id(self, original: str) -> str:
        """The id with its hint."""
        hint = self._hint(_of_id(original))
        prefix, underscore, rest = original.partition("_")
        return f"{prefix}_{hint}_{rest}" if underscore else f"{hint}_{original}"

    def content(self, original: str) -> str:
        """The content with its hint."""
        return f"{self._hint(_of_content(original))}.{original}"

    def _hint(self, signed: bytes) -> str:
        raw = _VERSION + self._tags + self._key.mac(self._tags, signed)
        return _NAME + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Keys:
    """The key that signs, and those that signed before: what they signed is still read."""

    def __init__(self, current: bytes, *previous: bytes) -> None:
        self._keys = [_Key(secret) for secret in (current, *previous)]

    @classmethod
    def written(cls, text: str) -> Keys:
        """Of a file: a key on each line, the first one signs. Raises ValueError."""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if not lines:
            raise ValueError("there is no key in it")
        if min(map(len, lines)) < SHORTEST:
            raise ValueError(f"a key has less than {SHORTEST} characters")
        return cls(*(line.encode() for line in lines))

    def signer(self, domain: str, caller: str) -> Signer:
        """`caller` is empty where there is `NOBODY`."""
        key = self._keys[0]
        return Signer(key, key.tag(domain) + (key.tag(caller) if caller else NOBODY))

    def read_id(self, text: str) -> Signed:
        """Raises Unsigned."""
        found = _ID.fullmatch(text)
        if found is None:
            raise Unsigned
        prefix, rest = found["prefix"], found["rest"]
        original = rest if prefix is None else f"{prefix}_{rest}"
        return self._verified(found["hint"], original, encrypted=False)

    def read_content(self, text: str) -> Signed:
        """Raises Unsigned."""
        found = _CONTENT.fullmatch(text)
        if found is None:
            raise Unsigned
        return self._verified(found["hint"], found["rest"], encrypted=True)

    def _verified(self, hint: str, original: str, *, encrypted: bool) -> Signed:
        raw, signed = _decoded(hint), (_of_content if encrypted else _of_id)(original)
        tags, mac = raw[1 : 1 + 2 * _TAG], raw[1 + 2 * _TAG :]
        for key in self._keys if raw[:1] == _VERSION else ():
            if hmac.compare_digest(key.mac(tags, signed), mac):
                return Signed(original, encrypted, tags[:_TAG], tags[_TAG:], key)
        raise Unsigned


def _decoded(hint: str) -> bytes:
    """Only what `_hint` writes: base64 leaves bits of the last character unused, which nobody may change unseen."""
    raw = base64.urlsafe_b64decode(hint + "=")
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != hint:
        raise Unsigned
    return raw


def _of_id(original: str) -> bytes:
    return b"id\0" + original.encode("utf-8", "surrogatepass")


def _of_content(original: str) -> bytes:
    """Of its digest, since contents are long."""
    return b"content\0" + hashlib.sha256(original.encode("utf-8", "surrogatepass")).digest()
