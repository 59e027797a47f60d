"""What a cluster would say of the objects in files, with the place of everything that is wrong."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from controller import compile as compiler
from controller.compile import Condition, Identity, Status
from dataplane.callers.expiry import expiring
from dataplane.slices import at_once
from tidegate.documents import Document, Documents, Loaded

NEEDED = ("Accepted", "ResolvedRefs", "Enforced")
"""Conditions that must hold. Authenticated is a choice: without a Policy callers get 401, on loopback they do not."""

_END = {True: "has expired, and opens nothing any more: replace or remove it", False: "expires soon: replace it"}
_FIELD = r"(?:metadata|spec|data|stringData)\b(?:[^\s:\"]|\"[^\"]*\")*"
_SEVERAL = re.compile(rf"; (?={_FIELD}: )")
_ONE = re.compile(rf"({_FIELD}): (.*)", re.DOTALL)


def located(message: str, documents: Iterable[Document]) -> Iterator[str]:
    """What is said of an object, be it several things, each with its place in what was written."""
    for each in _SEVERAL.split(message) if _ONE.fullmatch(message) else [message]:
        found = _ONE.fullmatch(each)
        path, rest = (found[1], found[2]) if found else ("", each)
        yield from (document.located(path, rest) for document in documents)


@dataclass(frozen=True, slots=True)
class Object:
    """One object: where it is written, and what is said about it."""

    status: Status
    documents: tuple[Document, ...]

    def problems(self, condition: Condition) -> Iterator[str]:
        """What a condition that does not hold says, each with its place."""
        text = condition.message.strip()
        # What does not begin with a field speaks of another object, whose fields are not in these documents.
        if condition.type != "Accepted" and not _ONE.fullmatch(text):
            yield text
        else:
            yield from located(text, self.documents)


@dataclass(frozen=True, slots=True)
class Report:
    """What was found. Where files have errors, nothing is said about objects: some would be missing."""

    objects: tuple[Object, ...]
    errors: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    """What will be wrong one day though it is written well: keys that expire."""

    @property
    def ok(self) -> bool:
        """Whether everything is accepted, resolved and enforced."""
        return not self.errors and not any(_fails(each) for each in self.objects)

    def text(self) -> str:
        """For people."""
        told = [*self.errors, *(line for each in self.objects for line in _lines(each)), *self.warnings, *self.notes]
        return "\n".join([*told, self._summary()]) + "\n"

    def json(self) -> bytes:
        """For programs."""
        objects = [
            {**asdict(each.status), "places": [_place(document) for document in each.documents]}
            for each in self.objects
        ]
        said = {"errors": self.errors, "warnings": self.warnings, "notes": self.notes}
        report = {"ok": self.ok, **said, "objects": objects}
        return orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def _summary(self) -> str:
        if self.errors:
            return f"{_count(self.errors, 'error')} in the files; nothing is said about objects until there is none."
        failing = sum(map(_fails, self.objects))
        if failing:
            return f"Wrong: {failing} of {_count(self.objects, 'object')}."
        if not self.objects:
            return "There is no Backend, Policy or HTTPRoute in these files."
        ready = all(condition.status == "True" for each in self.objects for condition in each.status.conditions)
        return f"{_count(self.objects, 'object')}, all accepted{'' if ready else ', but not all Ready'}."


def check(
    paths: Iterable[str | Path],
    documents: Documents | None = None,
    *,
    has_store: bool = False,
    now: Callable[[], float] = time.time,
) -> Report:
    """Read these files and say what a cluster would say. Never raises for what is in them."""
    loaded = (documents or Documents()).load(paths)
    if loaded.errors:
        return Report((), loaded.errors, loaded.notes)
    compiled = compiler.compile(loaded.contents, has_store=has_store)
    keys = at_once(expiring(compiled.table.callers, now()))
    warnings = (f"{each}: the key {_END[each.expired]}" for each in keys)
    return Report(tuple(_objects(compiled.statuses, loaded)), (), loaded.notes, tuple(warnings))


def _objects(statuses: Sequence[Status], loaded: Loaded) -> Iterator[Object]:
    written: dict[Identity, list[Document]] = defaultdict(list)
    for document in loaded.documents:
        written[document.identity].append(document)
    for status in statuses:
        yield Object(status, tuple(written[Identity(status.kind, status.namespace, status.name)]))


def _fails(checked: Object) -> bool:
    return any(each.type in NEEDED and each.status != "True" for each in checked.status.conditions)


def _lines(checked: Object) -> Iterator[str]:
    status = checked.status
    places = ", ".join(document.place for document in checked.documents)
    yield f"{status.kind} {status.namespace}/{status.name} ({places})"
    if len(status.ancestors) < 2:
        yield from _told(checked, status.conditions, "  ")
        return
    for ancestor in status.ancestors:
        yield f"  on {ancestor.ref}"
        yield from _told(checked, ancestor.conditions, "    ")


def _told(checked: Object, conditions: Iterable[Condition], indent: str) -> Iterator[str]:
    for condition in conditions:
        if condition.status == "True" or condition.type == "Ready":
            yield f"{indent}{condition.type:<14}{condition.status:<7} {condition.message.strip()}"
        else:
            yield f"{indent}{condition.type:<14}{condition.status:<7} {condition.reason}"
            if condition.status == "False":
                # Further lines are YAML to copy, so they begin at the margin.
                yield from (f"{indent}  {each}" for each in checked.problems(condition))


def _count(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _place(document: Document) -> dict[str, object]:
    return {"file": document.file, "document": document.index, "line": document.line()}
