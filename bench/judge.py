"""Is a run worth its figures? Pure.

A relay that drops work is fast: so a run counts only if the generator met no error, both ends counted the same
messages, the load was as high as it should have been, and Tidegate metered what the upstream billed. A round in which
somebody else used the two cores, or the host took time from them, is disturbed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bench.loads import Load
from bench.upstream import PER_REPLY, PER_TURN, Books

FOREIGN, STOLEN = 6.0, 2.0
"""Percent of one core that others may use, and that the host may take, in a run that is undisturbed."""
KEPT_UP = 0.97
"""A share of the load that was to be relayed, below which the relay did not keep up."""
HARMLESS = frozenset({"errors.late"})
"""A request waited for a free connection: that is in its latency."""
MADE = frozenset({"errors.untimed", "all.up", "all.down"})
"""What differs where a relay judges text: it says what it withheld in messages of its own, and sets sessions up."""
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? ([^ ]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Metered:
    """What Tidegate says at /metrics, since its start."""

    turns: float
    input: float
    output: float
    other: float
    """Turns whose usage is not the provider's own, and what may have cost something and could not be read."""

    def __sub__(self, other: Metered) -> Metered:
        return Metered(*(getattr(self, each) - getattr(other, each) for each in self.__dataclass_fields__))


def metered(metrics: str) -> Metered:
    """Read Prometheus' text."""
    turns = inputs = outputs = other = 0.0
    for name, labels, number in _SAMPLE.findall(metrics):
        value = float(number)
        if name == "tidegate_turns_total":
            turns += value
            other += 0 if 'usage="reported"' in labels else value
        elif name == "tidegate_unmetered_total":
            other += value
        elif name == "gen_ai_client_token_usage_sum" and 'gen_ai_token_type="input"' in labels:
            inputs += value
        elif name == "gen_ai_client_token_usage_sum" and 'gen_ai_token_type="output"' in labels:
            outputs += value
    return Metered(turns, inputs, outputs, other)


def flat(report: Mapping[str, object], prefix: str = "") -> dict[str, float]:
    """The numbers of the generator's report, by dotted names."""
    found: dict[str, float] = {}
    for name, value in report.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            found |= flat({str(place): each for place, each in enumerate(value)}, f"{prefix}{name}.")
        elif isinstance(value, int | float):
            found[prefix + name] = float(value)
    return found


def problem(
    load: Load, report: Mapping[str, float], billed: Books, used: Metered | None, *, judges: bool = False
) -> str:
    """What is wrong with a run, or nothing. `billed` and `used` are of this run alone. `judges`: does the relay judge
    text?"""
    ignored = HARMLESS | MADE if judges else HARMLESS
    found = [
        f"{name.removeprefix('errors.')}: {count:.0f}"
        for name, count in report.items()
        if name.startswith("errors.") and count and name not in ignored
    ]
    found += _sessions(report) if "sessions" in report else []
    found += _differences({key: count for key, count in report.items() if key not in ignored}, billed)
    if load.expected and report.get(load.expected[0], 0.0) < load.expected[1] * KEPT_UP:
        found.append(f"{report.get(load.expected[0], 0.0):.0f} of {load.expected[1]:.0f} a second were relayed")
    if used is not None:
        found += _mismetered(billed, used)
    return "; ".join(found)


def _sessions(report: Mapping[str, float]) -> list[str]:
    asked, opened, left = (report[each] for each in ("sessions", "opened", "open_end"))
    return [] if asked == opened == left else [f"of {asked:.0f} sessions {opened:.0f} opened and {left:.0f} stayed"]


def _differences(report: Mapping[str, float], billed: Books) -> list[str]:
    pairs = {
        "all.up": ("messages up", billed.up),
        "all.down": ("messages down", billed.down),
        "all.audio": ("pieces of audio", billed.audio),
        "all.done": ("ends of turns", billed.done),
        "all.ok": ("replies", billed.replies + billed.streams),
    }
    return [
        f"{title}: {report[key]:.0f} at the client, {count} at the upstream"
        for key, (title, count) in pairs.items()
        if key in report and report[key] != count
    ]


def _mismetered(billed: Books, used: Metered) -> list[str]:
    replies = billed.replies + billed.streams
    turns = billed.done + replies
    inputs, outputs = (billed.done * PER_TURN[each] + replies * PER_REPLY[each] for each in ("input", "output"))
    right = Metered(turns, inputs, outputs, 0)
    return [] if used == right else [f"metered {used}, billed {right}"]


def shares(report: Mapping[str, float]) -> tuple[float, float]:
    """CPU of the two cores that was used by others than relay, generator and upstream, and that the host took; both in
    percent of one core."""
    ours = sum(report[each] for each in ("proxy_cpu_pct", "gen_cpu_pct", "ups_cpu_pct"))
    busy = sum(report.get(f"core_busy_pct.{core}", 0.0) for core in (0, 1))
    return max(0.0, busy - ours), sum(report.get(f"core_steal_pct.{core}", 0.0) for core in (0, 1))


def disturbed(foreign: float, stolen: float) -> str:
    """Why such a run is disturbed, or nothing."""
    found = [f"others used {foreign:.0f} % of a core"] if foreign > FOREIGN else []
    found += [f"the host took {stolen:.0f} %"] if stolen > STOLEN else []
    return " and ".join(found)
