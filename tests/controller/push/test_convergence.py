"""Controllers that lag and die, a gateway, connections that are cut: in the end the gateway has the newest table.

Both sides are the real ones, without I/O: the controllers' channels and the gateway's subscription. Between them are
queues of texts; every step delivers one, or has something happen.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.push.channel import Channel, Ended
from controller.push.publication import Publication, published
from dataplane.sources.subscription import Action, Fetch, Redial, Send, Subscription
from dataplane.sources.transfer import Transfer
from dataplane.table import SCHEMA, messages
from dataplane.table.messages import Done, Offer, PartsMessage, SecretsMessage
from tests.controller.push.tables import SECRETS, mark, table

REPLICAS = ("10.0.0.1", "10.0.0.2", "10.0.0.3")


def routes(version: int) -> tuple[str, ...]:
    """Of the cluster at a version. Some versions differ in nothing that is served, and tables come back."""
    return f"a-{version // 2 % 3}", f"b-{version // 4}"


@dataclass
class Replica:
    """A controller that has seen the cluster up to a version."""

    seen: int = 1
    newest: Publication | None = None

    def __post_init__(self) -> None:
        self.compile()

    def compile(self) -> None:
        self.newest = published(table(*routes(self.seen)), SECRETS, mark(self.seen), self.newest)


@dataclass
class Link:
    """A connection."""

    channel: Channel
    to_gateway: deque[str] = field(default_factory=deque)
    to_controller: deque[str] = field(default_factory=deque)


@dataclass
class World:
    now: float = 0.0
    version: int = 1
    replicas: dict[str, Replica] = field(default_factory=lambda: {name: Replica() for name in REPLICAS})
    links: dict[str, Link] = field(default_factory=dict)
    subscription: Subscription = field(default_factory=lambda: Subscription("dp-0", "1"))
    fetching: tuple[str, Transfer] | None = None
    parts: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    """What the gateway said that it must not."""

    def change(self, _: str) -> None:
        self.version += 1

    def see(self, name: str) -> None:
        """A replica's mirror moves by one version."""
        replica = self.replicas[name]
        if replica.seen < self.version:
            replica.seen += 1
            replica.compile()
            self.publish(name)

    def publish(self, name: str) -> None:
        newest = self.replicas[name].newest
        if newest and name in self.links:
            self.links[name].channel.publish(newest, self.now)

    def restart(self, name: str) -> None:
        """A replica begins anew, with what it reads then."""
        self.cut(name)
        self.replicas[name] = Replica(seen=max(1, self.version - 1))

    def cut(self, name: str) -> None:
        if self.links.pop(name, None):
            if self.fetching and self.fetching[0] == name:
                self.fetching = None
            self.do(self.subscription.lost(name, self.now))

    def dial(self, name: str) -> None:
        if name not in self.links:
            self.links[name] = Link(Channel(self.now))
            self.publish(name)
            self.do(self.subscription.connected(name))

    def wait(self, _: str) -> None:
        self.now += 2.0
        for name, link in list(self.links.items()):
            try:
                link.channel.tick(self.now)
            except Ended:  # nothing was delivered for too long
                self.cut(name)
        self.do(self.subscription.look(self.now))

    def to_controller(self, name: str) -> None:
        link = self.links.get(name)
        if link and link.to_controller:
            try:
                link.channel.receive(link.to_controller.popleft(), self.now)
            except Ended as ended:
                self.faults.append(ended.reason)
                self.cut(name)

    def to_gateway(self, name: str) -> None:
        link = self.links.get(name)
        if link is None:
            return
        if (text := link.channel.next_text(self.now)) is not None:
            link.to_gateway.append(text)
        if link.to_gateway:
            self.hear(name, link.to_gateway.popleft())

    def hear(self, name: str, text: str) -> None:
        message = messages.read_by_data_plane(text)
        if isinstance(message, Offer):
            self.do(self.subscription.offered(name, message, self.now))
        elif self.fetching and self.fetching[0] == name:
            self.take(name, message)

    def take(self, name: str, message: PartsMessage | SecretsMessage | Done) -> None:
        assert self.fetching
        _, transfer = self.fetching
        if transfer.take(message):
            self.ask(name, transfer)

    def ask(self, name: str, transfer: Transfer) -> None:
        if want := transfer.want():
            self.links[name].to_controller.append(messages.encode(want))
            return
        self.fetching = None
        self.parts = {*transfer.delivery().outline.names()}
        self.subscription.loading()
        self.do(self.subscription.loaded(self.now))

    def do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Send(name, message):
                    self.links[name].to_controller.append(messages.encode(message))
                case Fetch(name, offer):
                    transfer = Transfer(offer, self.parts, SECRETS.keys() if self.parts else ())
                    self.fetching = name, transfer
                    self.ask(name, transfer)
                case Redial(name):
                    self.cut(name)

    def settle(self) -> None:
        """Nothing more happens; all replicas catch up, and whoever is away dials again."""
        for name in REPLICAS:
            while self.replicas[name].seen < self.version:
                self.see(name)
        for _ in range(60):
            for name in REPLICAS:
                self.dial(name)
                for _ in range(10):
                    self.to_gateway(name)
                    self.to_controller(name)
            self.wait("")


STEPS = ("change", "see", "see", "to_gateway", "to_gateway", "to_controller", "to_controller", "cut", "dial", "dial")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.sampled_from((*STEPS, "wait", "restart")), st.sampled_from(REPLICAS)), min_size=40, max_size=120
    )
)
def test_in_the_end_the_gateway_has_the_newest_table(steps: list[tuple[str, str]]) -> None:
    world = World()
    for step, name in steps:
        getattr(world, step)(name)
    world.settle()
    newest = world.replicas[REPLICAS[0]].newest
    assert newest
    expected = newest.offered[SCHEMA].table
    assert world.subscription.held
    assert world.subscription.held.table == expected
    assert {name: link.channel.holding.table for name, link in world.links.items()} == dict.fromkeys(REPLICAS, expected)
    assert not world.faults


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(REPLICAS)), min_size=40, max_size=120))
def test_a_lagging_replica_never_takes_the_gateway_back(steps: list[tuple[str, str]]) -> None:
    world = World()
    held = 0
    for step, name in steps:
        getattr(world, step)(name)
        if world.subscription.held:
            now = world.subscription.held.watermark.versions["routes"]
            assert now >= held
            held = now
