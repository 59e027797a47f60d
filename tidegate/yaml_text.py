"""YAML text to plain documents that know their lines: strict where YAML would let a slip pass.

Keys must be text and unique (of two equal keys YAML readers silently drop one), merge keys are refused (they are no
part of YAML 1.2), and plain text means what it means to kubectl. Documents are built from the parser's events, since
PyYAML's composers end the process on text that is nested very deeply.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from yaml.nodes import ScalarNode
from yaml.reader import ReaderError

from tidegate.yaml_scalars import Scalar, meaning

Step = str | int
Place = tuple[Step, ...]


class Mark(Protocol):
    """A place in the text, from 0: libyaml's class or Python's."""

    line: int
    column: int


MAX_DEPTH = 64
MAX_VALUES = 1_000_000
"""Of one file, aliases counted as often as they are used: a few lines of those can stand for terabytes."""

_TAG = "tag:yaml.org,2002:"
_SCALARS = frozenset(_TAG + name for name in ("bool", "float", "int", "null", "str"))


class NotYaml(ValueError):
    """The text cannot be read; `line` and `column` count from 1. The message holds nothing of the text but keys."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class Parsed:
    """One document of a file."""

    index: int
    """Its number in the file, from 1; empty documents count."""
    content: object
    lines: Mapping[Place, int]
    """The line of each field and list entry, by its place in `content`; of aliases only where they stand."""


def parse(text: str) -> list[Parsed]:
    """The documents of a file, empty ones left out. Raises `NotYaml`."""
    loader = yaml.CSafeLoader(text)
    try:
        return list(_Builder(loader).documents())
    except ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise NotYaml("has a control character", line, column) from None
    except yaml.MarkedYAMLError as error:
        raise _at(error.problem_mark or error.context_mark, error.problem or "is no YAML") from None
    finally:
        loader.dispose()


class _Builder:
    """The events of one file, made into values."""

    def __init__(self, loader: yaml.CSafeLoader) -> None:
        self._loader = loader
        self._values = 0
        self._anchors: dict[str, tuple[object, int]] = {}
        """Values, and how many each is made of."""
        self._lines: dict[Place, int] = {}

    def documents(self) -> Iterator[Parsed]:
        index = 0
        while (event := self._loader.get_event()) is not None:
            if not isinstance(event, DocumentStartEvent):
                continue
            index += 1
            self._anchors, self._lines = {}, {}
            content = self._value(self._next(), ())
            if content is not None:
                yield Parsed(index, content, self._lines)

    def _next(self) -> Event:
        event = self._loader.get_event()
        assert event is not None, "the parser refuses text that ends within a document"
        return event

    def _value(self, event: Event, place: Place) -> object:
        before = self._values
        self._count(1, event)
        if len(place) > MAX_DEPTH:
            raise _at(event.start_mark, f"is nested more than {MAX_DEPTH} levels deep")
        self._lines.setdefault(place, _line(event))
        if isinstance(event, AliasEvent):
            return self._alias(event)
        value = self._plain(event, place)
        if anchor := getattr(event, "anchor", None):
            self._anchors[anchor] = (value, self._values - before)
        return value

    def _plain(self, event: Event, place: Place) -> object:
        if isinstance(event, MappingStartEvent) and event.tag in (None, _TAG + "map"):
            return self._mapping(place)
        if isinstance(event, SequenceStartEvent) and event.tag in (None, _TAG + "seq"):
            return self._sequence(place)
        if isinstance(event, ScalarEvent):
            return self._scalar(event)
        raise _at(event.start_mark, "has a tag that is not supported: write it without")

    def _mapping(self, place: Place) -> dict[str, object]:
        result: dict[str, object] = {}
        while not isinstance(event := self._next(), MappingEndEvent):
            key = self._key(event)
            if key in result:
                first = self._lines[(*place, key)]
                raise _at(event.start_mark, f'the key "{key}" is used twice, first on line {first}: keep one')
            self._lines[(*place, key)] = _line(event)
            result[key] = self._value(self._next(), (*place, key))
        return result

    def _sequence(self, place: Place) -> list[object]:
        result: list[object] = []
        while not isinstance(event := self._next(), SequenceEndEvent):
            result.append(self._value(event, (*place, len(result))))
        return result

    def _key(self, event: Event) -> str:
        if isinstance(event, ScalarEvent) and _merges(event):
            raise _at(event.start_mark, "merge keys (<<) are not supported: write the fields out")
        key = self._scalar(event) if isinstance(event, ScalarEvent) else None
        if not isinstance(key, str):
            raise _at(event.start_mark, "a key is not text: put it in quotes")
        return key

    def _scalar(self, event: ScalarEvent) -> Scalar:
        plain, _ = event.implicit
        if plain:
            return meaning(event.value)
        tag = event.tag or _TAG + "str"  # quotes
        if tag == _TAG + "str":
            return str(event.value)
        if tag not in _SCALARS:
            raise _at(event.start_mark, "has a tag that is not supported: write plain text")
        try:
            value = self._loader.construct_object(ScalarNode(tag, event.value))
        except (ValueError, KeyError):  # of a tag that does not fit; the error may quote the text
            raise _at(event.start_mark, "is no number, true or false: put it in quotes if it is text") from None
        return value if isinstance(value, str | int | float | bool) else None

    def _alias(self, event: AliasEvent) -> object:
        if event.anchor not in self._anchors:
            raise _at(event.start_mark, f'there is no anchor "{event.anchor}" before this alias')
        value, count = self._anchors[event.anchor]
        self._count(count, event)
        return copy.deepcopy(value)

    def _count(self, values: int, event: Event) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise _at(event.start_mark, f"stands for more than {MAX_VALUES} values, aliases included")


def _merges(event: ScalarEvent) -> bool:
    plain, _ = event.implicit
    return event.tag == _TAG + "merge" or (plain and event.value == "<<")


def _line(event: Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _at(mark: Mark | None, problem: str) -> NotYaml:
    return NotYaml(problem, mark.line + 1, mark.column + 1) if mark else NotYaml(problem)
