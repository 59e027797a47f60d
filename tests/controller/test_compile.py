"""What the goldens do not say: other kinds are ignored, objects without names are no danger, size."""

from __future__ import annotations

import pytest

from controller import compile as compiler
from controller.compile import Install
from controller.compile.statuses import false, summed, true


def backend(name: str, **spec: object) -> dict[str, object]:
    return {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "Backend",
        "metadata": {"name": name},
        "spec": {"providers": [{"name": "a", "openai": {}}], **spec},
    }


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"kind": "Backend"},
        {"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "Backend", "metadata": {"name": "theirs"}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}},
        {"apiVersion": 1, "kind": ["Backend"]},
    ],
)
def test_other_kinds_are_ignored(document: dict[str, object]) -> None:
    assert compiler.compile([document]) == compiler.compile([])


def test_an_object_without_a_name_is_reported() -> None:
    (status,) = compiler.compile([{"apiVersion": "tidegate.dev/v1alpha1", "kind": "Backend"}]).statuses
    assert (status.namespace, status.name) == ("default", "")
    assert status.conditions[0].reason == "Invalid"


def test_unchanged_entries_keep_their_hash() -> None:
    before = compiler.compile([backend("a", expose={}), backend("b", expose={})]).table
    after = compiler.compile([backend("a", expose={}), backend("b", expose={}, routes={"*": "Passthrough"})]).table
    assert before.backends[0] == after.backends[0]
    assert before.backends[1].hash != after.backends[1].hash
    assert before.routes == after.routes
    assert before.versions()["routes"] != after.versions()["routes"]


def test_a_rotated_secret_is_a_change_of_every_section_that_names_it() -> None:
    objects = [backend("a", providers=[{"name": "a", "openai": {}, "auth": {"secretRef": {"name": "s"}}}])]
    old, new = (
        compiler.compile(
            [
                *objects,
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": "s", "resourceVersion": version},
                    "stringData": {"Authorization": "sk"},
                },
            ]
        ).table
        for version in ("1", "2")
    )
    assert old.secrets != new.secrets
    assert old.versions()["secrets"] != new.versions()["secrets"]
    assert old.backends[0].hash != new.backends[0].hash


def test_a_reference_that_is_not_permitted_says_nothing_about_the_backend() -> None:
    guarded = backend("a", providers=[{"name": "a", "openai": {}, "auth": {"secretRef": {"name": "s"}}}])
    ref = {"group": "tidegate.dev", "kind": "Backend", "name": "a", "namespace": "default"}
    foreign = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "r", "namespace": "foreign"},
        "spec": {"rules": [{"backendRefs": [ref]}]},
    }
    alone = compiler.compile([guarded], install=Install()).statuses[0]
    assert compiler.compile([guarded, foreign], install=Install()).statuses[0] == alone
    assert alone.conditions[2].reason == "NoPolicy"


def test_who_is_let_in_to_one_backend_is_not_told_of_others() -> None:
    plan = backend("secret-plan")
    grant = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "ReferenceGrant",
        "metadata": {"name": "g"},
        "spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "foreign"}],
            "to": [{"group": "tidegate.dev", "kind": "Backend", "name": "shared"}],
        },
    }
    ref = {"group": "tidegate.dev", "kind": "Backend", "name": "shared", "namespace": "default"}
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "r", "namespace": "foreign"},
        "spec": {"rules": [{"backendRefs": [ref]}]},
    }
    (status,) = [each for each in compiler.compile([plan, grant, route]).statuses if each.kind == "HTTPRoute"]
    assert [each.reason for each in status.conditions] == ["Accepted", "BackendNotFound"]
    assert "secret-plan" not in str(status)


def test_ready_counts_what_is_known_later() -> None:
    resolved, programmed = true("ResolvedRefs", "."), false("Programmed", "Pending", ".")
    assert summed([resolved]) == true("Ready", "Ready to serve.")
    assert "Programmed (Pending)" in summed([resolved, true("Ready", "."), programmed]).message
    closed = false("Ready", "Closed", "a Policy")
    assert summed([resolved, closed, true("Programmed", ".")]) == closed


def httproute(namespace: str, name: str, created: str) -> dict[str, object]:
    ref = {"group": "tidegate.dev", "kind": "Backend", "name": "voice"}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": created},
        "spec": {
            "parentRefs": [{"name": "edge"}],
            "rules": [{"matches": [{"path": {"value": f"/{name}"}}], "backendRefs": [ref] * 16}],
        },
    }


def tenant(namespace: str, policies: int) -> list[dict[str, object]]:
    """A Backend, a Gateway, and Policies of a kilobyte each."""
    target = {"group": "tidegate.dev", "kind": "Backend", "name": "voice"}
    allowed = {"allow": [f"model-{number:04}" for number in range(64)]}
    made: list[dict[str, object]] = [
        {**backend("voice"), "metadata": {"name": "voice", "namespace": namespace}},
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "edge", "namespace": namespace},
            "spec": {"gatewayClassName": "tidegate", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
        },
    ]
    guards: list[dict[str, object]] = [
        {
            "apiVersion": "tidegate.dev/v1alpha1",
            "kind": "Policy",
            "metadata": {"name": f"p{number}", "namespace": namespace},
            "spec": {"targetRefs": [target], "models": allowed},
        }
        for number in range(policies)
    ]
    return [*made, *guards]


def test_routes_of_one_namespace_do_not_fill_the_table() -> None:
    """Each Policy is in the table as often as a Backend is named, so that small objects make a large table."""
    gateway_class: dict[str, object] = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": {"name": "tidegate"},
        "spec": {"controllerName": "tidegate.dev/controller"},
    }
    many = [httproute("a-tenant", f"r{number}", f"2026-01-01T00:00:{number:02}Z") for number in range(10)]
    documents = [gateway_class, *tenant("a-tenant", 10), *many, *tenant("b-tenant", 1)]
    documents += [httproute("b-tenant", "r", "2026-02-01T00:00:00Z")]
    found = compiler.compile(documents, install=Install(most=500_000))
    good = [entry.name for entry in found.table.routes if not entry.forwards[0].error]
    assert good == ["a-tenant/r0#0", "a-tenant/r1#0", "a-tenant/r2#0", "a-tenant/r3#0", "b-tenant/r#0"]
    assert sum(len(entry.model_dump_json()) for entry in found.table.routes) < 1_000_000
    said = {each.name: each.parents[0].conditions[0] for each in found.statuses if each.kind == "HTTPRoute"}
    assert {name for name, each in said.items() if each.status == "False"} == {f"r{number}" for number in range(4, 10)}
    assert "routes of namespace a-tenant" in said["r4"].message
    ready = {each.namespace: each.conditions[-1].message for each in found.statuses if each.kind == "Backend"}
    assert "a-tenant/r4#0: the routes of namespace a-tenant" in ready["a-tenant"]
    assert "500" not in ready["b-tenant"]
