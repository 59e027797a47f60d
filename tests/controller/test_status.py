"""Statuses: what is there already is not written, and what others wrote stays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from controller import conditions
from controller import status as statuses
from controller.compile import Ancestor, Condition, ListenerStatus, Parent, Status, Target
from controller.kinds import BACKEND, GATEWAY, GATEWAY_CLASS, HTTP_ROUTE, POLICY, Kind
from controller.mirror import Entry, Mirror, metadata
from controller.status import Turn, Write
from tests.controller.cluster import thing

OURS = "tidegate.dev/controller"
BEFORE, NOW = "2026-11-22T10:00:00Z", "2026-11-22T12:00:00Z"
READY = Condition("Ready", "True", "Ready", "Ready to serve.")
NOT_READY = Condition("Ready", "False", "NotReady", "Not ready.")
ACCEPTED = Condition("Accepted", "True", "Accepted", "The spec is valid.")
TARGET = Target("Backend", "ai", "voice", "openai")


def entry(kind: Kind, status: object = None, latest: int = 1) -> Entry:
    """An object at its `latest` generation."""
    mirror, body = Mirror(), thing(kind, "voice", 7, spec={})
    body = {**body, "metadata": {**metadata(body), "generation": latest}}
    mirror.see(kind, {**body, **({} if status is None else {"status": status})})
    found = mirror.get(kind.name, "ai", "voice")
    assert found is not None
    return found


def backend(*conditions: Condition) -> Status:
    return Status("Backend", "ai", "voice", conditions)


def policy(*ancestors: Ancestor) -> Status:
    return Status("Policy", "ai", "voice", (ACCEPTED,), ancestors)


def stored(condition: Condition, generation: int = 1, since: str = BEFORE) -> dict[str, object]:
    return {
        "type": condition.type,
        "status": condition.status,
        "observedGeneration": generation,
        "lastTransitionTime": since,
        "reason": condition.reason,
        "message": condition.message,
    }


def written(
    status: Status, before: object = None, kind: Kind = BACKEND, generation: int = 1, latest: int = 3
) -> Write | None:
    return statuses.write(status, entry(kind, before, latest), generation, OURS, NOW)


def test_the_first_status() -> None:
    write = written(backend(READY, ACCEPTED))
    assert write == Write(
        BACKEND,
        "ai",
        "voice",
        "Backend-voice",
        {"conditions": [stored(READY, since=NOW), stored(ACCEPTED, since=NOW)]},
        turns=(Turn(READY, first=True),),
    )


def test_what_is_there_is_not_written_again() -> None:
    assert written(backend(READY), {"conditions": [stored(READY)]}) is None


def test_a_new_message_is_no_transition_a_new_status_is() -> None:
    write = written(backend(READY, ACCEPTED), {"conditions": [stored(NOT_READY), stored(ACCEPTED)]}, generation=2)
    assert write is not None
    assert write.status == {"conditions": [stored(READY, 2, NOW), stored(ACCEPTED, 2, BEFORE)]}
    assert write.turns == (Turn(READY, first=False),)
    other = Condition("Ready", "True", "Ready", "Ready to serve, mostly.")
    write = written(backend(other), {"conditions": [stored(READY)]})
    assert write is not None
    assert (write.status, write.turns) == ({"conditions": [stored(other)]}, ())


def test_what_is_said_no_more_goes() -> None:
    write = written(backend(READY), {"conditions": [stored(READY), stored(ACCEPTED)]})
    assert write is not None
    assert write.status == {"conditions": [stored(READY)]}


def test_what_is_newer_stays() -> None:
    """Another replica led meanwhile, and knew a later generation."""
    assert written(backend(READY), {"conditions": [stored(NOT_READY, 3)]}, generation=2) is None


def test_what_is_from_before_the_storage_was_put_back_is_not_newer() -> None:
    """A replica that had not noticed wrote it into the storage that was put back, where there is no such generation."""
    write = written(backend(READY), {"conditions": [stored(NOT_READY, 3)]}, generation=2, latest=2)
    assert write is not None
    assert write.status == {"conditions": [stored(READY, 2, since=NOW)]}


def test_a_status_without_what_is_told() -> None:
    write = written(backend(Condition("Other", "True", "Other", "")))
    assert write is not None
    assert write.turns == ()


def test_a_message_fits() -> None:
    write = written(backend(Condition("Ready", "False", "NotReady", "x" * 40_000)))
    assert write is not None
    found = write.status["conditions"]
    assert isinstance(found, list)
    assert len(found[0]["message"]) == conditions.MOST_TEXT


def ours(target: Target = TARGET, condition: Condition = ACCEPTED, since: str = BEFORE) -> dict[str, object]:
    ref = {"group": "tidegate.dev", "kind": target.kind, "namespace": target.namespace, "name": target.name}
    if target.kind != "Backend":
        ref["group"] = "gateway.networking.k8s.io"
    if target.section:
        ref["sectionName"] = target.section
    return {"ancestorRef": ref, "controllerName": OURS, "conditions": [stored(condition, since=since)]}


THEIRS = {"ancestorRef": {"kind": "Gateway", "name": "g"}, "controllerName": "example.com/other", "conditions": []}


def test_ancestors_of_others_stay_and_ours_are_replaced() -> None:
    route = Target("HTTPRoute", "ai", "r")
    before = {"ancestors": [THEIRS, ours(Target("Backend", "ai", "gone")), ours()]}
    status = policy(Ancestor(TARGET, (ACCEPTED,)), Ancestor(route, (ACCEPTED,)))
    write = written(status, before, POLICY)
    assert write is not None
    assert write.status == {"ancestors": [THEIRS, ours(), ours(route, since=NOW)]}
    assert (write.version, write.turns) == ("7", ())
    assert written(status, write.status, POLICY) is None


def test_a_policy_has_at_most_sixteen() -> None:
    status = policy(*(Ancestor(Target("Backend", "ai", f"b{number:02}"), (ACCEPTED,)) for number in range(20)))
    write = written(status, {"ancestors": [THEIRS]}, POLICY)
    assert write is not None
    entries = write.status["ancestors"]
    assert isinstance(entries, list)
    assert len(entries) == 16
    assert entries[0] == THEIRS


def test_of_a_policy_with_nothing_to_say_nothing_is_written() -> None:
    assert written(policy(), None, POLICY) is None
    write = written(policy(), {"ancestors": [ours()]}, POLICY)
    assert write is not None
    assert write.status == {"ancestors": []}


@pytest.mark.parametrize("odd", [[], {"conditions": 1}, {"conditions": [1]}, "x"])
def test_a_status_that_is_nothing_like_one_is_replaced(odd: object) -> None:
    write = written(backend(READY), odd)
    assert write is not None
    assert write.status == {"conditions": [stored(READY, since=NOW)]}


CLASS = "gateway.networking.k8s.io"


def gateway_entry(kind: Kind, status: object) -> Entry:
    mirror = Mirror()
    mirror.see(kind, {**thing(kind, "edge", 7, "web", {}), "status": status})
    (found,) = mirror.entries(kind.name).values()
    return found


def test_a_class_has_features() -> None:
    status = Status("GatewayClass", "", "edge", (ACCEPTED,), features=("Gateway", "HTTPRoute"))
    before = {"conditions": [{**stored(ACCEPTED), "status": "Unknown", "lastTransitionTime": "1970-01-01T00:00:00Z"}]}
    write = statuses.write(status, gateway_entry(GATEWAY_CLASS, before), 1, OURS, NOW)
    assert write is not None
    assert write.status == {
        "conditions": [stored(ACCEPTED, since=NOW)],
        "supportedFeatures": [{"name": "Gateway"}, {"name": "HTTPRoute"}],
    }
    assert write.turns == (Turn(ACCEPTED, first=True),)


def test_a_gateway_has_listeners_and_addresses() -> None:
    listener = ListenerStatus("http", ((CLASS, "HTTPRoute"),), 3, (ACCEPTED,))
    status = Status("Gateway", "web", "edge", (ACCEPTED,), listeners=(listener,))
    address = {"type": "IPAddress", "value": "10.96.0.7"}
    write = statuses.write(status, gateway_entry(GATEWAY, {}), 1, OURS, NOW, [address])
    assert write is not None
    assert write.status == {
        "conditions": [stored(ACCEPTED, since=NOW)],
        "addresses": [address],
        "listeners": [
            {
                "name": "http",
                "supportedKinds": [{"group": CLASS, "kind": "HTTPRoute"}],
                "attachedRoutes": 3,
                "conditions": [stored(ACCEPTED, since=NOW)],
            }
        ],
    }
    assert statuses.write(status, gateway_entry(GATEWAY, write.status), 1, OURS, NOW, [address]) is None


def test_a_route_says_at_which_parent() -> None:
    theirs = {"parentRef": {"name": "another"}, "controllerName": "example.com/other", "conditions": []}
    status = Status("HTTPRoute", "web", "edge", (ACCEPTED,), parents=(Parent({"name": "edge"}, (ACCEPTED,)),))
    write = statuses.write(status, gateway_entry(HTTP_ROUTE, {"parents": [theirs]}), 1, OURS, NOW)
    assert write is not None
    ref = {"group": CLASS, "kind": "Gateway", "name": "edge"}
    ours = {"parentRef": ref, "controllerName": OURS, "conditions": [stored(ACCEPTED, since=NOW)]}
    assert write.status == {"parents": [theirs, ours]}
    assert write.version == "7"


def test_a_status_is_stored_however_much_is_to_be_said() -> None:
    """An API server stores no object of more than 1.5 MB, and each replica keeps all of them."""
    said = tuple(Condition(each, "False", "Invalid", "x" * 40_000) for each in ("Accepted", "ResolvedRefs"))
    parents = tuple(Parent({"name": "edge", "sectionName": f"l{number}"}, said) for number in range(32))
    status = Status("HTTPRoute", "web", "edge", said, parents=parents)
    write = statuses.write(status, gateway_entry(HTTP_ROUTE, {}), 1, OURS, NOW)
    assert write is not None
    assert len(json.dumps(write.status)) < 500_000


ENFORCED = Condition("Enforced", "True", "Enforced", "Enforced wherever it is in force.")
NO_SECRET = Condition("Enforced", "False", "SecretNotFound", "Secret ai/keys does not exist.")
RESOLVED = Condition("ResolvedRefs", "True", "ResolvedRefs", "Everything was found.")
MISSING = Condition("ResolvedRefs", "False", "BackendNotFound", "Backend ai/voice does not exist.")
NO_CERTIFICATE = Condition("ResolvedRefs", "False", "InvalidCertificateRef", "Secret web/tls does not exist.")


def turns(wanted: Sequence[Condition], before: Sequence[Condition]) -> list[Condition]:
    """What is told of an HTTPRoute that had these conditions before."""
    ref = {"group": CLASS, "kind": "Gateway", "name": "edge"}
    ours = {"parentRef": ref, "controllerName": OURS, "conditions": [stored(each) for each in before]}
    parent = Parent({"name": "edge"}, tuple(wanted))
    status = Status("HTTPRoute", "web", "edge", tuple(wanted), parents=(parent,))
    write = statuses.write(status, gateway_entry(HTTP_ROUTE, {"parents": [ours] if before else []}), 1, OURS, NOW)
    return [each.condition for each in write.turns] if write else []


def test_a_reference_that_leads_nowhere_is_told_beside_what_is_accepted() -> None:
    assert turns([ACCEPTED, MISSING], []) == [ACCEPTED, MISSING]
    assert turns([ACCEPTED, MISSING], [ACCEPTED, MISSING]) == []
    assert turns([ACCEPTED, MISSING], [ACCEPTED, RESOLVED]) == [MISSING]
    assert turns([ACCEPTED, RESOLVED], [ACCEPTED, MISSING]) == [RESOLVED]


def test_what_is_as_it_should_be_from_the_beginning_is_told_once() -> None:
    assert turns([ACCEPTED, RESOLVED], []) == [ACCEPTED]


def test_of_what_is_not_accepted_nothing_else_is_told() -> None:
    refused = Condition("Accepted", "False", "NoMatchingParent", "")
    assert turns([refused, MISSING], []) == [refused]
    unknown = Condition("ResolvedRefs", "Unknown", "NotAccepted", "")
    assert turns([ACCEPTED, unknown], [ACCEPTED, MISSING]) == []


def test_a_policy_that_is_not_enforced_is_told() -> None:
    def told(now: Condition, *before: Condition) -> list[Turn]:
        status = Status("Policy", "ai", "voice", (ACCEPTED, now), (Ancestor(TARGET, (ACCEPTED, now)),))
        entries = [{**ours(), "conditions": [stored(each) for each in before]}] if before else []
        write = written(status, {"ancestors": entries}, POLICY)
        assert write is not None
        return [each for each in write.turns if each.condition.type == "Enforced"]

    assert told(NO_SECRET) == [Turn(NO_SECRET, first=True)]
    assert told(NO_SECRET, ACCEPTED, ENFORCED) == [Turn(NO_SECRET, first=False)]
    assert told(ENFORCED, ACCEPTED, NO_SECRET) == [Turn(ENFORCED, first=False)]
    assert told(ENFORCED) == []


def test_what_listeners_refer_to_is_told_once_for_all() -> None:
    def told(now: Sequence[Condition], before: Sequence[Condition]) -> list[tuple[str, str]]:
        listeners = tuple(ListenerStatus(f"l{at}", (), 0, (each,)) for at, each in enumerate(now))
        status = Status("Gateway", "web", "edge", (ACCEPTED,), listeners=listeners)
        stored_ = [{"name": f"l{at}", "conditions": [stored(each)]} for at, each in enumerate(before)]
        entry_ = gateway_entry(GATEWAY, {"conditions": [stored(ACCEPTED)], "listeners": stored_})
        write = statuses.write(status, entry_, 1, OURS, NOW)
        assert write is not None
        return [(each.condition.status, each.condition.message) for each in write.turns]

    why = "listener l1: Secret web/tls does not exist."
    assert told([RESOLVED, NO_CERTIFICATE], []) == [("False", why)]
    assert told([RESOLVED, NO_CERTIFICATE], [RESOLVED, RESOLVED]) == [("False", why)]
    assert told([NO_CERTIFICATE, NO_CERTIFICATE], [RESOLVED, NO_CERTIFICATE]) == []
    assert told([RESOLVED, RESOLVED], [RESOLVED, NO_CERTIFICATE]) == [
        ("True", "Everything that the listeners refer to was found.")
    ]


def test_what_is_not_accepted_is_not_programmed() -> None:
    refused = Condition("Accepted", "False", "UnsupportedProtocol", "")
    listeners = (ListenerStatus("http", (), 0, (ACCEPTED,)), ListenerStatus("mail", (), 0, (refused,)))
    status = Status("Gateway", "web", "edge", (ACCEPTED,), listeners=listeners)
    found = statuses.with_programmed(status, SERVED)
    assert found.conditions == (ACCEPTED, SERVED)
    assert [each.conditions[-1].reason for each in found.listeners] == ["Programmed", "Invalid"]


SERVED = Condition("Programmed", "True", "Programmed", "Served by every ready gateway.")
PENDING = Condition("Programmed", "False", "Pending", "Served by 1 of 2 gateways.")


@pytest.mark.parametrize("fleet", [SERVED, PENDING])
def test_a_listener_without_a_certificate_is_not_programmed(fleet: Condition) -> None:
    bare = ListenerStatus("tls", (), 0, (ACCEPTED, NO_CERTIFICATE), served=False)
    one = Status("Gateway", "web", "edge", (ACCEPTED,), listeners=(bare, ListenerStatus("http", (), 0, (ACCEPTED,))))
    found = statuses.with_programmed(one, fleet)
    assert [each.conditions[-1].reason for each in found.listeners] == ["Invalid", fleet.reason]
    assert found.conditions == (ACCEPTED, fleet)

    alone = statuses.with_programmed(replace(one, listeners=(bare,)), fleet)
    assert [each.conditions[-1].reason for each in alone.listeners] == ["Invalid"]
    programmed = alone.conditions[-1]
    assert (programmed.type, programmed.status, programmed.reason) == ("Programmed", "False", "Invalid")


def test_ready_counts_what_gateways_have_confirmed() -> None:
    assert statuses.with_programmed(backend(ACCEPTED, READY), SERVED).conditions == (READY, ACCEPTED, SERVED)
    (ready, *_) = statuses.with_programmed(backend(ACCEPTED, READY), PENDING).conditions
    assert (ready.status, ready.message) == ("False", "Not ready; see the conditions Programmed (Pending).")
    wrong = Condition("Accepted", "False", "Invalid", "")
    (ready, *_) = statuses.with_programmed(backend(wrong, NOT_READY), PENDING).conditions
    assert ready.message == "Not ready; see the conditions Accepted (Invalid), Programmed (Pending)."
    closed = Condition("Ready", "False", "Closed", "Requests are answered 500.")
    assert statuses.with_programmed(backend(ACCEPTED, closed), SERVED).conditions[0] == closed


WELL = Condition("Healthy", "True", "Healthy", "Some provider can be asked.")
ILL = Condition("Healthy", "False", "NoHealthyProvider", "1 gateway finds no healthy provider.")


def test_ready_counts_what_gateways_find_of_providers() -> None:
    served = statuses.with_programmed(backend(ACCEPTED, READY), SERVED)
    assert statuses.with_healthy(served, WELL).conditions == (READY, ACCEPTED, SERVED, WELL)
    (ready, *others) = statuses.with_healthy(served, ILL).conditions
    assert (ready.status, ready.message) == ("False", "Not ready; see the conditions Healthy (NoHealthyProvider).")
    assert others == [ACCEPTED, SERVED, ILL]
    pending = statuses.with_programmed(backend(ACCEPTED, READY), PENDING)
    (ready, *_) = statuses.with_healthy(pending, ILL).conditions
    assert ready.message == "Not ready; see the conditions Programmed (Pending), Healthy (NoHealthyProvider)."


def test_of_what_is_not_accepted_no_provider_is_asked() -> None:
    wrong = backend(Condition("Accepted", "False", "Invalid", ""), NOT_READY)
    assert statuses.with_healthy(wrong, WELL) == wrong
    before = {"conditions": [stored(each) for each in (NOT_READY, wrong.conditions[0], WELL)]}
    assert written(wrong, before), "it does not say Healthy any more"


def test_why_no_provider_is_healthy_is_told_beside_ready() -> None:
    def told(now: Condition, *before: Condition) -> list[tuple[str, str]]:
        write = written(backend(READY, now), {"conditions": [stored(each) for each in before]})
        return [(each.condition.type, each.condition.reason) for each in write.turns] if write else []

    assert told(WELL) == [("Ready", "Ready")]
    assert told(WELL, READY) == []
    assert told(ILL, READY, WELL) == [("Healthy", "NoHealthyProvider")]
    assert told(ILL, READY) == [("Healthy", "NoHealthyProvider")]
    assert told(WELL, READY, ILL) == [("Healthy", "Healthy")]
    assert told(replace(ILL, message="2 gateways"), READY, ILL) == []


def test_where_nothing_can_be_said_of_providers_what_was_said_stays() -> None:
    assert statuses.as_before(entry(BACKEND), OURS, WELL) == WELL
    assert statuses.as_before(entry(BACKEND, {"conditions": [stored(READY), stored(ILL)]}), OURS, WELL) == ILL


def test_every_ancestor_says_what_gateways_have_confirmed() -> None:
    status = statuses.with_programmed(policy(Ancestor(TARGET, (ACCEPTED,))), SERVED)
    assert status.ancestors == (Ancestor(TARGET, (ACCEPTED, SERVED)),)
    assert status.conditions == (ACCEPTED, SERVED)


def test_where_nothing_can_be_said_what_was_said_of_this_generation_stays() -> None:
    def left(before: object, kind: Kind = BACKEND) -> Condition:
        return statuses.unconfirmed(entry(kind, before), OURS, 4)

    unsaid = Condition("Programmed", "False", "Pending", "Not every ready gateway has confirmed it yet.")
    assert left(None) == unsaid
    assert left({"conditions": [stored(SERVED, 3)]}) == unsaid
    assert left({"conditions": [stored(READY, 4), stored(SERVED, 4)]}) == SERVED
    ancestors = [{**ours(), "conditions": [stored(SERVED, 4)]}, {**ours(), "conditions": [stored(SERVED, 3)]}]
    assert left({"ancestors": ancestors[:1]}, POLICY) == SERVED
    assert left({"ancestors": ancestors}, POLICY) == unsaid
