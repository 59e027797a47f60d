"""What clients of Azure's shape ask for, as the OpenAI API says it."""

from __future__ import annotations

import pytest

from dataplane.errors import Refusal
from dataplane.http.azure_paths import Plain, plain
from dataplane.routing import Asked, asked
from dataplane.table import Backend, PathType, RouteType


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("/openai/v1/chat/completions", "a=%2F", Plain("/v1/chat/completions", "a=%2F")),
        ("/openai/v1/realtime", "model=m", Plain("/v1/realtime", "model=m")),
        ("/openai/models", "api-version=1", Plain("/v1/models", "")),
        ("/openai/deployments/d/chat/completions", "api-version=1", Plain("/v1/chat/completions", "", "d")),
        ("/openai/deployments/my%20d/audio/speech", "", Plain("/v1/audio/speech", "", "my d")),
        ("/openai/realtime", "api-version=1&deployment=d", Plain("/v1/realtime", "model=d")),
        ("/openai/realtime", "x=1&intent=transcription", Plain("/v1/realtime", "x=1&intent=transcription")),
        ("/openai/realtime", "deployment=a%20b&model=a+b", Plain("/v1/realtime", "model=a%20b")),
        ("/openai/deployments/d/realtime", "deployment=d", Plain("/v1/realtime", "model=d", "d")),
        ("/%6FpenAI//Deployments/d/chat/completions/", "", Plain("/v1/chat/completions", "", "d")),
        ("/OPENAI/V1/files/a%20b", "", Plain("/v1/files/a%20b", "")),
        ("/v1/realtime", "deployment=d", None),
        ("/openai", "", None),
        ("/x/openai/v1/realtime", "", None),
        ("/a%20b", "", None),
    ],
)
def test_the_same_request_to_the_openai_api(path: str, query: str, expected: Plain | None) -> None:
    assert plain(path, query) == expected


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/openai/realtime", "deployment=a&deployment=b"),
        ("/openai/realtime", "deployment=a&deployment=a"),
        ("/openai/realtime", "deployment=a&model=b"),
        ("/openai/realtime", "model=a&model=b"),
        ("/openai/deployments/a/realtime", "deployment=b"),
        ("/openai/deployments/a/realtime", "model=b"),
        ("/openai/v1/realtime", "%64eployment=a&model=b"),
    ],
)
def test_one_model_is_named_once(path: str, query: str) -> None:
    with pytest.raises(Refusal, match="more than one deployment") as refused:
        plain(path, query)
    assert refused.value.code == "invalid_value"


def backend(**paths: RouteType) -> Backend:
    types = tuple(PathType(suffix=suffix, type=type_) for suffix, type_ in paths.items())
    return Backend(name="ai/voice", paths=types, refused=("/realtime/client_secrets", "/realtimeapi/sessions"))


CHAT, REALTIME, REST = "/v1/chat/completions", "/v1/realtime", "*"
DEPLOYED = "/openai/deployments/d/chat/completions"
SERVED = backend(**{CHAT: RouteType.COMPLETIONS, REALTIME: RouteType.REALTIME, REST: RouteType.PASSTHROUGH})


def test_what_a_backend_serves_is_served_to_them_too() -> None:
    assert asked(SERVED, DEPLOYED, "api-version=1") == Asked(RouteType.COMPLETIONS, CHAT, "", "d")
    assert asked(SERVED, "/openai/realtime", "deployment=d") == Asked(RouteType.REALTIME, REALTIME, "model=d")
    assert asked(SERVED, "/openai/models", "") == Asked(RouteType.MODELS, "/v1/models", "")
    assert asked(SERVED, REALTIME, "deployment=d") == Asked(RouteType.REALTIME, REALTIME, "deployment=d")


def test_the_rest_stays_as_it_is() -> None:
    path, query = "/openai/deployments/d/embeddings", "api-version=1"
    assert asked(SERVED, path, query) == Asked(RouteType.PASSTHROUGH, path, query)


def test_a_backend_may_speak_of_such_paths_itself() -> None:
    own = backend(**{"/openai/deployments/d/chat/completions": RouteType.PASSTHROUGH, CHAT: RouteType.COMPLETIONS})
    assert asked(own, DEPLOYED, "api-version=1") == Asked(RouteType.PASSTHROUGH, DEPLOYED, "api-version=1")
    unread = backend(**{CHAT: RouteType.PASSTHROUGH})
    assert asked(unread, "/openai/v1/chat/completions", "") == Asked(RouteType.PASSTHROUGH, CHAT, "")
    assert asked(unread, "/chat/completions/openai/v1/chat/completions", "").type is RouteType.PASSTHROUGH
    with pytest.raises(Refusal, match="does not serve"):
        asked(unread, DEPLOYED, "")  # the body may name another model than the path


@pytest.mark.parametrize(
    "path",
    [
        "/openai/v1/realtime/client_secrets",
        "/OpenAI/v1/Realtime/%63lient_secrets",
        "/openai/deployments/d/realtime/client_secrets",
        "/openai/realtimeapi/sessions",
    ],
)
def test_credentials_are_not_minted_in_this_shape_either(path: str) -> None:
    with pytest.raises(Refusal) as refused:
        asked(SERVED, path, "")
    assert refused.value.code == "path_not_allowed"
