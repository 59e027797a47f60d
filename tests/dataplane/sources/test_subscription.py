"""What a data plane does with the offers of several controllers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.sources.subscription import AGAIN, DOUBT, Action, Fetch, Held, Redial, Send, Subscription
from dataplane.table.delta import Outline, table_hash
from dataplane.table.messages import Failing, HealthMessage, Hello, Holds, Offer, Refuse, Stale
from dataplane.table.schemas import SERVED
from dataplane.table.watermark import Watermark, joined, older


def outline(name: str) -> Outline:
    return Outline(routes=(hashlib.sha256(name.encode()).hexdigest(),))


def hash_of(name: str) -> str:
    return table_hash(outline(name))


def at(version: int, epoch: int = 1, **kinds: int) -> Watermark:
    return Watermark(epoch=epoch, versions={"backends": version, **kinds})


def offer(name: str, watermark: Watermark, *, known: bool = False) -> Offer:
    return Offer(schema_number=2, table=hash_of(name), watermark=watermark, outline=None if known else outline(name))


@dataclass
class Rig:
    """A subscription, and what it has asked for."""

    subscription: Subscription = field(default_factory=lambda: Subscription("gateway-1", "1.0"))
    now: float = 100.0
    fetching: Fetch | None = None
    sent: list[tuple[str, object]] = field(default_factory=list)
    redialled: list[str] = field(default_factory=list)

    def connect(self, *peers: str) -> None:
        for peer in peers:
            self.act(self.subscription.connected(peer))

    def offer(self, peer: str, name: str, watermark: Watermark, *, known: bool = False) -> None:
        self.act(self.subscription.offered(peer, offer(name, watermark, known=known), self.now))

    def offer_and_hear(self, peer: str, name: str, watermark: Watermark) -> None:
        """From a controller that wants to know how providers are doing."""
        hearing = offer(name, watermark).model_copy(update={"hears": ("health", "weather")})
        self.act(self.subscription.offered(peer, hearing, self.now))

    def load(self) -> None:
        assert self.fetching
        self.fetching = None
        self.subscription.loading()
        self.act(self.subscription.loaded(self.now))

    def refuse(self, *reasons: str) -> None:
        self.fetching = None
        self.subscription.loading()
        self.act(self.subscription.refused(reasons, self.now))

    def lose(self, peer: str) -> None:
        if self.fetching and self.fetching.peer == peer:
            self.fetching = None
        self.act(self.subscription.lost(peer, self.now))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.act(self.subscription.look(self.now))

    def act(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Send(peer, message):
                    self.sent.append((peer, message))
                case Fetch():
                    assert self.fetching is None
                    self.fetching = action
                case Redial(peer):
                    self.redialled.append(peer)
                    if self.fetching and self.fetching.peer == peer:
                        self.fetching = None

    def said(self) -> list[tuple[str, object]]:
        """Since the last time, but for greetings."""
        said, self.sent = [each for each in self.sent if not isinstance(each[1], Hello)], []
        return said

    def asked(self) -> str:
        """From whom it is fetching."""
        return self.fetching.peer if self.fetching else ""

    @property
    def holds(self) -> str:
        return self.subscription.held.table if self.subscription.held else ""


def holding(name: str, watermark: Watermark, *peers: str) -> Rig:
    """A data plane that holds a table, which the first of these controllers offered."""
    rig = Rig()
    rig.connect(*peers)
    rig.offer(peers[0], name, watermark)
    rig.load()
    rig.said()
    return rig


def test_a_data_plane_says_what_it_has() -> None:
    rig = Rig()
    rig.connect("a")
    assert rig.sent == [("a", Hello(schemas=SERVED, pod="gateway-1", version="1.0"))]
    rig.offer("a", "one", at(5))
    rig.load()
    rig.connect("b")
    hello = Hello(schemas=SERVED, table=hash_of("one"), watermark=at(5), pod="gateway-1", version="1.0")
    assert rig.sent[-1] == ("b", hello)


def test_the_first_table_is_fetched_and_all_are_told() -> None:
    rig = Rig()
    rig.connect("a", "b")
    rig.offer("a", "one", at(5))
    assert rig.fetching == Fetch("a", offer("one", at(5)))
    rig.load()
    held = Holds(table=hash_of("one"), watermark=at(5))
    assert rig.said() == [("a", held), ("b", held)]


def test_the_same_table_is_fetched_once() -> None:
    rig = Rig()
    rig.connect("a", "b")
    rig.offer("a", "one", at(5))
    rig.offer("b", "one", at(7))
    rig.load()
    assert not rig.asked()
    assert rig.said().count(("b", Holds(table=hash_of("one"), watermark=at(5)))) == 1


def test_a_table_that_is_held_is_not_fetched_and_is_as_new_as_the_newest_that_offered_it() -> None:
    rig = holding("one", at(5), "a", "b")
    rig.offer("b", "one", at(9), known=True)
    assert not rig.asked()
    assert rig.said() == [("b", Holds(table=hash_of("one"), watermark=at(9)))]
    rig.offer("a", "two", at(8))
    assert rig.said() == [("a", Stale(table=hash_of("two"), watermark=at(9)))]


def test_an_equal_table_is_never_stale() -> None:
    rig = holding("one", at(9), "a", "b")
    rig.offer("b", "one", at(2), known=True)
    assert rig.said() == [("b", Holds(table=hash_of("one"), watermark=at(9)))]


def test_a_controller_that_lags_behind_does_not_take_it_back() -> None:
    rig = holding("new", at(9), "a", "b")
    rig.offer("b", "old", at(5))
    rig.wait(DOUBT * 10)
    assert rig.said() == [("b", Stale(table=hash_of("old"), watermark=at(9)))]
    assert (rig.fetching, rig.redialled) == (None, [])
    rig.offer("b", "newer", at(10))
    assert rig.asked() == "b"


def test_two_that_are_each_behind_the_other_do_not_take_turns() -> None:
    rig = holding("one", at(5, secrets=1), "a", "b")
    rig.offer("b", "two", at(4, secrets=2))
    assert rig.said() == [("b", Stale(table=hash_of("two"), watermark=at(5, secrets=1)))]
    rig.offer("b", "both", at(5, secrets=2))
    assert rig.asked()


def test_another_epoch_holds_over_all_versions() -> None:
    rig = holding("one", at(900), "a", "b")
    rig.offer("b", "restored", at(5, epoch=2))
    assert rig.asked()
    rig.load()
    rig.offer("a", "one", at(901))
    assert rig.said()[-1] == ("a", Stale(table=hash_of("one"), watermark=at(5, epoch=2)))


def test_a_restarted_controller_with_the_same_table_costs_nothing() -> None:
    rig = holding("one", at(5), "a")
    rig.lose("a")
    rig.connect("a")
    rig.offer("a", "one", at(5), known=True)
    assert not rig.asked()
    assert rig.said() == [("a", Holds(table=hash_of("one"), watermark=at(5)))]


def test_older_ones_are_believed_where_there_is_nothing_else() -> None:
    """The cluster's storage was restored, or a replica was ahead and died."""
    rig = holding("new", at(9), "a", "b", "c")
    rig.lose("a")
    rig.offer("b", "older", at(4))
    rig.offer("c", "old", at(5))
    assert (rig.fetching, rig.said()) == (None, [])
    rig.wait(DOUBT - 0.1)
    assert not rig.asked()
    rig.wait(0.2)
    assert rig.fetching == Fetch("c", offer("old", at(5)))
    rig.load()
    assert rig.subscription.held == Held(hash_of("old"), at(5))
    assert rig.said()[-1] == ("b", Stale(table=hash_of("older"), watermark=at(5)))


