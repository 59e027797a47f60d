"""YAML and JSON files as Kubernetes documents, each with its place, so that every error can say where it is.

What is not right in itself is an error here: text that is no YAML, documents without kind or name, environment
variables that are not set. Whether an object makes sense is for the compiler to say. With any error nothing of a
load may be used: half a set of files is another configuration than the one that was written.

What is read is bounded, and after the start nothing waits for a writer: a path may come to be a pipe or a device
without end, and a reload must survive that.

A file that held something and is empty now (0 bytes) is an error, too, and so is a folder that held files and holds
none: that is how they look while they are being written anew. Whoever means it writes a comment.
"""

from __future__ import annotations

import io
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from controller.compile import Identity, identify
from tidegate import yaml_text
from tidegate.yaml_text import NotYaml, Step

SUFFIXES = (".yaml", ".yml", ".json")
STDIN = "-"
LIMIT = 16 * 2**20
"""Bytes of a file."""

_STEP = re.compile(r'\.?([A-Za-z_]\w*)|\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]')
_VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_UNFINISHED = "as if it were just being written; to stop serving what it held, leave"
_NO_FILES = (
    (stat.S_ISFIFO, "a named pipe; one is read only where it is named when the command starts"),
    (stat.S_ISSOCK, "a socket; name a file"),
)
_KINDS = "Backend, Policy, HTTPRoute, ReferenceGrant and Secret"


@dataclass(frozen=True, slots=True)
class Document:
    """An object and where it was written."""

    content: Mapping[str, object] = field(repr=False)  # it may be a Secret
    identity: Identity
    file: str
    index: int
    """Of the document in its file, from 1."""
    within: tuple[Step, ...] = ()
    """Where the object is in its document: ("items", 2) in a List."""
    lines: Mapping[tuple[Step, ...], int] = field(default_factory=dict, repr=False)

    @property
    def place(self) -> str:
        """`policies.yaml #2`."""
        return _place(self.file, self.index, self.within)

    def line(self, path: str = "") -> int:
        """The line of a field (`spec.targetRefs[0].name`), or of the nearest one above it that is written."""
        steps = (*self.within, *_steps(path))
        while steps and steps not in self.lines:
            steps = steps[:-1]
        return self.lines.get(steps, 1)

    def located(self, path: str, message: str) -> str:
        """An error of this document as people read it."""
        return f"{self.place}: {path + ': ' if path else ''}{message} (line {self.line(path)})"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was read from all paths."""

    documents: tuple[Document, ...]
    errors: tuple[str, ...]
    """Each with its place. Where there are any, the documents are not to be used."""
    notes: tuple[str, ...]
    """What was skipped, and why."""

    @property
    def contents(self) -> list[Mapping[str, object]]:
        """What the compiler takes."""
        return [document.content for document in self.documents]


class _Unreadable(Exception):
    """Why there is no text to be had."""


@dataclass(frozen=True, slots=True)
class _Text:
    """What was made of a file's text."""

    text: str = field(repr=False)
    documents: Sequence[Document]
    errors: Sequence[str]
    notes: Sequence[str]


