"""Coverage-guided fuzzing: `python -m e2e.nightly.fuzz [TARGET…] [--runs N]`; without names, all targets.

Atheris (libFuzzer) drives the functions of tests/dataplane/realtime/fuzzing.py and of
tests/dataplane/upstreams/tunnels.py, which Hypothesis drives in `make test`, and those of e2e/nightly/drivers.py, each
in a process of its own. It starts with the inputs in e2e/nightly/seeds and with what earlier runs came upon
(.cache/nightly/corpus). An exception is a finding: its input is kept in .cache/nightly/findings/TARGET, is tried first
by every later run, and is replayed by

    python -m e2e.nightly.fuzz TARGET --replay FILE
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parent.parent / ".cache" / "nightly"
RUNS = 1_250_000
"""Executions, of all targets together: over a million of gate, session and classifier."""
SLOW_S, MEMORY_MB = 20, 2048
"""An input that takes longer or more is a finding too."""


@dataclass(frozen=True)
class Target:
    driver: str
    share: int
    """Of the executions, in percent."""
    longest: int = 512
    """Bytes of an input."""


TARGETS = {
    "relay": Target("tests.dataplane.realtime.fuzzing:fuzz_relay", 14),
    "session": Target("tests.dataplane.realtime.fuzzing:fuzz_session", 22),
    "gate": Target("e2e.nightly.drivers:fuzz_gate", 8),
    "classifier": Target("tests.dataplane.realtime.fuzzing:fuzz_classifier", 24, 2048),
    "words": Target("e2e.nightly.drivers:fuzz_words", 14),
    "json": Target("e2e.nightly.drivers:fuzz_json", 5, 1024),
    "stream": Target("e2e.nightly.drivers:fuzz_stream", 3),
    "tunnel": Target("tests.dataplane.upstreams.tunnels:fuzz_tunnel", 2, 256),
    "target": Target("e2e.nightly.drivers:fuzz_target", 4, 256),
    "chat": Target("e2e.nightly.drivers:fuzz_chat", 4, 1024),
    "hints": Target("e2e.nightly.drivers:fuzz_hints", 4, 1024),
}
COLUMNS = "{:<11} {:>10} {:>7} {:>9} {:>7} {:>7}  {}"


@dataclass
class Result:
    """What libFuzzer says at its end."""

    executions: int
    seconds: float
    edges: int
    """Branches of the gateway's code that were taken."""
    inputs: int
    """In the corpus, each for something that no other does."""
    finding: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--runs", type=int, default=int(os.environ.get("FUZZ_RUNS", RUNS)))
    parser.add_argument("--replay", type=Path)
    parser.add_argument("--child", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.target or list(TARGETS)
    if unknown := set(names) - TARGETS.keys():
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    if options.child is not None:
        fuzz(names[0], options.child)
    if options.replay:
        load(names[0])(options.replay.read_bytes())
        print("no finding")
        return 0
    return run(names, options.runs)


def run(names: list[str], runs: int) -> int:
    """Fuzz these targets, one after the other, and print a table. 1 where there is a finding."""
    print(COLUMNS.format("target", "executions", "s", "1/s", "edges", "inputs", "finding"), flush=True)
    shares = sum(TARGETS[name].share for name in names)
    results = []
    for name in names:
        result = fuzz_in_child(name, -(-runs * TARGETS[name].share // shares))
        results.append(result)
        rate = round(result.executions / max(result.seconds, 0.001))
        line = (name, f"{result.executions:,}", f"{result.seconds:.0f}", f"{rate:,}", result.edges, result.inputs)
        print(COLUMNS.format(*line, result.finding or "none"), flush=True)
    findings = sum(bool(result.finding) for result in results)
    executions = sum(result.executions for result in results)
    print(f"{executions:,} executions, {findings} findings")
    return 1 if findings or executions < runs else 0


def fuzz_in_child(name: str, runs: int) -> Result:
    """libFuzzer ends its process when it is done."""
    corpus, findings, log = CACHE / "corpus" / name, CACHE / "findings" / name, CACHE / f"fuzz-{name}.log"
    corpus.mkdir(parents=True, exist_ok=True)
    findings.mkdir(parents=True, exist_ok=True)
    arguments = [
        f"-runs={runs}",
        f"-max_len={TARGETS[name].longest}",
        f"-timeout={SLOW_S}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-artifact_prefix={findings}/",
        f"-dict={HERE / 'seeds' / 'words.dict'}",
        "-print_final_stats=1",
        str(corpus),
        str(findings),
        *([str(seeds)] if (seeds := HERE / "seeds" / name).is_dir() else []),
    ]
    began = time.monotonic()
    command = [sys.executable, "-m", "e2e.nightly.fuzz", name, "--child", *arguments]
    with log.open("wb") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)
    said = log.read_text(errors="replace")
    finding = "" if done.returncode == 0 else _last(r"Test unit written to (\S+)", said) or f"see {log}"
    return Result(
        executions=int(_last(r"number_of_executed_units: (\d+)", said) or 0),
        seconds=time.monotonic() - began,
        edges=int(_last(r"cov: (\d+)", said) or 0),
        inputs=int(_last(r"corp: (\d+)", said) or 0),
        finding=finding,
    )


def fuzz(name: str, arguments: list[str]) -> None:
    """Fuzz in this process, which does not come back."""
    import atheris  # type: ignore[import-untyped]  # only `make nightly` has it

    with atheris.instrument_imports(include=["dataplane"]):
        driver = load(name)
    atheris.Setup([sys.argv[0], *arguments], driver)
    atheris.Fuzz()


def load(name: str) -> Callable[[bytes], None]:
    module, _, function = TARGETS[name].driver.partition(":")
    driver: Callable[[bytes], None] = getattr(import_module(module), function)
    return driver


def _last(pattern: str, text: str) -> str:
    found: list[str] = re.findall(pattern, text)
    return found[-1] if found else ""


if __name__ == "__main__":
    sys.exit(main())