def test_one_that_caught_up_ends_the_doubt() -> None:
    rig = holding("new", at(9), "a", "b", "c")
    rig.lose("a")
    rig.offer("b", "old", at(4))
    rig.wait(DOUBT / 2)
    rig.offer("c", "new", at(9))
    rig.wait(DOUBT)
    assert not rig.asked()
    assert ("b", Stale(table=hash_of("old"), watermark=at(9))) in rig.said()


def test_one_that_was_told_stale_is_asked_again_once_nobody_else_is_there() -> None:
    rig = holding("new", at(9), "a", "b")
    rig.offer("b", "old", at(5))
    rig.said()
    rig.lose("a")
    assert rig.redialled == ["b"]
    rig.wait(1)
    assert rig.redialled == ["b"]
    rig.lose("b")
    rig.connect("b")
    rig.offer("b", "old", at(5))
    rig.wait(DOUBT)
    assert rig.fetching == Fetch("b", offer("old", at(5)))


def test_a_refused_table_does_not_make_an_older_one_welcome() -> None:
    rig = holding("good", at(5), "a", "b")
    rig.offer("a", "bad", at(9))
    rig.refuse("route r: it is wrong")
    rig.offer("b", "old", at(3))
    rig.wait(DOUBT * 2)
    assert rig.holds == hash_of("good")
    assert not rig.asked()
    assert rig.said()[-1] == ("b", Stale(table=hash_of("old"), watermark=at(5)))


