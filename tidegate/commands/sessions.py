"""`tidegate sessions`: what is going on in a running gateway, and ending it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from typing import Final

import typer

from tidegate import addresses
from tidegate.addresses import Address
from tidegate.asking import ask, refused
from tidegate.exits import Exit, Stop

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
    status, body = ask(address, "DELETE", f"/sessions/{name}")
    if status not in (http.client.ACCEPTED, http.client.NOT_FOUND):
        raise refused(address, status, body)
    return status == http.client.ACCEPTED


def _sessions(address: Address) -> list[Session]:
    status, body = ask(address, "GET", "/sessions")
    found = body.get("sessions")
    if status != http.client.OK or not isinstance(found, list) or not all(map(_is_session, found)):
        raise refused(address, status, body)
    return sorted(found, key=lambda session: -float(session["seconds"]))


def _is_session(found: object) -> bool:
    return isinstance(found, dict) and set(found) >= {"id", "route", "model", "seconds", "turns"}


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
