"""`tidegate validate`, `explain` and `crds`: what can be said without serving anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tidegate.exits import Exit, Stop
from tidegate.headers import parsed

if TYPE_CHECKING:
    from tidegate.explain_pools import Doing


def validate(paths: Sequence[Path], *, json: bool, state: str) -> Exit:
    """Print what a cluster would say of these files. FAILED where something is not accepted. `state`: address of the
    store, which is not asked; empty: there is none. Raises Stop."""
    from tidegate.addresses import parse_store
    from tidegate.validate import check

    report = check(paths, has_store=bool(parse_store(state)))
    typer.echo(report.json() if json else report.text(), nl=False)
    return Exit.OK if report.ok else Exit.FAILED


def explain(
    path: str,
    paths: Sequence[Path],
    *,
    host: str,
    method: str,
    model: str,
    key_name: str,
    headers: Sequence[str],
    admin: str,
) -> Exit:
    """Print what `tidegate serve` would do with a request. FAILED where it would refuse it. `admin`: of a gateway that
    is asked what is left of limits. Raises Stop."""
    from controller import compile as compiler
    from tidegate import explain as explaining
    from tidegate.documents import Documents

    _check_path(path)
    request = explaining.Request(path, method.upper(), host, dict(map(parsed, headers)), model, key_name)
    loaded = Documents().load(paths)
    if loaded.errors:
        raise Stop(Exit.FAILED, "\n  ".join(["these files cannot be used:", *loaded.errors]))
    compiled = compiler.compile(loaded.contents, open_by_default=True)
    asked = (_counted(admin), _doing(admin)) if admin else (None, None)
    explanation = explaining.explain(compiled, request, *asked)
    typer.echo(explanation.text)
    return Exit.OK if explanation.served else Exit.FAILED


def _check_path(path: str) -> None:
    """Raises Stop where it is none that a client can ask for, as where `-f *.yaml` stands before it."""
    is_file = _is_file(path)
    if is_file or not path.startswith("/"):
        what = "is a file" if is_file else "does not begin with '/'"
        hint = "the path that a client asks for comes first: tidegate explain /v1/realtime -f FILE FILE"
        raise Stop(Exit.USAGE, f"{path!r} {what}; {hint}.")


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # longer than names of files may be, or with what they cannot have
        return False


def _counted(admin: str) -> Sequence[Mapping[str, object]]:
    """What a gateway has counted. Raises Stop."""
    from tidegate import addresses, asking

    address = addresses.parse_peer(admin, "--admin")
    status, body = asking.ask(address, "GET", "/limits")
    found = body.get("limits")
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise asking.refused(address, status, body)
    if note := body.get("note"):
        typer.echo(note, err=True)
    return found


def _doing(admin: str) -> Doing:
    """How the providers of a gateway are doing. Raises Stop."""
    from tidegate import addresses, asking
    from tidegate.explain_pools import doing

    address = addresses.parse_peer(admin, "--admin")
    status, body = asking.ask(address, "GET", "/table")
    if "backends" not in body:
        raise asking.refused(address, status, body)
    return doing(body)


def crds(kind: str) -> None:
    """Print the CustomResourceDefinitions, or that of one kind (`backend`, `policy`)."""
    from crds import generate

    files = generate.render()
    wanted = {"backend": ["backends.yaml"], "policy": ["policies.yaml"]}.get(kind, list(files))
    typer.echo("---\n".join(files[name] for name in wanted), nl=False)
