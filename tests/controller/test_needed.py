"""What is read beside what is read everywhere: only where something refers to it."""

from __future__ import annotations

import pytest

from controller.kinds import BACKEND, GATEWAY, GATEWAY_CLASS, HTTP_ROUTE, POLICY, REFERENCE_GRANT, Kind
from controller.mirror import Scope
from controller.needed import needed
from tests.controller.cluster import thing

NAME = "tidegate.dev/controller"
CLASS = thing(GATEWAY_CLASS, "tidegate", 1, spec={"controllerName": NAME})


def grant(source: Kind, of: str, target: str, namespace: str) -> dict[str, object]:
    """By which objects of the kind `source` in the namespace `of` may refer to what is in `namespace`."""
    sources = [{"group": source.group, "kind": source.name, "namespace": of}]
    return thing(
        REFERENCE_GRANT, f"{of}-{target}", 1, namespace, {"from": sources, "to": [{"group": "", "kind": target}]}
    )


def test_nothing_refers_to_nothing() -> None:
    plain = thing(BACKEND, "a", 1, spec={"providers": [{"name": "a", "openai": {}, "auth": {"passthrough": {}}}]})
    assert needed([plain, CLASS], NAME) == set()


def test_secrets_of_backends_and_policies() -> None:
    backend = thing(BACKEND, "a", 1, "ai", {"providers": [{"auth": {"secretRef": {"name": "s"}}}]})
    policy = thing(POLICY, "p", 1, "teams", {"authentication": {"keys": [{"secretSelector": {"matchLabels": {}}}]}})
    assert needed([backend, policy], NAME) == {Scope("Secret", "ai"), Scope("Secret", "teams")}


@pytest.mark.parametrize("name", ["caSecretRef", "clientSecretRef"])
def test_secrets_of_certificates(name: str) -> None:
    backend = thing(BACKEND, "a", 1, "ai", {"providers": [{"tls": {name: {"name": "s"}}}]})
    assert needed([backend], NAME) == {Scope("Secret", "ai")}


def test_services_of_backends() -> None:
    own = thing(BACKEND, "a", 1, "ai", {"providers": [{"custom": {"service": {"name": "vllm"}}}]})
    other = thing(BACKEND, "b", 1, "ai", {"providers": [{"custom": {"service": {"name": "v", "namespace": "gpu"}}}]})
    assert needed([own, other, grant(BACKEND, "ai", "Service", "gpu")], NAME) == {
        Scope(kind, namespace) for kind in ("Service", "EndpointSlice") for namespace in ("ai", "gpu")
    }


def test_services_of_policies() -> None:
    def asking(policy: str, **service: str) -> dict[str, object]:
        return thing(POLICY, policy, 1, "ai", {"guardrails": [{"name": "g", "webhook": {"service": service}}]})

    policies = [asking("a", name="guard"), asking("b", name="guard", namespace="guards")]
    own = {Scope("Service", "ai"), Scope("EndpointSlice", "ai")}
    assert needed([*policies, grant(BACKEND, "ai", "Service", "guards")], NAME) == own
    granted = needed([*policies, grant(POLICY, "ai", "Service", "guards")], NAME)
    assert granted == own | {Scope("Service", "guards"), Scope("EndpointSlice", "guards")}


def test_another_namespace_only_where_a_grant_there_names_who_refers_to_it() -> None:
    """Else one Backend would have as many namespaces read as it has providers."""
    providers = [{"custom": {"service": {"name": "s", "namespace": f"n{number}"}}} for number in range(32)]
    backend = thing(BACKEND, "a", 1, "ai", {"providers": providers})
    grants = [
        grant(BACKEND, "ai", "Service", "n1"),
        grant(BACKEND, "other", "Service", "n2"),
        grant(HTTP_ROUTE, "ai", "Service", "n3"),
        grant(BACKEND, "ai", "Secret", "n4"),
        grant(BACKEND, "ai", "Service", "unrelated"),
    ]
    assert needed([backend], NAME) == set()
    assert needed([backend, *grants], NAME) == {Scope("Service", "n1"), Scope("EndpointSlice", "n1")}


def gateway(class_name: str) -> dict[str, object]:
    refs = [{"name": "c"}, {"name": "d", "namespace": "certs"}]
    spec = {"gatewayClassName": class_name, "listeners": [{"tls": {"certificateRefs": refs}}, {"name": "plain"}]}
    return thing(GATEWAY, "edge", 1, "web", spec)


def route(**parent: str) -> dict[str, object]:
    refs = [
        {"name": "s"},
        {"name": "t", "namespace": "gpu"},
        {"group": "tidegate.dev", "kind": "Backend", "name": "b", "namespace": "no"},
    ]
    return thing(HTTP_ROUTE, "r", 1, "ai", {"parentRefs": [parent], "rules": [{"backendRefs": refs}, {}]})


def test_certificates_of_our_gateways() -> None:
    assert needed([CLASS, gateway("tidegate")], NAME) == {Scope("Secret", "web")}
    granted = grant(GATEWAY, "web", "Secret", "certs")
    assert needed([CLASS, gateway("tidegate"), granted], NAME) == {Scope("Secret", "web"), Scope("Secret", "certs")}
    assert needed([CLASS, gateway("theirs")], NAME) == set()


def test_services_of_routes_of_our_gateways() -> None:
    attached = [CLASS, gateway("tidegate"), route(name="edge", namespace="web")]
    assert {scope.namespace for scope in needed(attached, NAME) if scope.kind == "Service"} == {"ai"}
    found = needed([*attached, grant(HTTP_ROUTE, "ai", "Service", "gpu")], NAME)
    assert {scope.namespace for scope in found if scope.kind == "EndpointSlice"} == {"ai", "gpu"}
    assert {scope.namespace for scope in found if scope.kind == "Service"} == {"ai", "gpu"}
    for parent in ({"name": "edge"}, {"name": "edge", "namespace": "web", "kind": "Service"}):
        found = needed([CLASS, gateway("tidegate"), route(**parent)], NAME)
        assert {scope.kind for scope in found} == {"Secret"}


def test_documents_that_are_nothing_like_it() -> None:
    odd: list[dict[str, object]] = [
        {},
        {"kind": "Backend"},
        {"kind": "HTTPRoute", "spec": {"parentRefs": 1, "rules": [1]}},
        {"kind": 1},
        {"kind": "ReferenceGrant", "spec": {"from": [{}], "to": [1, {"kind": 2}]}},
    ]
    assert needed(odd, NAME) == set()
