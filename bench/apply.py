"""How long a change in a cluster takes, from `kubectl apply` to its use in a data plane; and what size costs.

A real API server, a controller and a data plane as processes of this machine; see e2e/scale.py. What it measures goes
into docs/benchmarks.md, between the marks there.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results" / "cluster" / "apply.json"
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- Made by `make bench-apply`. Edit bench/apply.py instead. -->", "<!-- end of bench-apply -->"
LONGEST_S = 3600
SIZE = "Backends, routes"


@dataclass(frozen=True)
class Size:
    backends: int
    rules: int
    changes: int
    goal: float
    """Seconds."""


SIZES = (Size(200, 200, 100, 1.0), Size(2000, 5000, 5, 3.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=int, help="the size with so many rules")
    parser.add_argument("--print", action="store_true", dest="dry", help="write nothing")
    options = parser.parse_args()
    subprocess.run([ROOT / "e2e" / "cluster" / "build"], check=True)
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for size in SIZES:
        if options.only in (None, size.rules):
            found[str(size.rules)] = measured(size)
            print(table(found), flush=True)
    if not options.dry:
        found["measured"] = f"{datetime.now(UTC):%Y-%m-%d}"
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
        PAGE.write_text(written(PAGE.read_text(), found))


def measured(size: Size) -> dict[str, object]:
    command = [sys.executable, "-m", "scale", "--backends", str(size.backends), "--rules", str(size.rules)]
    done = subprocess.run(
        [*command, "--changes", str(size.changes)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT / "e2e",
        timeout=LONGEST_S,
    )
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


def written(page: str, found: dict[str, dict[str, object]]) -> str:
    """The page with these figures."""
    text = f"{BEGIN}\n\nMeasured on {found['measured']}.\n\n{table(found)}\n{END}"
    return re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: text, page, flags=re.DOTALL)


def table(found: dict[str, dict[str, object]]) -> str:
    sizes = [(size, found[str(size.rules)]) for size in SIZES if str(size.rules) in found]
    lines = [
        f"| {SIZE} | change to use, median | maximum | goal | | kubectl | compile | transfer and load | the rest |"
    ]
    lines += ["|---|---|---|---|---|---|---|---|---|", *(changes(size, result) for size, result in sizes)]
    lines += [
        "",
        f"| {SIZE} | controller start to table served | all statuses written | controller | data plane | load |",
    ]
    lines += ["|---|---|---|---|---|---|", *(costs(size, result) for size, result in sizes)]
    return "\n".join(lines) + "\n"


def changes(size: Size, result: dict[str, object]) -> str:
    made = result["changes"]
    assert isinstance(made, list)
    totals = [each["total"] for each in made]
    phases = {name: statistics.median(each[name] for each in made) for name in ("apply", "compile", "load")}
    rest = statistics.median(each["total"] - each["apply"] - each["compile"] - each["load"] for each in made)
    median, most = statistics.median(totals), max(totals)
    cells = [f"{size.backends:,}, {size.rules:,}", f"{median:.2f} s", f"{most:.2f} s (of {len(totals)})"]
    cells += [f"≤ {size.goal:g} s", "met" if most <= size.goal else "**missed**"]
    cells += [f"{seconds:.2f} s" for seconds in (*phases.values(), rest)]
    return f"| {' | '.join(cells)} |"


def costs(size: Size, result: dict[str, object]) -> str:
    cells = [f"{size.backends:,}, {size.rules:,}", f"{result['started_s']:.1f} s", f"{result['settled_s']:.0f} s"]
    cells += [f"{result['controller_mb']} MB", f"{result['gateway_mb']} MB", f"{result['load']:.1f}"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
