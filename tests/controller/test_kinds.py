"""Where an API server has its objects."""

from __future__ import annotations

from controller.kinds import BACKEND, GATEWAY_CLASS, SECRET


def test_paths() -> None:
    assert SECRET.path("ai", "key") == "/api/v1/namespaces/ai/secrets/key"
    assert BACKEND.path() == "/apis/tidegate.dev/v1alpha1/backends"
    assert BACKEND.path("ai", "voice", "status") == "/apis/tidegate.dev/v1alpha1/namespaces/ai/backends/voice/status"
    assert GATEWAY_CLASS.path("ignored", "c") == "/apis/gateway.networking.k8s.io/v1/gatewayclasses/c"
    assert str(SECRET) == "Secret"