class Documents:
    """Loads paths, again and again: it remembers the Secrets that it saw, to tell a new version from an old one. What
    is made of a file's text is made once: the documents of a file that is as it was are the same objects."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self.environ = os.environ if environ is None else environ
        """What `${NAME}` stands for."""
        self._texts: dict[str, _Text] = {}
        """By file, as of the last load; made with these variables:"""
        self._made_with: dict[str, str] = {}
        self._secrets: dict[Identity, tuple[Mapping[str, object], int]] = {}
        self._pipes: dict[Path, str] = {}
        """What came through them, stdin (`-`) among them: it comes once."""
        self._started = False
        """Were the paths read before? Only the first time whoever fills a pipe is waited for."""
        self._filled: set[Path] = set()
        """Files that held text, folders that held files."""

    def load(self, paths: Iterable[str | Path]) -> Loaded:
        """Read files, directories (their YAML and JSON files, sorted, not those of directories inside), and what can
        be read only once: `-` (stdin) and pipes, such as `<(sops -d secrets.yaml)` in a shell. Blocks until whoever
        fills these is done, the first time alone. Never raises for what is in the files or for files that cannot be
        read."""
        if self._made_with != self.environ:
            self._texts, self._made_with = {}, dict(self.environ)
        loading = _Loading(self.environ, self._pipes, self._filled, self._texts, waits=not self._started)
        self._started = True
        for path in _unique(paths):
            loading.path(Path(path))
        for document in loading.documents:
            if document.identity.kind == "Secret":
                self._version(document)
        self._texts = loading.texts
        return Loaded(tuple(loading.documents), tuple(loading.errors), tuple(loading.notes))

    @property
    def come_once(self) -> frozenset[Path]:
        """Paths whose documents came through stdin or a pipe: there is nothing to watch."""
        return frozenset(self._pipes)

    def __getstate__(self) -> dict[str, object]:
        """What cannot be found out again, for whoever takes over in another process."""
        return {**self.__dict__, "environ": {}, "_texts": {}, "_made_with": {}}

    def _version(self, document: Document) -> None:
        """Number a Secret that has no resourceVersion: another number when its content is another. A digest would
        do as well, and would help whoever guesses the content."""
        metadata = document.content["metadata"]
        if not isinstance(metadata, dict) or metadata.get("resourceVersion"):
            return
        known, version = self._secrets.get(document.identity, (None, 0))
        if known != document.content:
            version += 1
        self._secrets[document.identity] = ({**document.content, "metadata": {**metadata}}, version)
        metadata["resourceVersion"] = str(version)


@dataclass(slots=True)
class _Loading:
    """One load as it goes."""

    environ: Mapping[str, str]
    pipes: dict[Path, str]
    filled: set[Path]
    known: Mapping[str, _Text]
    """What was made of files before."""
    waits: bool
    """May it wait for whoever fills a pipe?"""
    texts: dict[str, _Text] = field(default_factory=dict)
    documents: list[Document] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def path(self, path: Path) -> None:
        try:
            if str(path) == STDIN or not path.is_dir():
                self._file(path, named=True)
                return
            found = sorted(each for each in path.iterdir() if each.suffix in SUFFIXES and not each.is_dir())
        except OSError as error:
            self.errors.append(f"{path}: cannot be read: {error.strerror}")
            return
        visible = [each for each in found if not each.name.startswith(".")]
        has_none = f"{path}: has no {', '.join(f'*{suffix}' for suffix in SUFFIXES)} file"
        if visible:
            self.filled.add(path)
        elif path in self.filled:
            self.errors.append(f"{has_none} any more, {_UNFINISHED} a file with only a comment in it")
        else:
            self.notes.append(has_none)
        for each in visible:
            self._file(each, named=False)

    def _file(self, path: Path, *, named: bool) -> None:
        name = "stdin" if str(path) == STDIN else str(path)
        try:
            text = self._read(path, named=named)
        except OSError as error:
            self.errors.append(f"{name}: cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            self.errors.append(f"{name}: is not UTF-8 text")
        except _Unreadable as error:
            self.errors.append(f"{name}: {error}")
        else:
            if text:
                self.filled.add(path)
            elif path in self.filled:
                self.errors.append(f"{name}: is empty, {_UNFINISHED} only a comment")
            # Tabs between JSON's tokens are legal, and inside its strings they are not; YAML has it the other way.
            self._add(text.replace("\t", " ") if path.suffix == ".json" else text, name)

    def _read(self, path: Path, *, named: bool) -> str:
        is_stdin = str(path) == STDIN
        if is_stdin or (path.is_fifo() and (path in self.pipes or (named and self.waits))):
            if path not in self.pipes:
                self.pipes[path] = _piped(path)
            return self.pipes[path]
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise _Unreadable(f"is {next((what for test, what in _NO_FILES if test(mode)), 'a device; name a file')}")
        # A pipe may take its place now; that is not waited for either.
        with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            return _text(file.read(LIMIT + 1))

    def _add(self, text: str, file: str) -> None:
        made = self.known.get(file)
        if made is None or made.text != text:
            made = _Parsing(self.environ, file).made(text)
        self.texts[file] = made
        self.documents += made.documents
        self.errors += made.errors
        self.notes += made.notes


@dataclass(slots=True)
class _Parsing:
    """The text of one file on its way to documents."""

    environ: Mapping[str, str]
    file: str
    documents: list[Document] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def made(self, text: str) -> _Text:
        try:
            parsed = yaml_text.parse(text)
        except NotYaml as error:
            self.errors.append(f"{self.file}:{error.line}:{error.column}: {error}")
        else:
            for each in parsed:
                self._object(each.content, (), each)
        return _Text(text, self.documents, self.errors, self.notes)

    def _object(self, content: object, within: tuple[Step, ...], parsed: yaml_text.Parsed) -> None:
        place = _place(self.file, parsed.index, within)
        if not isinstance(content, dict):
            self.errors.append(f"{place}: is no mapping; write apiVersion, kind, metadata and spec")
            return
        kind, version = content.get("kind"), content.get("apiVersion")
        for name, value in (("apiVersion", version), ("kind", kind)):
            if not isinstance(value, str) or not value:
                self.errors.append(f"{place}: {name}: is missing or no text; every document has apiVersion and kind")
                return
        if str(kind).endswith("List") and isinstance(items := content.get("items"), list):
            for index, item in enumerate(items):
                self._object(item, (*within, "items", index), parsed)
            return
        self._named(content, within, parsed)

    def _named(self, content: dict[str, object], within: tuple[Step, ...], parsed: yaml_text.Parsed) -> None:
        place = _place(self.file, parsed.index, within)
        metadata = content.get("metadata")
        identity = identify(content)
        if identity is None:
            self._foreign(content, place)
            return
        if not isinstance(metadata, dict) or not identity.name:
            self.errors.append(f"{place}: metadata.name: is missing or no text; every {identity.kind} has a name")
            return
        if metadata.get("namespace") is None:
            metadata["namespace"] = identity.namespace
        document = Document(content, identity, self.file, parsed.index, within, parsed.lines)
        if identity.kind == "Secret":
            self._expand(content, document)
        self.documents.append(document)

    def _foreign(self, content: Mapping[str, object], place: str) -> None:
        what = f"{content['kind']} of {content['apiVersion']}"
        if "tidegate" in str(content["apiVersion"]):
            message = "is unknown; write apiVersion: tidegate.dev/v1alpha1 and kind: Backend or Policy"
            self.errors.append(f"{place}: {what} {message}")
        else:
            self.notes.append(f"{place}: {what} is skipped; Tidegate reads {_KINDS}")

    def _expand(self, content: dict[str, object], document: Document) -> None:
        """`${NAME}` in a Secret's values becomes the environment variable; `$${` stands for `${`."""
        for block in ("data", "stringData"):
            values = content.get(block)
            if isinstance(values, dict):
                content[block] = {
                    name: self._expanded(value, f"{block}.{name}", document) if isinstance(value, str) else value
                    for name, value in values.items()
                }

    def _expanded(self, text: str, path: str, document: Document) -> str:
        missing = [name for name in _VARIABLE.findall(text) if name and name not in self.environ]
        for name in dict.fromkeys(missing):
            message = f"the environment variable {name} is not set: set it, or write $${{ for a plain ${{"
            self.errors.append(document.located(path, message))
        return _VARIABLE.sub(lambda found: self.environ.get(found[1], "") if found[1] else "${", text)


