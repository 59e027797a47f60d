"""What a kind of provider says of itself, and how addresses are joined where nothing is particular."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal
from urllib.parse import urlsplit

from dataplane.http import paths
from dataplane.table import Provider

_VERSION = re.compile(r"v\d+\w*")


def joined(provider: Provider, path: str, query: str, model: str) -> str:  # noqa: ARG001
    """The provider's base joined with the client's raw path and query.

    A leading version (`/v1`) of the path that the base ends with is merged, never doubled:

    >>> joined(Provider(name="a", kind="openai", url="https://a.example/v1"), "/v1/models", "", "")
    'https://a.example/v1/models'
    """
    base, version = _base(provider.url)
    return asked(base + paths.stripped(path, version), query)


def asked(url: str, query: str) -> str:
    """The URL with a raw query, if there is one."""
    return f"{url}?{query}" if query else url


@lru_cache(1024)
def _base(url: str) -> tuple[str, str]:
    """Without a slash at the end, and the version that it ends with, if it does."""
    base = url.rstrip("/")
    last = urlsplit(base).path.rpartition("/")[2]
    return base, last if _VERSION.fullmatch(last) else ""


@dataclass(frozen=True, slots=True)
class Kind:
    """What is particular about one kind of provider. What is not said is as with the OpenAI API."""

    name: str
    """Of its field in the API, in the table and in usage records."""
    url: str = ""
    """Base address where a Backend says none, such as `https://api.openai.com/v1`. Empty: it must say one."""
    system: str = ""
    """`gen_ai.provider.name` in metrics and spans, where it is not `name`:
    https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/"""
    catalogue: str = ""
    """Id of the provider whose prices genai-prices lists. Empty: its prices are known to its owner alone."""
    header: Literal["authorization", "api-key"] = "authorization"
    """Where a credential of ours goes, unless the Backend says otherwise."""
    address: Callable[[Provider, str, str, str], str] = joined
    """The upstream URL for a provider, the client's raw path, its raw query without keys, and the upstream's name of
    the model (empty: the request names none)."""
    refuses: frozenset[str] = frozenset()
    """Header fields (lower case) that the provider must not be sent."""

    beta_is_mended: bool = True
    """Are realtime clients of OpenAI's beta understood here, by turning their requests into GA's? A provider whose own
    events have the fields that beta had must get them as they are."""

    bills_time: bool = False
    """Are realtime sessions billed by time? What their turns report of tokens is then for information."""
    binary_audio: bool = False
    """May a realtime client send audio as binary messages?"""
    rejects: frozenset[int] = frozenset([401, 403])
    """Statuses of a handshake that say that the credential is not accepted."""
    resumes: frozenset[str] = frozenset()
    """Query parameters that open what somebody said before, to whoever shows a credential of the same account."""

    @property
    def label(self) -> str:
        """As metrics and spans name the provider."""
        return self.system or self.name
