"""Providers in this process: they answer every completion, say who they are, and remember what they were shown."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


class Provider(ThreadingHTTPServer):
    """On loopback. Its answers have its name in the header `x-provider`."""

    daemon_threads = True

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name = name
        self.shown: Counter[str] = Counter()
        """How often it was called, by what stood in `Authorization`."""
        self.headers: dict[str, str] = {}
        """Of the last request, in lower case."""

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


@contextmanager
def provider(name: str) -> Iterator[Provider]:
    with Provider(name) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Provider
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.shown[self.headers.get("Authorization", "")] += 1
        self.server.headers = {name.lower(): value for name, value in self.headers.items()}
        choice = {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
        answer = {"id": "c", "object": "chat.completion", "model": "gpt-5", "choices": [choice], "usage": USAGE}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-provider", self.server.name)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing: what was asked has keys in it."""
