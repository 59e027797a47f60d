"""Coverage of the pure cores, file by file, against a floor: `python -m tests.house.coverage_floor`.

What has no I/O can be tested whole. Which files these are is what the import law says: the modules of its contract
"pure-core", and the compiler. Reads the data that `coverage combine` left.
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

from coverage import Coverage

ROOT = Path(__file__).parents[2]
REPORT = ROOT / ".cache" / "coverage" / "pure.json"
FLOOR = 97.0
BELOW: dict[str, float] = {}
"""Files that are not there yet, with the floor of their own. May only shrink."""


def pure_files() -> list[Path]:
    """Every file of the modules and packages that the import law keeps free of I/O."""
    law = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    modules = next(contract["source_modules"] for contract in law if contract.get("id") == "pure-core")
    places = [ROOT / module.replace(".", "/") for module in [*modules, "controller.compile"]]
    return sorted(file for place in places for file in ([*place.rglob("*.py")] or [place.with_suffix(".py")]))


def main() -> int:
    coverage = Coverage(config_file=ROOT / "pyproject.toml")
    coverage.load()
    coverage.json_report(morfs=list(map(str, pure_files())), outfile=str(REPORT))
    report = json.loads(REPORT.read_text("utf-8"))["files"]
    shares = {name: each["summary"]["percent_covered"] for name, each in report.items()}
    short = {name: found for name, found in shares.items() if found < BELOW.get(name, FLOOR)}
    print(f"coverage of the pure cores: {sum(shares.values()) / len(shares):.1f} % over {len(shares)} files")
    for name, found in short.items():
        print(f"  {name}: {found:.1f} %, below its floor of {BELOW.get(name, FLOOR):.0f} %")
    if short:
        print("Test what is new. To see the lines: .venv/bin/coverage report -m --include=FILE")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
