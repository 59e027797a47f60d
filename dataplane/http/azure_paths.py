"""What clients of Azure's shape ask for, as the OpenAI API says it. Pure.

The classes AzureOpenAI of OpenAI's SDKs call `/openai/deployments/D/X?api-version=V` for what runs a model,
`/openai/realtime?api-version=V&deployment=D` for sessions and `/openai/X?api-version=V` for the rest; the GA API is at
`/openai/v1/X`. All of it is `/v1/X` of the model D here. Case does not matter, since it does not to Azure.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote

from dataplane.errors import Refusal
from dataplane.http import paths
from dataplane.http import query as queries

_VERSION, _DEPLOYMENT, _MODEL = "api-version", "deployment", "model"


class Plain(NamedTuple):
    """The same request to the OpenAI API."""

    path: str
    query: str
    deployment: str = ""
    """The model that the path names; empty: none."""


def plain(path: str, query: str) -> Plain | None:
    """Of a raw path and query; None where they are not of Azure's shape.

    Raises Refusal invalid_path, and invalid_value where two models are named."""
    if "%" not in path and "openai" not in path.lower():
        return None  # as nearly always
    first, *rest = paths.segments_of(paths.normalised(path)) or [""]
    if first.casefold() != "openai" or not rest:
        return None
    deployment = ""
    match [segment.casefold() for segment in rest]:
        case ["v1", _, *_]:
            rest = rest[1:]
        case ["deployments", _, _, *_]:
            deployment, rest = rest[1], rest[2:]
    if rest[0].casefold() == "realtime":
        query = _of_one_model(query, deployment)
    return Plain("/v1/" + "/".join(map(quote, rest)), queries.without(query, [_VERSION]), deployment)


def _of_one_model(query: str, deployment: str) -> str:
    """The query with the one model that it and the path name as `model`."""
    in_query = queries.getall(query, _DEPLOYMENT)
    named = [*filter(None, [deployment]), *in_query, *queries.getall(query, _MODEL)]
    if len(set(named)) > 1 or len(in_query) > 1:
        raise Refusal("invalid_value", "The request names more than one deployment. Name it once.", param=_DEPLOYMENT)
    if not deployment and not in_query:
        return query
    return queries.replaced(queries.without(query, [_DEPLOYMENT]), _MODEL, named[0])