def test_a_table_that_cannot_be_served_is_refused_to_all_and_tried_again_later() -> None:
    rig = holding("good", at(5), "a", "b")
    rig.offer("a", "bad", at(6))
    rig.offer("b", "bad", at(6))
    rig.refuse("route r: it is wrong")
    refusal = Refuse(table=hash_of("bad"), reasons=("route r: it is wrong",))
    assert rig.said() == [("a", refusal), ("b", refusal)]
    assert rig.holds == hash_of("good")
    rig.now += AGAIN / 2
    rig.offer("a", "bad", at(6))
    assert (rig.said(), rig.fetching) == ([("a", refusal)], None)
    rig.now += AGAIN
    rig.offer("a", "bad", at(6))
    assert rig.asked()


def test_refused_then_mended() -> None:
    rig = holding("good", at(5), "a")
    rig.offer("a", "bad", at(6))
    rig.refuse("no")
    rig.offer("a", "mended", at(7))
    rig.load()
    assert rig.holds == hash_of("mended")


def test_a_schema_that_is_unknown_is_refused() -> None:
    rig = holding("one", at(5), "a")
    unknown = offer("two", at(6)).model_copy(update={"schema_number": 9})
    rig.act(rig.subscription.offered("a", unknown, rig.now))
    assert rig.said() == [("a", Refuse(table=hash_of("two"), reasons=(f"schema 9 is unknown; known are {SERVED}",)))]


def test_offers_wait_while_one_is_loaded_and_the_newest_is_next() -> None:
    rig = Rig()
    rig.connect("a", "b", "c")
    rig.offer("a", "one", at(1))
    rig.offer("b", "two", at(2))
    rig.offer("c", "three", at(3))
    rig.load()
    assert rig.fetching == Fetch("c", offer("three", at(3)))
    rig.load()
    assert rig.said()[-1] == ("b", Stale(table=hash_of("two"), watermark=at(3)))


def test_a_controller_that_goes_on_to_another_table() -> None:
    rig = Rig()
    rig.connect("a")
    rig.offer("a", "one", at(1))
    rig.fetching = None
    rig.offer("a", "two", at(2))
    assert rig.fetching == Fetch("a", offer("two", at(2)))


def test_while_it_is_loaded_a_new_offer_waits() -> None:
    rig = Rig()
    rig.connect("a")
    rig.offer("a", "one", at(1))
    rig.subscription.loading()
    rig.offer("a", "two", at(2))
    rig.load()
    assert rig.fetching == Fetch("a", offer("two", at(2)))


def test_a_connection_that_is_lost_while_fetching_gives_way_to_the_next() -> None:
    rig = Rig()
    rig.connect("a", "b")
    rig.offer("a", "one", at(1))
    rig.offer("b", "one", at(1))
    rig.lose("a")
    assert rig.fetching == Fetch("b", offer("one", at(1)))


def test_a_connection_that_is_lost_while_loading_changes_nothing() -> None:
    rig = Rig()
    rig.connect("a", "b")
    rig.offer("a", "one", at(1))
    rig.subscription.loading()
    rig.act(rig.subscription.lost("a", rig.now))
    rig.load()
    assert rig.holds == hash_of("one")
    assert rig.said() == [("b", Holds(table=hash_of("one"), watermark=at(1)))]


def test_an_offer_of_a_table_that_was_held_when_it_was_made() -> None:
    """It crossed what the data plane said of the next one."""
    rig = holding("one", at(5), "a", "b")
    rig.offer("b", "two", at(6))
    rig.load()
    rig.said()
    rig.offer("a", "one", at(6), known=True)
    assert (rig.fetching, rig.said()) == (None, [])


def test_offers_of_a_connection_that_is_lost() -> None:
    assert Subscription("", "").offered("a", offer("one", at(1)), 0.0) == []


def test_a_snapshot_is_replaced_by_what_is_newer_at_once_and_by_what_is_older_in_doubt() -> None:
    rig = Rig()
    rig.connect("a")
    rig.act(rig.subscription.booted(Held(hash_of("saved"), at(5)), rig.now))
    assert rig.said() == [("a", Holds(table=hash_of("saved"), watermark=at(5)))]
    rig.offer("a", "old", at(4))
    assert not rig.asked()
    rig.offer("a", "new", at(6))
    assert rig.asked()
    rig.lose("a")
    rig.connect("a")
    rig.offer("a", "old", at(4))
    rig.wait(DOUBT)
    assert rig.fetching == Fetch("a", offer("old", at(4)))


def trusting_an_older_one() -> Rig:
    """It fetches what is older from the one controller that is left."""
    rig = holding("one", at(5), "a", "b")
    rig.offer("a", "old", at(4))
    rig.wait(DOUBT)
    assert rig.fetching == Fetch("a", offer("old", at(4)))
    rig.said()
    return rig


def test_an_older_one_is_given_up_when_what_is_held_is_offered_again() -> None:
    rig = trusting_an_older_one()
    rig.offer("b", "one", at(5))
    assert (rig.fetching, rig.redialled, rig.holds) == (None, ["a"], hash_of("one"))
    assert rig.said() == [("b", Holds(table=hash_of("one"), watermark=at(5)))]


