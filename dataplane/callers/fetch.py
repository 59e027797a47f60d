"""Gets the keys of an issuer by HTTP: one request, bounded in time and size, to an address that upstreams may have."""

from __future__ import annotations

import asyncio

from dataplane import jwks
from dataplane.errors import Refusal
from dataplane.http import wire
from dataplane.upstreams.connection import Lost, Request
from dataplane.upstreams.parser import BadAnswer
from dataplane.upstreams.pool import Pool
from dataplane.upstreams.target import parted

SECONDS = 5.0
"""For all of it."""
_OK = 200


class NotFetched(Exception):
    """The keys could not be had. The message says why."""


async def fetch(pool: Pool, url: str) -> jwks.KeysRead:
    """The keys that are published at `url`. Redirects are not followed: where they lead, nobody has agreed to.

    Raises NotFetched."""
    origin, target = parted(url)
    try:
        async with asyncio.timeout(SECONDS):
            return jwks.read(await _body(pool, url))
    except TimeoutError:
        raise NotFetched(f"{origin.host} took more than {SECONDS:g} s") from None
    except Refusal as refusal:
        raise NotFetched(refusal.message.rstrip(".")) from None
    except (BadAnswer, Lost) as error:
        raise NotFetched(f"{origin.host}: {error}") from None
    except jwks.NoKeySet as error:
        raise NotFetched(f"what {origin.host} answers at {target.partition('?')[0]} {error}") from None


async def _body(pool: Pool, url: str) -> bytes:
    origin, target = parted(url)
    connection = await pool.fresh(origin, SECONDS)
    try:
        fields = [("host", origin.authority), ("accept", "application/json"), ("accept-encoding", "identity")]
        head = await connection.ask(Request(wire.head(f"GET {target} HTTP/1.1", fields)), SECONDS)
        if head.status != _OK:
            raise NotFetched(f"{origin.host} answered {head.status}" + _hint(head.status))
        body = bytearray()
        while piece := await connection.read(SECONDS):
            body += piece
            if len(body) > jwks.MAX_BYTES:
                raise NotFetched(f"{origin.host} answered more than {jwks.MAX_BYTES} bytes")
        return bytes(body)
    finally:
        connection.abort()


def _hint(status: int) -> str:
    return "; redirects are not followed: name the address that they lead to" if 300 <= status < 400 else ""
