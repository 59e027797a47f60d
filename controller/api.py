"""The API server, as far as the controller talks to it beside kopf's watches: objects are plain dicts.

Thin over `kubernetes.aio`'s ApiClient, which knows how to authenticate. Every call has a time limit, and every failure
is an `ApiError`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import aiohttp
import orjson
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, ApiException, Configuration

from controller.kinds import TOKEN_REVIEW, Kind
from controller.mirror import Document, text

MANAGER = "tidegate-controller"
"""Our fields' owner, for server-side apply."""
PAGE = 500
"""Objects of one answer to a list."""
CONNECT_S, ANSWER_S = 5.0, 30.0
WATCH_S = 300
"""An API server ends a watch after so long; it is asked anew."""
SILENCE_S = 100.0
"""Without a word for so long a watch may be dead, and is begun anew: bookmarks come every 60 s or so."""
Body = dict[str, Any]


class ApiError(Exception):
    """A call failed. `status` is HTTP's, 0 where there was no answer; the message says what was asked for."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Listed:
    items: list[Body] = field(repr=False)
    version: int
    remaining: int = 0
    """How many there are beyond what was asked for."""


class Api:
    """One API server."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._client = ApiClient(configuration)
        self._client.user_agent = "tidegate-controller"

    @property
    def server(self) -> str:
        return str(self._configuration.host)

    @property
    def configuration(self) -> Configuration:
        """For kopf, which makes connections of its own."""
        return self._configuration

    async def close(self) -> None:
        await self._client.close()

    async def list(self, kind: Kind, namespace: str = "", labels: str = "") -> Listed:
        """All of them at one moment, none older than when this was called; in pages."""
        query = {"limit": str(PAGE), **({"labelSelector": labels} if labels else {})}
        items: list[Body] = []
        while True:
            page = await self._call("GET", kind.path(namespace), query)
            items += [{"apiVersion": kind.api_version, "kind": kind.name, **item} for item in page.get("items") or ()]
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                return Listed(items, _number(metadata.get("resourceVersion")))
            query["continue"] = metadata["continue"]

    async def count(self, kind: Kind, namespace: str = "") -> int:
        """How many there are: far cheaper than a list."""
        page = await self._call("GET", kind.path(namespace), {"limit": "1"})
        return len(page.get("items") or ()) + int((page.get("metadata") or {}).get("remainingItemCount") or 0)

    async def watch(
        self, kind: Kind, namespace: str, version: int, labels: str = "", seconds: int = WATCH_S
    ) -> AsyncIterator[tuple[str, Body]]:
        """What happens from then on: ADDED, MODIFIED, DELETED or BOOKMARK, and the object. Ends after so many seconds.
        Raises ApiError, of status 410 where it has to be listed anew."""
        query = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": str(seconds)}
        query |= {"resourceVersion": str(version), **({"labelSelector": labels} if labels else {})}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
        path = kind.path(namespace)
        response = await self._open("GET", path, query, None, "application/json", timeout)
        try:
            pending = b""
            async for chunk in response.content.iter_any():
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    event = orjson.loads(line)
                    found = event["object"]
                    if event["type"] == "ERROR":
                        raise ApiError(int(found.get("code") or 0), f"watching {path}: {found.get('message')}")
                    yield event["type"], {"apiVersion": kind.api_version, "kind": kind.name, **found}
        except TimeoutError:
            return
        except (aiohttp.ClientError, orjson.JSONDecodeError) as error:
            raise ApiError(0, f"watching {path}: {_why(error)}") from None
        finally:
            response.close()

    async def get(self, kind: Kind, namespace: str, name: str) -> Body | None:
        """The object; None where there is none."""
        try:
            return await self._call("GET", kind.path(namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def create(self, kind: Kind, body: Document) -> Body:
        namespace = text(cast("Document", body.get("metadata") or {}).get("namespace"))
        return await self._call("POST", kind.path(namespace), body={**_typed(kind), **body})

    async def replace(self, kind: Kind, body: Document, part: str = "") -> Body:
        """PUT; with a resourceVersion in its metadata, status 409 where somebody else was faster."""
        metadata = cast("Document", body.get("metadata") or {})
        path = kind.path(text(metadata.get("namespace")), text(metadata.get("name")), part)
        return await self._call("PUT", path, body={**_typed(kind), **body})

    async def apply(self, kind: Kind, body: Document, part: str = "") -> Body:
        """Server-side apply: the fields in `body` are ours, those that were ours before and are not there go."""
        metadata = cast("Document", body.get("metadata") or {})
        path = kind.path(text(metadata.get("namespace")), text(metadata.get("name")), part)
        query = {"fieldManager": MANAGER, "force": "true"}
        return await self._call("PATCH", path, query, {**_typed(kind), **body}, "application/apply-patch+yaml")

    async def merge(self, kind: Kind, namespace: str, name: str, body: Document, part: str = "") -> Body:
        """JSON merge patch: lists are replaced whole. With a resourceVersion in its metadata it is refused (409) where
        somebody else was faster."""
        path = kind.path(namespace, name, part)
        return await self._call("PATCH", path, {"fieldManager": MANAGER}, body, "application/merge-patch+json")

    async def delete(self, kind: Kind, namespace: str, name: str) -> None:
        """Nothing happens where there is none."""
        try:
            await self._call("DELETE", kind.path(namespace, name))
        except ApiError as error:
            if error.status != 404:
                raise

    async def token_review(self, token: str, audience: str) -> Body:
        """A TokenReview: its status says whose token that is."""
        return await self.create(TOKEN_REVIEW, {"spec": {"token": token, "audiences": [audience]}})

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Document | None = None,
        content_type: str = "application/json",
    ) -> Body:
        timeout = aiohttp.ClientTimeout(total=ANSWER_S, sock_connect=CONNECT_S)
        response = await self._open(method, path, query or {}, body, content_type, timeout)
        try:
            async with asyncio.timeout(ANSWER_S):
                return cast("Body", orjson.loads(await response.read() or b"{}"))
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as error:
            raise ApiError(0, f"{method} {path}: {_why(error)}") from None
        finally:
            response.release()

    async def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Document | None,
        content_type: str,
        limits: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        try:
            await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
            url = f"{self.server}{path}" + (f"?{urlencode(query)}" if query else "")
            answer = await self._client.rest_client.request(
                method, url, headers=headers, body=body, _request_timeout=limits
            )
        except (aiohttp.ClientError, TimeoutError, OSError, ApiException, config.ConfigException) as error:
            raise ApiError(0, f"{method} {path}: {_why(error)}") from None
        response = cast("aiohttp.ClientResponse", answer.response)
        if response.status >= 400:
            raise ApiError(response.status, f"{method} {path}: {await _refusal(response)}")
        return response


async def connect(kubeconfig: Path | None) -> Api:
    """The API server of this file; without one, that of the pod which this runs in, or else of $KUBECONFIG or
    ~/.kube/config. Raises ApiError where there is no such configuration."""
    # No limit: each watch keeps a connection for itself, and no call, least of all for the Lease, may wait for one.
    configuration = Configuration(connection_pool_maxsize=0)
    where = "the pod's service account"
    try:
        if kubeconfig is None and os.environ.get("KUBERNETES_SERVICE_HOST"):
            config.load_incluster_config(configuration)
        else:
            where = str(kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config")
            if not _exists(where):
                raise ApiError(0, f"no API server is known: there is no {where}; name another with --kubeconfig")
            await config.load_kube_config(where, client_configuration=configuration, persist_config=False)
        return Api(configuration)
    except (config.ConfigException, OSError, ValueError, TypeError, KeyError) as error:
        raise ApiError(0, f"no API server is known from {where}: {_why(error)}") from None


def _exists(path: str) -> bool:
    return Path(path).expanduser().is_file()


async def _refusal(response: aiohttp.ClientResponse) -> str:
    try:
        async with asyncio.timeout(ANSWER_S):
            said = orjson.loads(await response.read())
        return str(said["message"])
    except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError, KeyError, TypeError):
        return f"HTTP {response.status}"
    finally:
        response.release()


def _typed(kind: Kind) -> dict[str, str]:
    return {"apiVersion": kind.api_version, "kind": kind.name}


def _number(version: object) -> int:
    found = text(version)
    return int(found) if found.isdecimal() else 0


def _why(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