def test_what_is_offered_while_an_older_one_is_loaded_is_asked_for_anew() -> None:
    """That it is held was true when it was said."""
    rig = trusting_an_older_one()
    rig.subscription.loading()
    rig.offer("b", "one", at(5))
    rig.load()
    assert (rig.holds, rig.redialled) == (hash_of("old"), ["b"])
    rig.lose("b")
    rig.connect("b")
    rig.offer("b", "one", at(5))
    assert rig.fetching == Fetch("b", offer("one", at(5)))


def test_after_a_restart_nothing_is_under_way() -> None:
    rig = holding("one", at(5), "a")
    rig.offer("a", "two", at(6))
    rig.subscription.restart()
    rig.fetching = None
    assert not rig.subscription.busy
    rig.connect("a")
    rig.offer("a", "two", at(6))
    assert rig.asked()


VERSIONS = st.integers(0, 6)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), st.sampled_from("abc"), VERSIONS),
        st.tuples(st.just("lose"), st.sampled_from("abc"), VERSIONS),
        st.tuples(st.just("end"), st.booleans(), VERSIONS),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 1.0, 4.0]), VERSIONS),
    ),
    max_size=40,
)


@settings(max_examples=300)
@given(STEPS)
def test_whatever_comes(steps: list[tuple[str, object, int]]) -> None:
    """One table at a time; it goes back only where for `DOUBT` seconds nothing else was offered; every offer is
    answered once nothing is under way; and in the end it holds the newest that is offered."""
    rig = Rig()
    rig.connect("a", "b", "c")
    open_offers: dict[str, Offer] = {}
    for kind, what, version in steps:
        before, offered = rig.subscription.held, dict(open_offers)
        if kind == "offer":
            made = open_offers[str(what)] = offer(f"table-{version}", at(version))
            if rig.fetching and rig.fetching.peer == what and rig.fetching.offer != made:
                rig.fetching = None
            rig.offer(str(what), f"table-{version}", at(version))
        elif kind == "lose":
            rig.lose(str(what))
            rig.connect(str(what))
            open_offers.pop(str(what), None)
        elif kind == "end" and rig.fetching:
            goes_back = before and older(rig.fetching.offer.watermark, before.watermark)
            assert not goes_back or all(older(each.watermark, before.watermark) for each in offered.values() if before)
            rig.load() if what else rig.refuse("no")
        elif kind == "wait":
            rig.wait(float(str(what)))
        for peer in rig.redialled:
            rig.lose(peer)
            rig.connect(peer)
            open_offers.pop(peer, None)
        rig.redialled.clear()
    while rig.asked():
        rig.load()
    rig.now += AGAIN
    for peer in "abc":
        rig.offer(peer, "last", at(7))
    rig.load()
    assert rig.holds == hash_of("last")
    assert not rig.asked()


@given(
    st.builds(at, VERSIONS, st.integers(0, 2), secrets=VERSIONS),
    st.builds(at, VERSIONS, st.integers(0, 2), secrets=VERSIONS),
)
def test_watermarks(one: Watermark, other: Watermark) -> None:
    assert not older(one, one)
    both = joined(one, other)
    assert not older(both, one)
    assert not older(both, other)
    assert both == joined(other, one)
    if one.epoch != other.epoch:
        assert older(one, other) == (one.epoch < other.epoch)


WELL = HealthMessage(healthy=("ai/voice",))
ILL = HealthMessage(unhealthy={"ai/voice": {"eu": Failing(reason="lost", why="gone")}})


def health_said(rig: Rig) -> list[tuple[str, object]]:
    return [each for each in rig.said() if isinstance(each[1], HealthMessage)]


def test_how_providers_are_doing_is_told_where_it_is_news() -> None:
    rig = Rig()
    rig.connect("a", "b")
    rig.offer_and_hear("a", "one", at(5))
    rig.offer_and_hear("b", "one", at(5))
    assert health_said(rig) == []
    for health in (WELL, WELL, ILL, ILL):
        rig.act(rig.subscription.health(health))
    assert health_said(rig) == [("a", WELL), ("b", WELL), ("a", ILL), ("b", ILL)]


def test_a_controller_that_comes_is_told_once_and_one_that_is_too_old_never() -> None:
    rig = holding("one", at(5), "old")
    rig.act(rig.subscription.health(ILL))
    rig.connect("new")
    assert health_said(rig) == []
    rig.offer_and_hear("new", "one", at(5))
    rig.offer_and_hear("new", "two", at(6))
    rig.load()
    assert health_said(rig) == [("new", ILL)]
    rig.lose("new")
    rig.connect("new")
    rig.offer_and_hear("new", "two", at(6))
    assert health_said(rig) == [("new", ILL)]
