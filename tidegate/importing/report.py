"""What an import could not take over as it was: each field with its place, and what to do instead.

A finding never holds a value: what was written may be a credential, in the wrong place, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Step = str | int
Steps = tuple[Step, ...]
Kind = Literal["dropped", "changed"]

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_LONGEST = 64


@dataclass(frozen=True, slots=True)
class Source:
    """A document of a file."""

    file: str
    content: Mapping[str, object] = field(repr=False)  # it holds keys
    lines: Mapping[Steps, int] = field(default_factory=dict, repr=False)

    def line(self, steps: Steps) -> int:
        """Of a field, or of the nearest one above it that is written."""
        while steps and steps not in self.lines:
            steps = steps[:-1]
        return self.lines.get(steps, 1)


@dataclass(frozen=True, slots=True)
class Finding:
    """One field that has become something else, or nothing."""

    file: str
    line: int
    path: str
    kind: Kind
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.path}: {self.kind}: {self.message}"


@dataclass(slots=True)
class Report:
    """What was found, in the order in which it was."""

    findings: list[Finding] = field(default_factory=list)

    def add(self, source: Source, steps: Steps, kind: Kind, message: str) -> None:
        self.findings.append(Finding(source.file, source.line(steps), written(steps), kind, message))

    def sorted(self, files: Sequence[str]) -> list[Finding]:
        """As they stand in these files."""
        order = {file: index for index, file in enumerate(files)}
        return sorted(self.findings, key=lambda each: (order[each.file], each.line))


def written(steps: Steps) -> str:
    """`model_list[0].litellm_params["a b"]`; of the whole document "(document)"."""
    text = "".join(map(_step, steps)).removeprefix(".")
    return text or "(document)"


def _step(step: Step) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    if _PLAIN.fullmatch(step):
        return f".{step}"
    return f"[{json.dumps(step if len(step) <= _LONGEST else step[:_LONGEST] + '…')}]"
