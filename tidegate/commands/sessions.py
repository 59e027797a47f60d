"""`tidegate sessions`: what is going on in a running gateway, and ending it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from typing import Final

import typer

from tidegate import addresses, environment
from tidegate.addresses import Address
from tidegate.exits import Exit, Stop

PATIENCE_S: Final = 10.0
NONE: Final = "No session is open."

Session = Mapping[str, object]


def show(admin: str, *, as_json: bool) -> Exit:
    """Print the live sessions, the oldest first. Raises Stop."""
    found = _sessions(addresses.parse_peer(admin, "--admin"))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif found:
        typer.echo("\n".join(_columns(found)))
    else:
        typer.echo(NONE)
    return Exit.OK


def end(admin: str, names: Sequence[str], *, everyone: bool) -> Exit:
    """End sessions, named by the beginning of their ids or all. One that ends by itself meanwhile is over, which is
    what was wanted. Raises Stop."""
    if everyone == bool(names) or not all(names):
        raise Stop(Exit.USAGE, "name the sessions to end, or say --all; `tidegate sessions` lists them.")
    address = addresses.parse_peer(admin, "--admin")
    known = [str(session["id"]) for session in _sessions(address)]
    chosen = known if everyone else [_the_one(name, known) for name in names]
    for name in dict.fromkeys(chosen):
        typer.echo(f"{name} {'is told to end' if _ended(address, name) else 'is over already'}.")
    if not chosen:
        typer.echo(NONE)
    return Exit.OK


def _the_one(name: str, known: Sequence[str]) -> str:
    """The one id that begins so."""
    found = [each for each in known if each.startswith(name)]
    if len(found) == 1:
        return found[0]
    which = f"{len(found)} sessions have an id that begins" if found else "no session has an id that begins"
    raise Stop(Exit.FAILED, f"{which} with {name!r}; `tidegate sessions` lists them.")


def _ended(address: Address, name: str) -> bool:
    """Have a session end; False if it is over."""
    status, body = _ask(address, "DELETE", f"/sessions/{name}")
    if status not in (http.client.ACCEPTED, http.client.NOT_FOUND):
        raise _refused(address, status, body)
    return status == http.client.ACCEPTED


def _sessions(address: Address) -> list[Session]:
    status, body = _ask(address, "GET", "/sessions")
    found = body.get("sessions")
    if status != http.client.OK or not isinstance(found, list) or not all(map(_is_session, found)):
        raise _refused(address, status, body)
    return sorted(found, key=lambda session: -float(session["seconds"]))


def _is_session(found: object) -> bool:
    return isinstance(found, dict) and set(found) >= {"id", "route", "model", "seconds", "turns"}


def _ask(address: Address, method: str, path: str) -> tuple[int, Mapping[str, object]]:
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


def _refused(address: Address, status: int, body: Mapping[str, object]) -> Stop:
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


_HEADINGS: Final = ("ID", "ROUTE", "MODEL", "CALLER", "AGE", "TURNS", "INPUT", "OUTPUT", "USD", "STATE")


def _columns(sessions: Sequence[Session]) -> list[str]:
    """A table as kubectl prints it."""
    rows = [_HEADINGS, *map(_row, sessions)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["   ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _row(session: Session) -> tuple[str, ...]:
    tokens, caller = _part(session, "tokens"), _part(session, "caller")
    cost = session.get("cost_usd")
    return (
        str(session["id"]),
        str(session["route"]),
        str(session["model"]) or "-",
        "/".join(filter(None, (str(caller.get("team", "")), str(caller.get("key", ""))))) or "-",
        _age(float(str(session["seconds"]))),
        str(session["turns"]),
        str(_sum(tokens, "input")),
        str(_sum(tokens, "output")),
        "-" if cost is None else f"{float(str(cost)):.4f}",
        str(session.get("ending") or "open"),
    )


def _part(session: Session, name: str) -> Mapping[str, object]:
    found = session.get(name)
    return found if isinstance(found, dict) else {}


def _sum(tokens: Mapping[str, object], direction: str) -> int:
    return sum(int(str(amount)) for name, amount in tokens.items() if name.startswith(f"{direction}_"))


def _age(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
