"""Azure OpenAI: https://learn.microsoft.com/azure/ai-foundry/openai/reference

What a client asks for at `/v1/X` is at `/openai/v1/X` of the resource, which takes no `api-version` (GA). A provider
with an `apiVersion` is asked as before GA: `/openai/deployments/MODEL/X?api-version=V` for what runs a model,
`/openai/realtime?api-version=V&deployment=MODEL` for sessions, `/openai/X?api-version=V` for the rest. The model is the
deployment's name. A path that is Azure's already, as behind a Passthrough route, stays what it is.
"""

from __future__ import annotations

from urllib.parse import quote

from dataplane.http import paths
from dataplane.http import query as queries
from dataplane.providers.kind import Kind, asked
from dataplane.table import Provider

API_VERSION = "api-version"
DEPLOYMENT = "deployment"
_OF_DEPLOYMENTS = frozenset(
    [
        "chat/completions",
        "completions",
        "embeddings",
        "images/generations",
        "images/edits",
        "audio/transcriptions",
        "audio/translations",
        "audio/speech",
    ]
)
"""What is asked of a deployment; as AzureOpenAI of openai-python has it."""
_ENDS = ("/openai/v1", "/openai")
"""What a base may end with; the resource is what is before."""


def url_of(resource: str) -> str:
    """The address of a resource by that name."""
    return f"https://{resource}.openai.azure.com"


def address(provider: Provider, path: str, query: str, model: str) -> str:
    """The upstream URL; see the module."""
    base = provider.url.rstrip("/")
    base = next((base.removesuffix(end) for end in _ENDS if base.endswith(end)), base)
    own = paths.stripped(path, "/openai")
    rest = paths.stripped(own, "/v1")
    if own is not path and rest is own:
        if not model:
            return asked(f"{base}/openai{own}", query)
        rest = _without_deployment(own)
    if not provider.api_version:
        return asked(f"{base}/openai/v1{rest}", queries.without(query, [API_VERSION]))
    return f"{base}/openai{_before_ga(rest, query, model, provider.api_version)}"


def _without_deployment(path: str) -> str:
    """The path of something else than the deployment that it names, since a model was decided on."""
    rest = paths.stripped(path, "/deployments")
    return path if rest is path else "/" + rest.lstrip("/").partition("/")[2]


def _before_ga(rest: str, query: str, model: str, version: str) -> str:
    name = paths.normalised(rest)[1:]
    if name == "realtime":
        query = queries.without(query, ["model", DEPLOYMENT])
        if model:
            query = queries.replaced(query, DEPLOYMENT, model)
    elif model and name in _OF_DEPLOYMENTS:
        rest = f"/deployments/{quote(model, safe='')}{rest}"
    return asked(rest, queries.replaced(query, API_VERSION, version))


AZURE = Kind(
    "azure",
    system="azure.ai.openai",
    catalogue="azure",
    header="api-key",
    address=address,
    refuses=frozenset(["openai-beta"]),
)
