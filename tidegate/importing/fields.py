"""A mapping of the input, read field by field: what nobody takes is reported, so that nothing is lost in silence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from tidegate.importing.report import Kind, Report, Source, Steps

NO_COUNTERPART = "has no counterpart in Tidegate"
_NO_TEXT = "is not text: put it in quotes if it is right"
_DIGITS = 24


@dataclass(slots=True)
class Fields:
    """A mapping and where it stands. A field that is null counts as absent."""

    source: Source
    report: Report
    content: Mapping[str, object] = field(repr=False)  # it may hold keys
    steps: Steps = ()
    _taken: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, source: Source, report: Report) -> Fields:
        """A whole document."""
        return cls(source, report, source.content)

    def has(self, name: str) -> bool:
        """Whether it says so, and nobody has taken it."""
        return self.content.get(name) is not None and name not in self._taken

    def left(self) -> Iterator[str]:
        """The fields that nobody has taken."""
        return (name for name in self.content if self.has(name))

    def take(self, name: str) -> object:
        """As it is; None where it is absent."""
        self._taken.add(name)
        return self.content.get(name)

    def text(self, name: str) -> str | None:
        """Of something else, a finding and None; so it is with all of these."""
        value = self.take(name)
        if value is None or isinstance(value, str):
            return value
        self.drop(name, _NO_TEXT)
        return None

    def number(self, name: str) -> Decimal | None:
        """A number that is finite, be it written as text."""
        value = self.take(name)
        if value is None:
            return None
        number = _decimal(value)
        if number is None:
            self.drop(name, "is no number")
        return number

    def flag(self, name: str) -> bool | None:
        value = self.take(name)
        if value is None or isinstance(value, bool):
            return value
        self.drop(name, "is neither true nor false")
        return None

    def block(self, name: str) -> Fields | None:
        """A mapping inside."""
        value = self.take(name)
        if isinstance(value, dict):
            return Fields(self.source, self.report, value, (*self.steps, name))
        if value is not None:
            self.drop(name, "is no mapping (name: value)")
        return None

    def blocks(self, name: str) -> list[Fields]:
        """A list of mappings, without the entries that are none."""
        found: list[Fields] = []
        for index, entry in self._entries(name):
            if isinstance(entry, dict):
                found.append(Fields(self.source, self.report, entry, (*self.steps, name, index)))
            else:
                self.report.add(self.source, (*self.steps, name, index), "dropped", "is no mapping (name: value)")
        return found

    def texts(self, name: str) -> list[str]:
        """A list of texts, without the entries that are none."""
        found: list[str] = []
        for index, entry in self._entries(name):
            if isinstance(entry, str):
                found.append(entry)
            else:
                self.report.add(self.source, (*self.steps, name, index), "dropped", _NO_TEXT)
        return found

    def drop(self, name: str, message: str) -> None:
        """Say that a field is left out, and why or what to do instead."""
        self._find(name, "dropped", message)

    def change(self, name: str, message: str) -> None:
        """Say what a field has become."""
        self._find(name, "changed", message)

    def missing(self, kind: Kind, message: str) -> None:
        """Say something of the mapping itself."""
        self.report.add(self.source, self.steps, kind, message)

    def rest(self, advice: Mapping[str, str], default: str = NO_COUNTERPART) -> None:
        """Report everything that is left, each with what to do about it."""
        for name in list(self.left()):
            self.drop(name, advice.get(name, default))

    def _entries(self, name: str) -> Iterator[tuple[int, object]]:
        value = self.take(name)
        if isinstance(value, list):
            yield from enumerate(value)
        elif value is not None:
            self.drop(name, "is no list")

    def _find(self, name: str, kind: Kind, message: str) -> None:
        self._taken.add(name)
        self.report.add(self.source, (*self.steps, name), kind, message)


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(value.strip() if isinstance(value, str) else repr(value))
    except InvalidOperation:
        return None
    # What is beyond is no setting, and arithmetic with it would take as much memory as it says.
    return number if number.is_finite() and abs(number.adjusted()) < _DIGITS else None
