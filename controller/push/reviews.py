"""Whose token is it? The API server says (TokenReview), and the answer holds for some minutes.

Tokens are kept as hashes, and are in no message, log or repr.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from controller.push.door import Review, read

GOOD_FOR = 300.0
"""Seconds. The token of a pod that was deleted meanwhile opens nothing: see `door`."""
BAD_FOR = 10.0
"""Seconds: a token may be good as soon as the API server knows its signing key."""
TIMEOUT = 10.0
"""Seconds for the API server."""
AT_ONCE = 8
"""Reviews under way; more wait, so that a flood of tokens does not become one of the API server."""
REMEMBERED = 4096
MAX_TOKEN = 16 * 1024

CreateTokenReview = Callable[[str, str], Awaitable[Mapping[str, object]]]
"""Has the API server review a token for an audience. Returns the TokenReview (authentication.k8s.io/v1)."""


class Unavailable(Exception):
    """The API server gave no answer. The message says why, without the token."""


@dataclass(slots=True)
class Reviews:
    """Reviews for one audience. Belongs to one loop."""

    create: CreateTokenReview = field(repr=False)
    audience: str
    clock: Callable[[], float] = time.monotonic
    _known: dict[bytes, tuple[float, Review]] = field(default_factory=dict, repr=False)
    """Until when, by the token's hash; oldest first."""
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE), repr=False)

    async def review(self, token: str) -> Review:
        """Raises Unavailable."""
        if len(token) > MAX_TOKEN:
            return Review("the token is too long")
        name = hashlib.sha256(token.encode(errors="surrogateescape")).digest()
        if known := self._remembered(name):
            return known
        async with self._slots:
            if known := self._remembered(name):  # asked for by another connection meanwhile
                return known
            review = read(await self._asked(token), self.audience)
        self._known.pop(name, None)
        while len(self._known) >= REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[name] = self.clock() + (BAD_FOR if review.refusal else GOOD_FOR), review
        return review

    def _remembered(self, name: bytes) -> Review | None:
        until, review = self._known.get(name, (0.0, None))
        return review if self.clock() < until else None

    async def _asked(self, token: str) -> Mapping[str, object]:
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self.create(token, self.audience)
        except TimeoutError:
            raise Unavailable(f"the API server did not review the token within {TIMEOUT:g} s") from None
        except Exception as error:  # clients' errors repeat their request, and that has the token in it
            raise Unavailable(f"the API server did not review the token ({type(error).__name__})") from None
