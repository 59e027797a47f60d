"""The API server by plain requests on one connection: hundreds of them a second, where kubectl makes ten."""

from __future__ import annotations

import json
import ssl
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

import yaml

OURS = "/apis/tidegate.dev/v1alpha1"
ANSWERS_S = 60

Body = dict[str, object]


class Refused(AssertionError):
    """The API server answered with `status`; 0: it did not answer."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"{status}: {said}")
        self.status = status


class Client:
    """For one thread. A connection that is lost is made again with the next request."""

    def __init__(self, kubeconfig: Path, timeout: float = ANSWERS_S) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        user, server = config["users"][0]["user"], config["clusters"][0]["cluster"]
        context = ssl.create_default_context(cafile=server["certificate-authority"])
        context.load_cert_chain(user["client-certificate"], user["client-key"])
        self._connection = HTTPSConnection(urlsplit(server["server"]).netloc, context=context, timeout=timeout)

    def get(self, path: str) -> Body:
        """Raises Refused, as all of them do."""
        return self._call("GET", path)

    def create(self, path: str, body: Body) -> Body:
        return self._call("POST", path, body)

    def merge(self, path: str, body: Body) -> Body:
        return self._call("PATCH", path, body, "application/merge-patch+json")

    def apply(self, path: str, body: Body) -> Body:
        return self._call("PATCH", f"{path}?fieldManager=e2e&force=true", body, "application/apply-patch+yaml")

    def delete(self, path: str) -> Body:
        return self._call("DELETE", path)

    def close(self) -> None:
        self._connection.close()

    def _call(self, method: str, path: str, body: Body | None = None, content_type: str = "application/json") -> Body:
        try:
            text = None if body is None else json.dumps(body)
            self._connection.request(method, path, text, {"Content-Type": content_type})
            answer = self._connection.getresponse()
            said = answer.read()
        except (OSError, HTTPException) as error:
            self._connection.close()
            raise Refused(0, f"{method} {path}: {error}") from None
        if answer.status >= 400:
            raise Refused(answer.status, f"{method} {path}: {said.decode()}")
        found: Body = json.loads(said)
        return found
