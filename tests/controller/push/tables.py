"""Tables for the tests of what is offered, and gateways that say as they are told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

from pydantic import SecretStr

from controller.push.publication import Publication, published
from dataplane.table import Backend, EndpointSet, Provider, Route, Secrets, Table, sealed
from dataplane.table.watermark import Watermark

SECRET = "sk-very-secret"
SECRETS: Secrets = {"ai/openai@7": SecretStr(SECRET)}


def mark(version: int, epoch: int = 1) -> Watermark:
    return Watermark(epoch=epoch, versions={"backends": version, "routes": version})


def table(*names: str) -> Table:
    """A table with a route for each name, and a Backend whose provider is in the cluster."""
    inside = Provider(name="vllm", kind="custom", url="http://vllm.ai.svc:8000", endpoints="ai/vllm:8000")
    return Table(
        backends=(sealed(Backend(name="ai/voice", providers=(inside,))),),
        routes=tuple(sealed(Route(name=name)) for name in names),
        endpoints=(EndpointSet(id="ai/vllm:8000", addresses=("10.0.0.1:8000",)),),
        secrets=tuple(SECRETS),
    )


def publication(*names: str, version: int = 1, before: Publication | None = None) -> Publication:
    return published(table(*names), SECRETS, mark(version), before)


def parsed(text: str | None) -> Mapping[str, object]:
    """A message, as JSON."""
    assert text is not None
    return cast("Mapping[str, object]", json.loads(text))
