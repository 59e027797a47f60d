"""`tidegate validate`, `explain` and `crds`: what can be said without serving anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from tidegate.exits import Exit, Stop


def validate(paths: Sequence[Path], *, json: bool) -> Exit:
    """Print what a cluster would say of these files. FAILED where something is not accepted."""
    from tidegate.validate import check

    report = check(paths)
    typer.echo(report.json() if json else report.text(), nl=False)
    return Exit.OK if report.ok else Exit.FAILED


def explain(
    path: str, paths: Sequence[Path], *, host: str, method: str, model: str, key_name: str, headers: Sequence[str]
) -> Exit:
    """Print what `tidegate serve` would do with a request. FAILED where it would refuse it. Raises Stop."""
    from controller import compile as compiler
    from tidegate import explain as explaining
    from tidegate.documents import Documents

    request = explaining.Request(path, method.upper(), host, dict(map(_header, headers)), model, key_name)
    loaded = Documents().load(paths)
    if loaded.errors:
        raise Stop(Exit.FAILED, "\n  ".join(["these files cannot be used:", *loaded.errors]))
    compiled = compiler.compile(loaded.contents, open_by_default=True)
    explanation = explaining.explain(compiled, request)
    typer.echo(explanation.text)
    return Exit.OK if explanation.served else Exit.FAILED


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise Stop(Exit.USAGE, f"--header {text!r}: write 'NAME: VALUE'.")
    return name.strip().lower(), value.strip()


def crds(kind: str) -> None:
    """Print the CustomResourceDefinitions, or that of one kind (`backend`, `policy`)."""
    from crds import generate

    files = generate.render()
    wanted = {"backend": ["backends.yaml"], "policy": ["policies.yaml"]}.get(kind, list(files))
    typer.echo("---\n".join(files[name] for name in wanted), nl=False)
