"""What `helm test` runs, against servers of the standard library."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from charts.generate import FOLDER

PROGRAM = (FOLDER / "tidegate" / "files" / "ready.py").read_text("utf-8")


@contextmanager
def answering(status: int) -> Iterator[str]:
    """The address of somebody who answers everything like that."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ready(controller: str, gateway: str, patience: str = "60.0") -> subprocess.CompletedProcess[str]:
    """As the chart's pod runs it."""
    program = PROGRAM.replace("PATIENCE = 60.0", f"PATIENCE = {patience}")
    command = [sys.executable, "-c", program, controller, gateway]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_gateway_that_serves_nothing_yet_is_ready() -> None:
    with answering(200) as controller, answering(404) as gateway:
        done = ready(controller, gateway)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{controller} answers 200\n{gateway} answers 404\n"


def test_a_controller_that_is_not_ready_fails_the_test() -> None:
    with answering(503) as controller, answering(404) as gateway:
        done = ready(controller, gateway, patience="0")
    assert done.returncode == 1
    assert done.stderr == f"{controller}: 503\n"


def test_nobody_there() -> None:
    with answering(200) as controller:
        pass
    done = ready(controller, controller, patience="0")
    assert done.returncode == 1
    assert "refused" in done.stderr
