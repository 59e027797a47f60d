"""Asks one question by HTTP: a POST to an address that upstreams may have, by the connections that they share."""

from __future__ import annotations

from functools import lru_cache

from dataplane.errors import Refusal
from dataplane.http.headers import Fields
from dataplane.table import Timeouts
from dataplane.upstreams.connection import Lost
from dataplane.upstreams.parser import BadAnswer
from dataplane.upstreams.pool import Pool
from dataplane.upstreams.send import exchanged
from dataplane.upstreams.target import Reach, parted

_FIELDS = (("content-type", "application/json"), ("accept", "application/json"), ("accept-encoding", "identity"))


class Unanswered(Exception):
    """Nothing came, or not all of it. The message says why."""


class TooLong(Exception):
    """The answer is longer than it may be."""


async def post(
    pool: Pool, url: str, reach: Reach, credential: str, body: bytes, *, seconds: float, most: int
) -> tuple[int, bytes]:
    """Status and body of the answer; the body of one that is not 200 is not read. Redirects are not followed: where
    they lead, nobody has agreed to. `credential`: of the field Authorization, if there is one; `most`: bytes.

    Raises Unanswered, TooLong, and TimeoutError; whoever calls sees to the time for all of it."""
    origin, target = parted(url)
    origin = origin._replace(reach=reach)
    fields: Fields = [("host", origin.authority), *_FIELDS]
    if credential:
        fields.append(("authorization", credential))
    try:
        response = await exchanged(pool, origin, _timeouts(seconds), f"POST {target} HTTP/1.1", fields, body)
        try:
            if response.status != 200:
                return response.status, b""
            read = bytearray()
            async for piece in response:
                read += piece
                if len(read) > most:
                    raise TooLong
            return response.status, bytes(read)
        finally:
            response.close()
    except Refusal as refusal:
        raise Unanswered(refusal.message.rstrip(".")) from None
    except (BadAnswer, Lost) as error:
        raise Unanswered(f"{origin.host} {error}") from None


@lru_cache(256)
def _timeouts(seconds: float) -> Timeouts:
    return Timeouts(connect=seconds, response=seconds, idle=seconds)
