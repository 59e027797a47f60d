"""How controllers are reached: their addresses, the dial, and what is to be done where it fails."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidMessage, InvalidStatus

from dataplane.table.messages import LARGEST_SENT, PATH

RESOLVE: Final = 5.0
"""Seconds for a look-up of a name."""
DIAL: Final = 10.0
"""Seconds from dialling to the answer of the controller."""
CLOSE: Final = 2.0
"""Seconds for the end of a connection."""
PING: Final = 20.0
"""Seconds between pings, and until the answer to one."""
FIRST, LAST = 0.5, 15.0
"""Bounds of the delay before another dial, in seconds."""
_SHOWN: Final = 300
_WHAT_TO_DO: Final = {
    401: "it does not take the token ({status}): {token} must be a projected ServiceAccount token of this pod, for the "
    "audience tidegate-controller",
    403: "it does not take this pod for one of its gateways ({status}): the pod must have the ServiceAccount and the "
    "labels of the controller's own install",
    404: "it is no controller of Tidegate ({status}): --controller is the port 9443 of the controller's Service",
    503: "it has nothing to offer yet ({status})",
}


# At DEBUG it logs headers and messages: tokens and secrets. It never may.
_websockets = logging.getLogger("tidegate.controllers.websockets")
_websockets.setLevel(logging.WARNING)


class Failed(Exception):
    """There is no connection. Its text says why, and what to do. `unreachable`: nobody answered."""

    def __init__(self, reason: str, *, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.unreachable = unreachable


@dataclass(frozen=True, slots=True)
class Name:
    """What controllers are found by: of a headless Service, it has the addresses of all replicas."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Both files are read at each dial: they are replaced while the data plane runs."""

    ca: Path
    """Authorities that sign controllers' certificates (PEM)."""
    token: Path
    """That proves to a controller which pod this is."""

    def context(self) -> ssl.SSLContext:
        """Blocks. Raises Failed."""
        try:
            return ssl.create_default_context(cadata=self.ca.read_text("ascii"))
        except (ssl.SSLError, ValueError):
            raise Failed(f"--controller-ca {self.ca} holds no certificates in PEM") from None
        except OSError as error:
            raise Failed(f"--controller-ca {self.ca}: {error.strerror}") from None

    def bearer(self) -> str:
        """Blocks. Raises Failed."""
        try:
            token = self.token.read_text("ascii").strip()
        except OSError as error:
            raise Failed(f"--token-file {self.token}: {error.strerror}") from None
        except ValueError:
            token = ""
        if not token or not token.isprintable() or " " in token:
            raise Failed(f"--token-file {self.token} holds no token")
        return f"Bearer {token}"


def delays(rand: Callable[[], float]) -> Iterator[float]:
    """Seconds before each further dial: anything up to a bound that doubles, so that many data planes do not come back
    in one moment."""
    bound = FIRST
    while True:
        yield bound * rand()
        bound = min(2 * bound, LAST)


async def addresses(name: Name) -> list[str]:
    """All addresses of the name, as they are dialled. Raises Failed."""
    try:
        async with asyncio.timeout(RESOLVE):
            found = await asyncio.get_running_loop().getaddrinfo(name.host, name.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise Failed(f"{name.host} was not resolved within {RESOLVE:g} s", unreachable=True) from None
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no name"
        raise Failed(f"{name.host} cannot be resolved: {reason}", unreachable=True) from None
    return sorted({str(info[4][0]) for info in found})


async def dial(name: Name, address: str, credentials: Credentials) -> ClientConnection:
    """A connection to the controller at this address. Raises Failed."""
    context, bearer = await asyncio.to_thread(lambda: (credentials.context(), credentials.bearer()))
    try:
        return await connect(
            f"wss://{name}{PATH}",
            host=address,
            port=name.port,
            ssl=context,
            additional_headers={"Authorization": bearer},
            user_agent_header=None,
            compression=None,
            proxy=None,
            open_timeout=DIAL,
            close_timeout=CLOSE,
            ping_interval=PING,
            ping_timeout=PING,
            max_size=LARGEST_SENT,
            max_queue=4,
            logger=_websockets,
        )
    except InvalidStatus as error:
        raise Failed(_refused(error.response.status_code, bytes(error.response.body or b""), credentials)) from None
    except ssl.SSLCertVerificationError as error:
        raise Failed(
            f"its certificate is none of {name.host} signed by {credentials.ca}: {error.verify_message}; the file must "
            "be the ca.crt of the controller's own install"
        ) from None
    except TimeoutError:
        raise Failed(f"it did not answer within {DIAL:g} s", unreachable=True) from None
    except (OSError, InvalidMessage, ValueError) as error:
        raise Failed(f"it cannot be reached: {_why(error)}", unreachable=True) from None
    except InvalidHandshake as error:
        raise Failed(f"it is no controller of Tidegate: {error}"[:_SHOWN]) from None


def _refused(status: int, body: bytes, credentials: Credentials) -> str:
    what = _WHAT_TO_DO.get(status, "it answered {status}").format(status=status, token=credentials.token)
    said = "".join(filter(str.isprintable, body[:_SHOWN].decode("utf-8", "replace"))).strip()
    return f"{what}; it says: {said}" if said else what


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return "the connection was closed"


def shown(address: str, port: int) -> str:
    """An address as it is written."""
    return f"[{address}]:{port}" if ip_address(address).version == 6 else f"{address}:{port}"
