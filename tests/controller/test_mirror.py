"""The mirror: what is newer wins, what is gone stays gone, and only what the compiler reads is a change."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.kinds import BACKEND, NAMESPACE, POD, POLICY, SECRET, SERVICE
from controller.mirror import GONE, Key, Mirror, Scope
from tests.controller.cluster import thing

ALL = Scope("Backend")


def names(mirror: Mirror, kind: str = "Backend") -> list[str]:
    return sorted(key.name for key in mirror.entries(kind))


def test_an_object_is_there_changes_and_goes() -> None:
    mirror = Mirror()
    assert mirror.see(BACKEND, thing(BACKEND, "a", 1, spec={"n": 1}))
    assert mirror.see(BACKEND, thing(BACKEND, "a", 2, spec={"n": 2}))
    assert [document["spec"] for document in mirror.documents()] == [{"n": 2}]
    assert mirror.see(BACKEND, thing(BACKEND, "a", 3, spec={"n": 2}), deleted=True)
    assert not list(mirror.documents())


def test_late_events_change_nothing() -> None:
    mirror = Mirror()
    mirror.see(BACKEND, thing(BACKEND, "a", 5, spec={"n": 5}))
    assert not mirror.see(BACKEND, thing(BACKEND, "a", 4, spec={"n": 4}))
    assert not mirror.see(BACKEND, thing(BACKEND, "a", 5, spec={"n": 4}))
    assert not mirror.see(BACKEND, thing(BACKEND, "a", 4), deleted=True)
    assert [document["spec"] for document in mirror.documents()] == [{"n": 5}]


def test_what_was_deleted_does_not_come_back_with_a_late_event_or_list() -> None:
    mirror = Mirror()
    mirror.see(BACKEND, thing(BACKEND, "a", 1))
    asked = mirror.asked(ALL)
    mirror.see(BACKEND, thing(BACKEND, "a", 7), deleted=True)
    assert not mirror.see(BACKEND, thing(BACKEND, "a", 6))
    mirror.replace(BACKEND, ALL, [thing(BACKEND, "a", 1)], 6, asked)
    assert names(mirror) == []
    assert mirror.see(BACKEND, thing(BACKEND, "a", 8))


def test_pods_come_and_go_and_what_is_remembered_of_them_has_a_bound() -> None:
    """They are listed once, and watched from then on."""
    mirror, last = Mirror(), 2 * GONE
    for number in range(last + 1):
        mirror.see(POD, thing(POD, f"p{number}", 2 * number + 1))
        mirror.see(POD, thing(POD, f"p{number}", 2 * number + 2), deleted=True)
    assert not mirror.see(POD, thing(POD, f"p{last}", 2 * last + 1))  # late
    assert mirror.see(POD, thing(POD, "p0", 1))  # far too late
    assert names(mirror, "Pod") == ["p0"]


def test_deleting_what_was_never_seen_is_no_change() -> None:
    mirror = Mirror()
    assert not mirror.see(BACKEND, thing(BACKEND, "a", 2), deleted=True)
    assert not mirror.see(BACKEND, thing(BACKEND, "a", 1))


def test_a_status_is_kept_and_is_no_change() -> None:
    mirror = Mirror()
    mirror.see(BACKEND, thing(BACKEND, "a", 1, spec={"n": 1}, status={"conditions": []}))
    (before,) = mirror.documents()
    noted = thing(BACKEND, "a", 2, spec={"n": 1}, status={"conditions": [1]}, metadata={"managedFields": [1]})
    assert not mirror.see(BACKEND, noted)
    (after,) = mirror.documents()
    assert after is before
    assert "status" not in after
    entry = mirror.get("Backend", "ai", "a")
    assert entry is not None
    assert (entry.version, entry.body["status"]) == (2, {"conditions": [1]})
    assert entry.body["spec"] is after["spec"]


def test_a_generation_and_a_label_are_changes() -> None:
    mirror = Mirror()
    mirror.see(BACKEND, thing(BACKEND, "a", 1, spec={}, metadata={"generation": 1}))
    assert mirror.see(BACKEND, thing(BACKEND, "a", 2, spec={}, metadata={"generation": 2}))
    entry = mirror.get("Backend", "ai", "a")
    assert entry is not None
    assert (entry.generation, entry.uid) == (2, "Backend-a")
    assert mirror.see(NAMESPACE, thing(NAMESPACE, "ai", 3))
    assert mirror.see(NAMESPACE, thing(NAMESPACE, "ai", 4, metadata={"labels": {"team": "voice"}}))


def test_of_secrets_the_version_is_read_of_pods_and_services_the_status() -> None:
    mirror = Mirror()
    mirror.see(SECRET, thing(SECRET, "s", 1, data={}))
    assert mirror.see(SECRET, thing(SECRET, "s", 2, data={}))
    for kind in (POD, SERVICE):
        mirror.see(kind, thing(kind, "p", 3, status={"at": "a"}))
        assert mirror.see(kind, thing(kind, "p", 4, status={"at": "b"}))
        assert not mirror.see(kind, thing(kind, "p", 5, status={"at": "b"}))


def test_a_list_says_what_no_event_said() -> None:
    mirror = Mirror()
    for name in ("kept", "gone"):
        mirror.see(BACKEND, thing(BACKEND, name, 2))
    bodies = [thing(BACKEND, "kept", 2), thing(BACKEND, "new", 3)]
    assert mirror.replace(BACKEND, ALL, bodies, 4, mirror.asked(ALL))
    assert names(mirror) == ["kept", "new"]
    assert ALL in mirror.synced
    assert not mirror.replace(BACKEND, ALL, bodies, 5, mirror.asked(ALL))
    assert mirror.asked(ALL) == 5


def test_replicas_that_know_the_same_say_so_whenever_they_have_listed() -> None:
    """The version of a list is that of the whole cluster. Each would be ahead in what it has listed last, so that no
    table of another one could follow its own."""
    one, other = Mirror(), Mirror()
    for mirror, version in ((one, 50), (other, 60)):
        mirror.replace(BACKEND, ALL, [thing(BACKEND, "a", 3), thing(BACKEND, "b", 7)], version, mirror.asked(ALL))
        mirror.see(BACKEND, thing(BACKEND, "b", 70), deleted=True)
    one.replace(BACKEND, ALL, [thing(BACKEND, "a", 3)], 80, one.asked(ALL))
    assert one.versions() == other.versions() == {"Backend": 70}


def test_a_list_knows_what_another_replica_knew_before_it() -> None:
    """One that began after the last deletion has no other way to know when that was."""
    late = Mirror()
    late.told(0, {"Backend": 60})
    late.replace(BACKEND, ALL, [thing(BACKEND, "a", 3)], 90, late.asked(ALL))
    assert late.versions() == {"Backend": 60}
    late.heard(0, {"Backend": 70})
    late.heard(1, {"Backend": 75})
    assert late.versions() == {"Backend": 60}
    late.replace(BACKEND, ALL, [thing(BACKEND, "a", 3)], 91, late.asked(ALL))
    assert late.versions() == {"Backend": 70}
    late.heard(0, {"Backend": 1000})
    late.replace(BACKEND, ALL, [thing(BACKEND, "a", 3)], 92, late.asked(ALL))
    assert (late.versions(), late.epoch) == ({"Backend": 70}, 0)


def test_of_a_deletion_that_no_event_told_a_list_says_no_more_than_that_it_was() -> None:
    mirror = Mirror()
    mirror.see(BACKEND, thing(BACKEND, "gone", 2))
    mirror.replace(BACKEND, ALL, [], 9, mirror.asked(ALL))
    assert mirror.versions() == {"Backend": 9}


def test_the_first_list_is_a_change_even_if_it_is_empty() -> None:
    mirror = Mirror()
    assert mirror.replace(BACKEND, ALL, [], 1, 0)
    assert not mirror.replace(BACKEND, ALL, [], 2, 1)


def test_what_came_after_a_list_was_made_stays() -> None:
    mirror = Mirror()
    asked = mirror.asked(ALL)
    mirror.see(BACKEND, thing(BACKEND, "new", 9, spec={"n": 9}))
    mirror.replace(BACKEND, ALL, [thing(BACKEND, "old", 3)], 5, asked)
    assert names(mirror) == ["new", "old"]
    mirror.replace(BACKEND, ALL, [thing(BACKEND, "new", 4, spec={"n": 4})], 5, asked)
    (new,) = mirror.documents()
    assert new["spec"] == {"n": 9}


def test_a_list_of_one_namespace_is_about_no_other() -> None:
    mirror = Mirror()
    mirror.see(SECRET, thing(SECRET, "mine", 1, namespace="a"))
    mirror.see(SECRET, thing(SECRET, "theirs", 1, namespace="b"))
    mirror.replace(SECRET, Scope("Secret", "a"), [], 3, 0)
    assert names(mirror, "Secret") == ["theirs"]
    assert mirror.count(Scope("Secret", "a")) == 0
    assert mirror.count(Scope("Secret")) == 1
    assert mirror.forget(Scope("Secret", "b"))
    assert not mirror.forget(Scope("Secret", "b"))
    assert mirror.synced == {Scope("Secret", "a")}


def test_a_storage_that_was_put_back_holds() -> None:
    mirror = Mirror()
    mirror.see(BACKEND, thing(BACKEND, "lost", 90))
    mirror.see(BACKEND, thing(BACKEND, "changed", 91, spec={"n": 91}))
    mirror.see(POLICY, thing(POLICY, "p", 92))
    assert mirror.replace(BACKEND, ALL, [thing(BACKEND, "changed", 4, spec={"n": 4})], 50, mirror.asked(ALL))
    assert mirror.epoch == 1
    assert [document["spec"] for document in mirror.documents() if document["kind"] == "Backend"] == [{"n": 4}]
    # What is told of other kinds from then on holds, too, and the storage was put back once.
    policies = Scope("Policy")
    mirror.replace(POLICY, policies, [thing(POLICY, "q", 5)], 51, mirror.asked(policies))
    assert mirror.epoch == 1
    assert names(mirror, "Policy") == ["q"]
    assert mirror.versions() == {"Backend": 50, "Policy": 51}  # of each kind something is gone


def test_a_storage_that_was_put_back_and_has_caught_up_holds() -> None:
    mirror = Mirror()
    mirror.see(BACKEND, thing(BACKEND, "lost", 90))
    mirror.see(BACKEND, thing(BACKEND, "changed", 91, spec={"n": 91}))
    mirror.see(BACKEND, thing(BACKEND, "deleted", 92), deleted=True)
    bodies = [thing(BACKEND, "changed", 4, spec={"n": 4}), thing(BACKEND, "deleted", 5)]
    assert mirror.replace(BACKEND, ALL, bodies, 100, mirror.asked(ALL))
    assert names(mirror) == ["changed", "deleted"]
    changed = mirror.get("Backend", "ai", "changed")
    assert changed is not None
    assert (changed.version, changed.document["spec"]) == (4, {"n": 4})


def test_a_storage_that_was_put_back_and_has_grown_since_is_told_by_any_object() -> None:
    """The list is as new as what was known; no object can be older than it was at that time."""
    mirror = Mirror()
    policies = Scope("Policy")
    for kind, scope in ((BACKEND, ALL), (POLICY, policies)):
        mirror.replace(kind, scope, [thing(kind, "a", 90, spec={"n": 90})], 91, mirror.asked(scope))
    assert mirror.replace(BACKEND, ALL, [thing(BACKEND, "a", 4, spec={"n": 4})], 95, mirror.asked(ALL))
    assert mirror.epoch == 1
    assert [document["spec"] for document in mirror.documents() if document["kind"] == "Backend"] == [{"n": 4}]
    assert mirror.synced == {ALL}  # nothing else is known of this epoch
    mirror.see(BACKEND, thing(BACKEND, "a", 96), deleted=True)
    mirror.replace(BACKEND, ALL, [thing(BACKEND, "a", 4)], 97, mirror.asked(ALL))
    assert (mirror.epoch, names(mirror)) == (2, ["a"])


def test_another_replica_has_seen_that_it_was_put_back() -> None:
    mirror = Mirror()
    assert not mirror.told(2, {"Backend": 70})
    mirror.replace(BACKEND, ALL, [thing(BACKEND, "a", 90)], 91, mirror.asked(ALL))
    assert not mirror.told(2, {"Backend": 80})
    assert mirror.told(3, {"Backend": 40})
    assert (mirror.epoch, mirror.synced, names(mirror)) == (3, set(), ["a"])
    assert mirror.replace(BACKEND, ALL, [thing(BACKEND, "a", 35)], 41, mirror.asked(ALL))
    assert (mirror.epoch, mirror.versions()) == (3, {"Backend": 40})


def test_an_earlier_life_knew_more() -> None:
    mirror = Mirror()
    mirror.told(3, {"Backend": 70})
    mirror.told(2, {"Backend": 10})
    assert (mirror.epoch, mirror.asked(ALL)) == (3, 70)
    mirror.replace(BACKEND, ALL, [], 40, mirror.asked(ALL))
    assert (mirror.epoch, mirror.asked(ALL)) == (4, 40)
    mirror.told(3, {"Backend": 70})
    assert (mirror.epoch, mirror.asked(ALL)) == (4, 40)


def test_what_is_no_number_or_no_mapping_is_the_oldest() -> None:
    mirror = Mirror()
    mirror.see(BACKEND, {"metadata": {"name": "a", "namespace": "ai", "resourceVersion": "x"}})
    mirror.see(BACKEND, {"metadata": None})
    assert {key: entry.version for key, entry in mirror.all()} == {
        Key("Backend", "ai", "a"): 0,
        Key("Backend", "", ""): 0,
    }
    assert [str(Scope("Secret", "a")), str(ALL)] == ["Secret in a", "Backend"]


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=12), st.randoms(use_true_random=False))
def test_in_whatever_order_events_come_and_however_often_the_end_is_the_same(
    history: list[tuple[int, bool]], random: object
) -> None:
    """Each entry is a write of one of three objects, or its deletion, in the order in which the cluster had them."""
    events = [(thing(BACKEND, f"o{who}", at, spec={"at": at}), gone) for at, (who, gone) in enumerate(history, 1)]
    told = [*events, *events]
    random.shuffle(told)  # type: ignore[attr-defined]
    mirror = Mirror()
    true: dict[object, object] = {}
    for body, gone in told:
        mirror.see(BACKEND, body, deleted=gone)
    for body, gone in events:
        name = body["metadata"]["name"]  # type: ignore[index]
        true.pop(name, None)
        if not gone:
            true[name] = body["spec"]
    assert {key.name: entry.document["spec"] for key, entry in mirror.all()} == true
