"""Send one HTTP request upstream and wait for the head of its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from http import HTTPStatus
from io import BytesIO
from urllib.parse import urlsplit

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from dataplane.errors import Refusal
from dataplane.http.headers import Fields
from dataplane.services import Services
from dataplane.table import Timeouts
from dataplane.upstreams.choose import Destination
from dataplane.upstreams.connect import unreachable

_Data = bytes | BytesIO | AsyncIterator[bytes] | None
_LARGE = 512 * 1024


async def send(
    services: Services,
    destination: Destination,
    timeouts: Timeouts,
    method: str,
    url: str,
    fields: Fields,
    body: bytes | AsyncIterator[bytes] | None,
) -> aiohttp.ClientResponse:
    """The upstream's answer, its body unread. Close it.

    A body that is not yet there may take as long as it comes; the time for the answer runs from its last piece.
    Raises Refusal upstream_unreachable, upstream_address_refused, upstream_timeout, upstream_protocol_error,
    upstream_credential_rejected."""
    wait = timeouts.response
    host = urlsplit(url).hostname or ""
    try:
        async with asyncio.timeout(wait) as deadline:
            if isinstance(body, AsyncIterator):
                data: _Data = _paced(body, deadline, wait)
            else:  # aiohttp wants large ones as files, which it sends in pieces
                data = BytesIO(body) if body and len(body) > _LARGE else body
            response = await services.pool.request(
                method,
                URL(url, encoded=True),
                headers=CIMultiDict(fields),
                data=data,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, connect=timeouts.connect),
            )
    except aiohttp.ClientConnectorError as error:
        raise unreachable(error.host, error.port or 0, error.os_error) from None
    except aiohttp.ConnectionTimeoutError:
        raise Refusal("upstream_timeout", f"Connecting to {host} took more than {timeouts.connect:g} s.") from None
    except TimeoutError:
        raise Refusal("upstream_timeout", f"{host} did not answer within {wait:g} s.") from None
    except aiohttp.ServerDisconnectedError:
        raise Refusal("upstream_unreachable", f"{host} closed the connection without an answer.") from None
    except aiohttp.ClientResponseError:
        raise Refusal("upstream_protocol_error", f"{host} answered something that is not HTTP/1.1.") from None
    except (aiohttp.ClientError, OSError) as error:
        if isinstance(error.__cause__, Refusal):  # the body broke, not the upstream
            raise error.__cause__ from None
        why = type(error.__cause__ or error).__name__
        raise Refusal("upstream_unreachable", f"The connection to {host} broke ({why}).") from None
    try:
        if response.status < HTTPStatus.OK:  # 101 to a request for no upgrade, or a status that there is not
            raise Refusal("upstream_protocol_error", f"{host} answered {response.status}, which ends no request.")
        check_credential(destination, response.status)
    except Refusal:
        response.close()
        raise
    if response.connection is not None and (protocol := response.connection.protocol) is not None:
        protocol.read_timeout = timeouts.idle  # more of its body is to come
        protocol.start_timeout()
    return response


async def _paced(body: AsyncIterator[bytes], deadline: asyncio.Timeout, wait: float) -> AsyncIterator[bytes]:
    """The body; each piece gives the upstream new time to take it, and the last one to answer."""
    loop = asyncio.get_running_loop()

    def give(seconds: float | None) -> None:
        with suppress(RuntimeError):  # answered early, or given up: there is no deadline any more
            deadline.reschedule(None if seconds is None else loop.time() + seconds)

    give(None)
    async for data in body:
        give(wait)
        yield data
        give(None)
    give(wait)


def check_credential(destination: Destination, status: int) -> None:
    """An upstream's 401 or 403 is about our credential, where it was ours; the client can do nothing about it.

    Raises Refusal upstream_credential_rejected."""
    provider = destination.provider
    if status in (401, 403) and provider.credential.kind == "secret":
        raise Refusal(
            "upstream_credential_rejected",
            f"Provider {provider.name} answered {status} to the gateway's own credential. Whoever runs "
            "the gateway must check the provider's Secret.",
        )
