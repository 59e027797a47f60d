"""What commands ask a running gateway, at its admin port."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Final

from tidegate import environment
from tidegate.addresses import Address
from tidegate.exits import Exit, Stop

PATIENCE_S: Final = 10.0


def ask(address: Address, method: str, path: str) -> tuple[int, Mapping[str, object]]:
    """Status and JSON of the admin port's answer; no JSON: nothing. Raises Stop."""
    headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if (token := environment.admin_token()) else {}
    connection = http.client.HTTPConnection(address.host, address.port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        why = str(error) or type(error).__name__
        raise Stop(
            Exit.CANNOT_START,
            f"no gateway answers at {address}: {why}. Start one with `tidegate serve`, or say where its admin port is "
            "with --admin.",
        ) from None
    finally:
        connection.close()
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    return response.status, said if isinstance(said, dict) else {}


def refused(address: Address, status: int, body: Mapping[str, object]) -> Stop:
    """What is said of an answer that is not what was asked for."""
    error = body.get("error")
    why = error.get("message") if isinstance(error, dict) else None
    said = f"{address} answered {status}{f' ({why})' if why else ''}."
    if status == http.client.UNAUTHORIZED:
        token = (
            f"The {environment.ADMIN_TOKEN} that is set here is another."
            if environment.admin_token()
            else (f"Set {environment.ADMIN_TOKEN} to it here as well.")
        )
        return Stop(Exit.FAILED, f"{said} {token}")
    if status == http.client.FORBIDDEN:
        return Stop(Exit.FAILED, said)
    return Stop(Exit.CANNOT_START, f"{said} Is it the admin port of a gateway?")