def _piped(path: Path) -> str:
    if str(path) == STDIN:
        return _text(sys.stdin.buffer.read(LIMIT + 1))
    with path.open("rb") as pipe:
        return _text(pipe.read(LIMIT + 1))


def _text(data: bytes) -> str:
    """With the line breaks of this system. Raises _Unreadable and UnicodeDecodeError."""
    if len(data) > LIMIT:
        raise _Unreadable(f"is larger than {LIMIT // 2**20} MiB, which no configuration is; is it the right file?")
    return io.StringIO(data.decode("utf-8-sig"), newline=None).read()


def _unique(paths: Iterable[str | Path]) -> Iterator[str | Path]:
    """Each path once, in order."""
    seen: set[object] = set()
    for path in paths:
        key = path if str(path) == STDIN else Path(path).absolute()
        if key not in seen:
            seen.add(key)
            yield path


def _place(file: str, index: int, within: Sequence[Step]) -> str:
    inside = "".join(f"[{step}]" if isinstance(step, int) else f" {step}" for step in within)
    return f"{file} #{index}{inside}"


def _steps(path: str) -> tuple[Step, ...]:
    """`spec.routes["/v1"][0]` as ("spec", "routes", "/v1", 0)."""
    return tuple(
        int(found[2]) if found[2] else found[1] or found[3].replace('\\"', '"') for found in _STEP.finditer(path)
    )
