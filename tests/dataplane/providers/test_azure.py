"""Where a client's request goes at an Azure resource."""

from __future__ import annotations

import pytest

from dataplane.providers.azure import url_of
from dataplane.table import Credential, Provider
from dataplane.upstreams.request import address

GA, V = "", "2025-04-01-preview"
RESOURCE = "https://res.openai.azure.com"


def at(path: str, query: str = "", model: str = "", *, version: str = GA, url: str = RESOURCE) -> str:
    provider = Provider(
        name="a", kind="azure", url=url, api_version=version, credential=Credential(kind="secret", secret="s")
    )
    return address(provider, path, query, model).removeprefix(RESOURCE)


@pytest.mark.parametrize(
    ("path", "query", "model", "expected"),
    [
        ("/v1/chat/completions", "", "gpt", "/openai/v1/chat/completions"),
        ("/chat/completions", "a=%2F", "gpt", "/openai/v1/chat/completions?a=%2F"),
        ("/v1/realtime", "model=gpt", "gpt", "/openai/v1/realtime?model=gpt"),
        ("/v1/realtime", "model=gpt&api-version=2024-10-01&api-key=k", "gpt", "/openai/v1/realtime?model=gpt"),
        ("/v1/models", "", "", "/openai/v1/models"),
        ("/openai/v1/chat/completions", "", "gpt", "/openai/v1/chat/completions"),
        ("/openai/deployments/other/chat/completions", "api-version=1", "gpt", "/openai/v1/chat/completions"),
        ("/openai/deployments/d/embeddings", "api-version=1", "", "/openai/deployments/d/embeddings?api-version=1"),
        ("/openai/files", "api-version=1", "", "/openai/files?api-version=1"),
        ("//openai//v1//files", "", "", "/openai/v1//files"),
    ],
)
def test_the_ga_api_has_no_version(path: str, query: str, model: str, expected: str) -> None:
    assert at(path, query, model) == expected


@pytest.mark.parametrize(
    ("path", "query", "model", "expected"),
    [
        ("/v1/chat/completions", "", "my gpt", f"/openai/deployments/my%20gpt/chat/completions?api-version={V}"),
        ("/v1/realtime", "model=m&x=1", "gpt", f"/openai/realtime?x=1&deployment=gpt&api-version={V}"),
        ("/v1/realtime", "deployment=m&api-version=1", "gpt", f"/openai/realtime?api-version={V}&deployment=gpt"),
        ("/v1/realtime", "intent=transcription", "", f"/openai/realtime?intent=transcription&api-version={V}"),
        ("/v1/embeddings", "", "", f"/openai/embeddings?api-version={V}"),
        ("/v1/responses", "", "gpt", f"/openai/responses?api-version={V}"),
        ("/v1/models", "", "", f"/openai/models?api-version={V}"),
        ("/openai/deployments/o/embeddings", "", "gpt", f"/openai/deployments/gpt/embeddings?api-version={V}"),
    ],
)  # fmt: skip
def test_the_api_before_it_has_deployments(path: str, query: str, model: str, expected: str) -> None:
    assert at(path, query, model, version=V) == expected


@pytest.mark.parametrize("end", ["", "/", "/openai", "/openai/v1", "/openai/v1/"])
def test_what_an_address_may_end_with(end: str) -> None:
    assert at("/v1/models", url=RESOURCE + end) == "/openai/v1/models"
    assert at("/v1/models", url=f"https://front.test/azure{end}") == "https://front.test/azure/openai/v1/models"


def test_a_resource_by_its_name() -> None:
    assert url_of("res") == RESOURCE
