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
