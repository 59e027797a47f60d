"""`make bench-guesses`: a hundred thousand requests that guess at keys, and what they leave behind.

A gateway as people run it, with keys and an issuer of tokens, and limits that count each caller; a simulated provider
behind it. Guesses come over a few connections that stay open, as fast as they are answered: random keys, random
texts that look like tokens, tokens of the right issuer that somebody else signed. Then come callers who are known. Of
each kind is told what one request costs the gateway in CPU time, and how far its memory grew. See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from bench.processes import HERE, OTHERS_CPU, RELAY_CPU, free_port, prepare, rss, running

CONFIG = """
apiVersion: tidegate.dev/v1alpha1
kind: Backend
metadata: {{name: voice}}
spec:
  providers: [{{name: openai, openai: {{}}, url: "http://127.0.0.1:{port}/v1", auth: {{secretRef: {{name: openai}}}}}}]
---
apiVersion: v1
kind: Secret
metadata: {{name: openai}}
stringData: {{Authorization: sk-simulator}}
---
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {{name: callers}}
spec:
  targetRefs: [{{group: tidegate.dev, kind: Backend, name: voice}}]
  authentication:
    keys: [{{secretRef: {{name: keys}}, team: support}}]
    jwt: [{{issuer: "{issuer}", audiences: [tidegate], jwks: {{inline: '{keys}'}}}}]
---
apiVersion: v1
kind: Secret
metadata: {{name: keys}}
stringData: {{laptop: {key}}}
---
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {{name: budget}}
spec:
  targetRefs: [{{group: tidegate.dev, kind: Backend, name: voice}}]
  limits: {{requests: [{{max: 1000000, per: Day}}]}}
"""
KEY, ISSUER = "a-key-that-is-known", "https://idp.example.com"
CONNECTIONS = 8
ASK = b'{"model":"gpt-5-mini","messages":[{"role":"user","content":"Hi"}]}'
PATIENCE_S = 60.0
"""For one answer."""
Credential = Callable[[int], str]
"""The credential of the request of that number."""


@dataclass(frozen=True)
class Load:
    """Requests of one kind."""

    title: str
    count: int
    status: int
    """That they are answered with."""
    credential: Credential


class Issued:
    """Tokens of the issuer, and of somebody who says to be it."""

    def __init__(self) -> None:
        self._own, self._other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    @property
    def keys(self) -> str:
        public = json.loads(ECAlgorithm.to_jwk(self._own.public_key()))
        return json.dumps({"keys": [{**public, "kid": "a", "alg": "ES256"}]})

    def good(self, number: int) -> str:
        return self._token(self._own, f"user-{number}")

    def forged(self, number: int) -> str:
        return self._token(self._other, f"user-{number}")

    def _token(self, private: ec.EllipticCurvePrivateKey, subject: str) -> str:
        claims = {"iss": ISSUER, "aud": "tidegate", "exp": int(time.time()) + 3600, "sub": subject}
        return jwt.encode(claims, private, "ES256", headers={"kid": "a"})


def random_key(_: int) -> str:
    return f"sk-{secrets.token_urlsafe(32)}"


def random_token(_: int) -> str:
    return ".".join(secrets.token_urlsafe(size) for size in (30, 120, 64))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guesses", type=int, default=100_000)
    options = parser.parse_args()
    prepare()
    issued, simulator, port = Issued(), free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:  # gateways end before their files
        config = Path(folder, "bench.yaml")
        config.write_text(CONFIG.format(port=simulator, issuer=ISSUER, keys=issued.keys, key=KEY))
        tidegate = [sys.executable, "-m", "tidegate"]
        double = [*tidegate, "simulate", "--listen", f"127.0.0.1:{simulator}"]
        stack.enter_context(running(double, simulator, OTHERS_CPU))
        serve = [*tidegate, "serve", "-f", str(config), "--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0"]
        pid = stack.enter_context(running([*serve, "--log-format", "json"], port, RELAY_CPU))
        asyncio.run(measure(port, pid, list(loads(issued, options.guesses))))


def loads(issued: Issued, guesses: int) -> Iterator[Load]:
    """What is sent, in this order."""
    known = guesses // 20
    yield Load("random keys", guesses // 2, 401, random_key)
    yield Load("random texts in the shape of a token", guesses * 3 // 10, 401, random_token)
    yield Load("tokens that somebody else signed", guesses // 5, 401, issued.forged)
    yield Load("one key that is known", known, 200, lambda _: KEY)
    token = issued.good(-1)
    yield Load("one token that is good", known, 200, lambda _: token)
    yield Load("good tokens, of another caller each time", known, 200, issued.good)


async def measure(port: int, pid: int, every: list[Load]) -> None:
    """Warm up with some of each, then send all, and tell."""
    for load in every:
        await send(port, load, 1000)
    print("| requests | how many | CPU of one, µs | memory grew, MB |\n|---|---|---|---|")
    for load in every:
        memory, cpu = rss(pid), seconds(pid)
        await send(port, load, load.count)
        cost, grown = (seconds(pid) - cpu) / load.count * 1e6, (rss(pid) - memory) / 1024
        print(f"| {load.title} | {load.count:,} | {cost:.0f} | {grown:.1f} |", flush=True)


async def send(port: int, load: Load, count: int) -> None:
    """Over some connections, each of which waits for its answers."""
    numbers = iter(range(count))
    await asyncio.gather(*(_send(port, load, numbers) for _ in range(CONNECTIONS)))


async def _send(port: int, load: Load, numbers: Iterator[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in numbers:
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {load.credential(number)}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(ASK)}\r\n\r\n"
        )
        writer.write(head.encode() + ASK)
        async with asyncio.timeout(PATIENCE_S):
            status = await answer(reader)
        if status != load.status:
            sys.exit(f"{load.title}: answered {status}, so the figures mean nothing")
    writer.close()


async def answer(reader: asyncio.StreamReader) -> int:
    """The status; the body is read, too."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    if length is None:
        sys.exit(f"an answer says not how long it is: {head!r}")
    await reader.readexactly(int(length[1]))
    return int(head[9:12])


def seconds(pid: int) -> float:
    """Of CPU time, by all threads that there are."""
    spent = (path.read_text().split()[0] for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return sum(map(int, spent)) / 1e9


if __name__ == "__main__":
    os.chdir(HERE.parent)
    main()
