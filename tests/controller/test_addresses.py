"""Where Gateways are reached."""

from __future__ import annotations

import pytest

from controller.addresses import addresses, unreachable
from controller.compile import Condition
from controller.kinds import SERVICE
from controller.mirror import Mirror
from tests.controller.cluster import thing


def made(spec: object, status: object = None) -> list[object]:
    annotations = {"tidegate.dev/gateway": "web/edge"}
    service = thing(SERVICE, "edge", 1, "gateways", spec, status=status, metadata={"annotations": annotations})
    mirror = Mirror()
    mirror.see(SERVICE, service)
    wanted = {"metadata": {"name": "edge", "annotations": annotations}}
    return list(addresses(mirror, "gateways", [wanted])["web/edge"])


@pytest.mark.parametrize(
    ("spec", "status", "found"),
    [
        ({"clusterIP": "10.96.0.7"}, None, [("IPAddress", "10.96.0.7")]),
        ({"clusterIP": "fd00::7"}, {}, [("IPAddress", "fd00::7")]),
        ({"clusterIP": "None"}, None, []),
        ({}, None, []),
        (None, "odd", []),
        (
            {"clusterIP": "10.96.0.7"},
            {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.example.com"}, {}, 1]}},
            [("IPAddress", "192.0.2.1"), ("Hostname", "lb.example.com")],
        ),
        ({"clusterIP": "10.96.0.7"}, {"loadBalancer": {}}, [("IPAddress", "10.96.0.7")]),
    ],
)
def test_of_a_service(spec: object, status: object, found: list[tuple[str, str]]) -> None:
    assert made(spec, status) == [{"type": type_, "value": value} for type_, value in found]


def test_of_a_service_that_is_not_there_yet() -> None:
    wanted = {"metadata": {"name": "edge", "annotations": {"tidegate.dev/gateway": "web/edge"}}}
    assert addresses(Mirror(), "gateways", [wanted]) == {"web/edge": []}


def test_what_keeps_a_gateway_from_being_programmed() -> None:
    address = [{"type": "IPAddress", "value": "192.0.2.1"}]
    assert unreachable(address, "") is None
    none_yet = "The Gateway's Service has no address yet; see kubectl get services."
    assert unreachable([], "") == Condition("Programmed", "False", "AddressNotAssigned", none_yet)
    for found in (address, []):
        refused = unreachable(found, "no such range" * 100)
        assert refused
        assert (refused.status, refused.reason, len(refused.message)) == ("False", "AddressNotAssigned", 1024)
        assert refused.message.startswith("The Gateway's Service cannot be made, or be changed: no such range")
