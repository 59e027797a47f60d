"""What `helm test` runs: the controller is ready, and a gateway answers on its Service.

    ready.py CONTROLLER GATEWAY

The controller must answer 200. Of the gateway any answer will do: what it serves is for Backends to say.
"""

import http.client
import ssl
import sys
import time
from urllib.parse import urlsplit

PATIENCE = 60.0


def status(url: str) -> int:
    """The status of the answer. Raises OSError, or HTTPException where something else than HTTP answers."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=5)
    if parts.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # its name is for clients to look at
        connection = http.client.HTTPSConnection(parts.netloc, timeout=5, context=context)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status
    finally:
        connection.close()


def wait(url: str, wanted: range) -> None:
    """Ask until it answers like that. Raises SystemExit when the patience is over."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            said = str(answer := status(url))
            if answer in wanted:
                print(f"{url} answers {answer}")
                return
        except (OSError, http.client.HTTPException) as error:
            said = str(error) or type(error).__name__
        if time.monotonic() > deadline:
            sys.exit(f"{url}: {said}")
        time.sleep(1)


if __name__ == "__main__":
    controller, gateway = sys.argv[1:]
    wait(controller, range(200, 201))
    wait(gateway, range(100, 600))
