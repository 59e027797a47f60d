"""The page docs/reference/websocket-conformance.md, made from what Autobahn found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Protocol


class Expected(Protocol):
    """A case as it is written down: more than one verdict where timing decides."""

    @property
    def verdicts(self) -> list[str]: ...

    @property
    def reason(self) -> str: ...


SECTIONS = {
    "1": "Framing",
    "2": "Pings and pongs",
    "3": "Reserved bits",
    "4": "Opcodes",
    "5": "Fragmentation",
    "6": "UTF-8",
    "7": "Closing",
    "9": "Limits and performance",
    "10": "Automatic fragmentation",
}

INTRODUCTION = """\
# WebSocket conformance

<!-- Made by `UPDATE=1 e2e/run test_autobahn.py`. Edit e2e/autobahn/ instead. -->

The cases of the [Autobahn test suite](https://github.com/crossbario/autobahn-testsuite) against four ways through the
gateway. In three of them the suite is the client, and an echo server that passes all cases is the provider:

- **Passthrough**: a WebSocket on a path of this type, spliced from end to end.
- **relay**: the relay of realtime sessions while it reads no message: frames, control frames, closes and their order.
- **provider**: the same relay with the suite in the provider's place, and the echo in the client's.
- **Realtime**: a path of this type. Here every message of a client is read, and one that is no JSON event is answered
  by the gateway instead of being sent on: an echo cannot come back.

A case counts as passed where the suite calls both behaviour and close OK, or informational. Sections 12 and 13
(compression) run every night, and only through Passthrough: no compression is negotiated on a Realtime path.
"""


def order(case: str) -> tuple[int, ...]:
    """`10.1` comes after `9.2`."""
    return tuple(map(int, case.split(".")))


def render(ways: Mapping[str, Mapping[str, Expected]]) -> str:
    """`ways`: way → case → what is expected of it, which the tests have just proved."""
    lines = [INTRODUCTION, "| section | cases | " + " | ".join(ways) + " |", "|---|---|" + "---|" * len(ways)]
    lines += [_row(f"{number} {title}", number, ways) for number, title in SECTIONS.items()]
    lines.append(_row("all", "", ways))
    for way, cases in ways.items():
        lines += _exceptions(way, cases)
    return "\n".join(lines) + "\n"


def _row(title: str, number: str, ways: Mapping[str, Mapping[str, Expected]]) -> str:
    cells = []
    for cases in ways.values():
        found = [each for case, each in cases.items() if not number or case.split(".")[0] == number]
        cells.append(f"{sum('passed' in each.verdicts for each in found)} passed")
    return f"| {title} | {len(found)} | " + " | ".join(cells) + " |"


def _exceptions(way: str, cases: Mapping[str, Expected]) -> list[str]:
    """What does not pass, by reason."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for case, each in cases.items():
        if each.reason:
            groups[" or ".join(each.verdicts), each.reason].append(case)
    if not groups:
        return ["", f"## {way}", "", "All pass."]
    lines = ["", f"## {way}", "", "| cases | what happens | why |", "|---|---|---|"]
    return lines + [f"| {_short(named)} | {what} | {reason} |" for (what, reason), named in groups.items()]


def _short(cases: list[str]) -> str:
    """`6.1.1, 6.1.2, 6.1.3` as `6.1.1-3`."""
    runs: list[list[str]] = []
    for case in cases:
        head, _, last = case.rpartition(".")
        if runs and runs[-1][-1] == f"{head}.{int(last) - 1}":
            runs[-1].append(case)
        else:
            runs.append([case])
    shown = [run[0] if len(run) == 1 else f"{run[0]}-{run[-1].rpartition('.')[2]}" for run in runs]
    return ", ".join(shown)
