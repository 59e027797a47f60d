"""The fake upstream: it plays OpenAI's realtime and chat API, plain or over TLS, and keeps books of what it billed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from bench.processes import OTHERS_CPU, free_port, running

SSE_CHUNKS = 50
PER_TURN = {"input": 100, "output": 200}
PER_REPLY = {"input": 120, "output": 300}
"""Tokens that each `response.done`, and each chat completion, says it used."""


@dataclass(frozen=True)
class Books:
    """Messages that it received and sent, audio among these, and what it billed: turns, replies, streams. Since its
    start."""

    up: int
    down: int
    audio: int
    done: int
    replies: int
    streams: int

    def __sub__(self, other: Books) -> Books:
        return Books(*(getattr(self, each) - getattr(other, each) for each in self.__dataclass_fields__))


@dataclass(frozen=True)
class Upstream:
    """Where it is. `ca`: the certificate to trust, if it speaks TLS."""

    port: int
    control: int
    ca: Path | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.ca else 'http'}://127.0.0.1:{self.port}"

    def set(self, **settings: str) -> None:
        """What it does from now on: mode (paced, lockstep, idle), down_rate, text_every, done_every, sse_us."""
        query = "&".join(f"{name.replace('_', '-')}={value}" for name, value in settings.items())
        self._get(f"/__set?{query}")

    def books(self) -> Books:
        found: dict[str, int] = json.loads(self._get("/__stats"))
        return Books(*(found[f"all_{each}"] for each in Books.__dataclass_fields__))

    def _get(self, path: str) -> str:
        with urlopen(f"http://127.0.0.1:{self.control}{path}", timeout=10) as answer:
            return str(answer.read(), "utf-8")


@contextmanager
def upstream(generator: str, folder: Path, *, tls: bool) -> Iterator[Upstream]:
    """One that runs, beside the generator."""
    here = Upstream(free_port(), free_port(), certificate(folder) if tls else None)
    command = [generator, "upstream", "--port", str(here.port), "--stats-port", str(here.control)]
    command += ["--sse-chunks", str(SSE_CHUNKS), "--cpu", str(OTHERS_CPU)]
    if here.ca:
        command += ["--tls-cert", str(here.ca), "--tls-key", str(here.ca.with_suffix(".key"))]
    with running(command, here.port):
        yield here


def certificate(folder: Path) -> Path:
    """A certificate of an authority of our own, which signs itself; its key is beside it."""
    made = folder / "upstream.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "30", "-subj", "/CN=bench", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command += ["-keyout", str(made.with_suffix(".key")), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    return made
