"""The store that the fleet counts in: Valkey, or Redis from version 5 on.

The client is imported where there is a store, and only there: it takes 80 ms and 18 MB.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from pydantic import SecretStr

from dataplane.limits.fleet import AT_ONCE, StoreFailed
from dataplane.limits.script import SCRIPT, SHA

TIMEOUT: Final = 0.5
"""Seconds for one script, from dialling to the answer."""
SCHEMES: Final = ("redis", "rediss", "valkey", "valkeys", "unix")
_PARAMETERS: Final = frozenset(["db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
_HINT: Final = " (the password is that of TIDEGATE_STATE_PASSWORD, or of the URL)"
_SHOWN: Final = 200


def where(url: str) -> str:
    """The address as a log may show it. Raises ValueError, which does not quote it, for what is none."""
    try:
        if "://" not in url:
            raise ValueError
        parts = urlsplit(url)
        port, parameters = parts.port, parse_qsl(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError("is no URL: write redis://HOST:6379, rediss:// for TLS, or unix:///PATH") from None
    if parts.scheme not in SCHEMES:
        raise ValueError(f"begins with none of {', '.join(f'{each}://' for each in SCHEMES)}: write redis://HOST:6379")
    if parts.fragment:
        raise ValueError("has a '#': in a password write %23, as in redis://:PASS%23WORD@HOST:6379")
    if parts.scheme == "unix" and not parts.path.startswith("/"):
        raise ValueError("has no path: write unix:///PATH")
    if parts.scheme != "unix" and not parts.hostname:
        raise ValueError("has no host: write redis://HOST:6379")
    if parts.scheme != "unix" and not (parts.path.strip("/") or "0").isdecimal():
        raise ValueError("has a path that is no number of a database: write redis://HOST:6379/0")
    if not {name for name, _ in parameters} <= _PARAMETERS:
        known = ", ".join(sorted(_PARAMETERS))
        raise ValueError(f"has parameters that mean nothing here; known are {known}, as in redis://HOST:6379?db=1")
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


class ValkeyStore:
    """Runs the script in a store. It dials when it is asked first. Raises ValueError, which quotes no password, for an
    address that is none."""

    def __init__(self, url: str, password: SecretStr | None = None, timeout: float = TIMEOUT) -> None:
        from valkey import asyncio as client
        from valkey.asyncio.connection import parse_url

        self.where = where(url)
        self._timeout = timeout
        options: dict[str, object] = {
            **parse_url(url),
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "lib_name": None,
            "lib_version": None,
        }
        if password:
            options["password"] = password.get_secret_value()
        if urlsplit(url).scheme in ("rediss", "valkeys"):
            options["ssl_check_hostname"] = True
        self._secret = str(options.get("password") or "")
        pool = client.BlockingConnectionPool(max_connections=AT_ONCE + 1, timeout=timeout, **options)  # type: ignore[arg-type]
        self._pool = pool
        self._client = client.Valkey(connection_pool=pool)

    async def run(self, key: str, arguments: Sequence[str | int]) -> object:
        """What the script answers. Raises StoreFailed."""
        from valkey.exceptions import AuthenticationError, NoScriptError, ValkeyError

        try:
            async with asyncio.timeout(self._timeout):
                try:
                    return await self._client.execute_command("EVALSHA", SHA, 1, key, *arguments)  # type: ignore[no-untyped-call]
                except NoScriptError:
                    return await self._client.execute_command("EVAL", SCRIPT, 1, key, *arguments)  # type: ignore[no-untyped-call]
        except TimeoutError:
            raise StoreFailed(f"{self.where} did not answer within {self._timeout:g} s") from None
        except (ValkeyError, OSError) as error:
            # Another server may have taken over under the same name: the next one is dialled.
            with suppress(ValkeyError, OSError):
                await self._pool.disconnect(inuse_connections=False)
            hint = _HINT if isinstance(error, AuthenticationError) else ""
            raise StoreFailed(f"{self.where}: {self._told(error)}{hint}") from None

    async def close(self) -> None:
        await self._pool.disconnect()

    def _told(self, error: Exception) -> str:
        """Without the password, should anybody have said it."""
        text = str(error)[:_SHOWN] or type(error).__name__
        return text.replace(self._secret, "***") if self._secret else text
