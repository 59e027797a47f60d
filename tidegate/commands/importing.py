"""`tidegate import`: another gateway's configuration, read, checked as a cluster would, and written."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from controller import compile as compiler
from tidegate import yaml_text
from tidegate.documents import LIMIT, STDIN
from tidegate.exits import Exit, Stop
from tidegate.importing import reading, writing
from tidegate.importing.patterns import LABEL, fits
from tidegate.importing.reading import Imported, Origin
from tidegate.importing.writing import Object
from tidegate.validate import NEEDED

_FILES = {"Backend": "backends.yaml", "Policy": "policies.yaml", "Secret": "secrets.yaml"}
_OTHERS = "routes.yaml"


@dataclass(frozen=True, slots=True)
class Options:
    """The command's options as they were written."""

    files: Sequence[Path]
    origin: Origin | None
    output: str
    namespace: str


def run(options: Options) -> None:
    """Write what became of the files, and say on stderr what did not. Raises Stop."""
    if not fits(LABEL, options.namespace):
        raise Stop(Exit.USAGE, "--namespace: is no name of a namespace: lower-case letters, digits and '-'.")
    texts = {"stdin" if str(path) == STDIN else str(path): _text(path) for path in options.files}
    try:
        result = reading.imported(texts, options.origin, os.environ, options.namespace)
    except reading.Unreadable as why:
        raise Stop(Exit.USAGE, f"nothing was imported: {why}") from None
    for finding in result.findings:
        typer.echo(str(finding), err=True)
    if not result.objects:
        raise Stop(Exit.USAGE, "nothing was imported: see above.")
    for line in _open(result.objects):
        typer.echo(line, err=True)
    if options.output == STDIN:
        typer.echo(writing.text(result.objects), nl=False)
    else:
        _write(Path(options.output), result.objects)
    typer.echo(_summary(result), err=True)


def _text(path: Path) -> str:
    """Raises Stop."""
    try:
        if str(path) == STDIN:
            data = sys.stdin.buffer.read(LIMIT + 1)
        else:
            with path.open("rb") as file:
                data = file.read(LIMIT + 1)
    except OSError as error:
        raise Stop(Exit.USAGE, f"{path}: cannot be read: {error.strerror}.") from None
    if len(data) > LIMIT:
        raise Stop(Exit.USAGE, f"{path}: is larger than {LIMIT // 2**20} MiB, which no configuration is.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Stop(Exit.USAGE, f"{path}: is not UTF-8 text.") from None


def _open(objects: Sequence[Object]) -> Iterator[str]:
    """What a cluster would still miss, by the very text that is written."""
    contents = [each.content for each in yaml_text.parse(writing.text(objects))]
    compiled = compiler.compile(content for content in contents if isinstance(content, dict))
    for status in compiled.statuses:
        for condition in status.conditions:
            if condition.type in NEEDED and condition.status == "False":
                yield f"{status.kind} {status.namespace}/{status.name}: {condition.reason}: {condition.message.strip()}"


def _write(folder: Path, objects: Sequence[Object]) -> None:
    """Raises Stop, and overwrites nothing."""
    files: dict[str, list[Object]] = {}
    for each in objects:
        files.setdefault(_FILES.get(str(each["kind"]), _OTHERS), []).append(each)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if there := [name for name in files if (folder / name).exists()]:
            raise Stop(Exit.USAGE, f"{folder} has {', '.join(sorted(there))} already: remove them, or name another.")
        for name, some in files.items():
            _create(folder / name, writing.text(some))
    except OSError as error:
        raise Stop(Exit.FAILED, f"{folder}: cannot be written: {error.strerror}.") from None


def _create(path: Path, text: str) -> None:
    """Secrets are for nobody else to read."""
    mode = 0o600 if path.name == _FILES["Secret"] else 0o666
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)


def _summary(result: Imported) -> str:
    made = Counter(str(each["kind"]) for each in result.objects)
    found: Mapping[str, int] = Counter(each.kind for each in result.findings)
    kinds = ", ".join(f"{number} {_plural(kind, number)}" for kind, number in made.items())
    return f"Imported: {kinds}. Fields dropped: {found.get('dropped', 0)}, changed: {found.get('changed', 0)}."


def _plural(kind: str, number: int) -> str:
    if number == 1:
        return kind
    return f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
