"""What was measured on what: date, commit, processor, kernel, versions. No name of the machine."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from bench.peers import PEERS, installed
from bench.processes import HERE
from bench.relays import NGINX, nginx_binary, nginx_version
from bench.series import Made

LIBRARIES = ("uvloop", "httptools", "websockets")


def made() -> Made:
    return Made(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        commit=_commit(),
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        kernel=f"{platform.system()} {platform.release().partition('-')[0]}",
        versions=_versions(),
    )


def _commit() -> str:
    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=HERE.parent, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", "bench", "crds", "controller", "dataplane", "tidegate")
    changes = [line for line in changed.splitlines() if "bench/results" not in line]
    return f"{git('rev-parse', '--short', 'HEAD')}{' and changes' if changes else ''}"


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.machine()


def _versions() -> dict[str, str]:
    found = {"Python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}
    if nginx_binary():
        found[NGINX] = nginx_version()
    return found | {name: peer.version() for name, peer in PEERS.items() if installed(name)}
