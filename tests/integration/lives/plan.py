"""The mix: what each of thousands of sessions does, drawn from a seed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from tests.integration.lives import client_ends, gateway_ends, upstream_ends
from tests.integration.lives.life import Host, Life, Manner, Road, Story
from tests.integration.lives.states import STATES, WINDOW, State
from tests.integration.talker import KINDS

UNREAD = ("unread", "unread close")
"""States in which the client takes nothing any more."""
ALL = tuple(state for state in STATES if state not in (*UNREAD, "unanswered"))
MOST = (*ALL, "unread")
EACH = (*ALL, *UNREAD, "unanswered")
SILENT_ONES = ("quiet", "begun", "stuck", "never transcribed")
UNHURRIED = ("quiet", "stuck", "never transcribed")
"""States in which nothing must come before some time is over."""
LASTING = ("stuck", "never transcribed", "after", "unanswered")
"""States in which the gateway waits for the upstream to the last moment."""
NEVER = ("stuck", "after", "never transcribed")
"""States that only the end of the session ends."""
TURNS: tuple[str, ...] = (*KINDS, "noise")
WAYS: tuple[str, ...] = ("", "", "", "", "fragments:90", "drip:97", "ping:30", "no-close-reply", "transcript-late")
"""How the provider's connection behaves beside that."""


@dataclass(frozen=True)
class End:
    run: Callable[[Life], Awaitable[None]]
    weight: int
    states: tuple[str, ...] = EACH
    """In which it may come."""
    road: Road = "rough"
    limited: bool = False
    """Must each turn be admitted? Of other endings that is left to chance."""
    url: str = ""
    """Scenarios that the connection is opened with."""
    patient: bool = True
    """Does the gateway ask the upstream to stop, and hear it out? Not where it has lost it, or stopped in the middle of
    a message to it."""
    hushed: bool = False
    """Must the upstream ask for no answers of ours? When it resets the connection while we write one, what it said
    before may be lost, and nobody can know."""
    window: int = 0
    """Bytes that the client takes while it does not read; 0: as the kernel has it."""
    manners: tuple[Manner, ...] = ("takes nothing", "sips", "reads on")
    """How a client may behave that had stopped to read. Who must not stall meanwhile sips."""

    @property
    def prompt(self) -> bool:
        """Does it come without waiting for some time to be over?"""
        return self.run.__name__ not in ("fall_silent", "stall", "idle", "too_long", "ambiguous")

    @property
    def plain(self) -> bool:
        """Nothing else is to happen on these."""
        return bool(self.url or self.window or self.road in ("idle", "brief", "unnamed", "guarded"))


ENDS = {
    "client closes, all quiet": End(client_ends.close, 30, ("quiet",), "calm"),
    "client closes": End(client_ends.close, 12),
    "client resets": End(client_ends.reset, 8),
    "client hangs up": End(client_ends.hang_up, 6),
    "client is cut off": End(client_ends.cut_off, 10, patient=False),
    "client breaks the protocol": End(client_ends.break_protocol, 5),
    "client sends no UTF-8": End(client_ends.not_utf8, 3),
    "client sends too much": End(client_ends.too_big, 3),
    "client sends too many fragments": End(client_ends.too_many_fragments, 3),
    "client sends ambiguous audio": End(client_ends.ambiguous, 3, patient=False),
    "client falls silent": End(client_ends.fall_silent, 2, ALL),
    "client stalls": End(client_ends.stall, 1, ("quiet",), patient=False, window=WINDOW),
    "client takes nothing": End(client_ends.take_nothing, 2, UNREAD, manners=("takes nothing",)),
    "upstream closes": End(upstream_ends.close, 10, MOST, patient=False, manners=("reads on",)),
    "upstream is lost": End(upstream_ends.lose, 12, ALL, patient=False, hushed=True),
    "upstream breaks the protocol": End(upstream_ends.break_protocol, 6, MOST, patient=False, manners=("reads on",)),
    "upstream falls silent": End(upstream_ends.fall_silent, 2, SILENT_ONES, patient=False),
    "upstream stalls": End(upstream_ends.stall, 1, ("quiet",), patient=False),
    "upstream expires": End(upstream_ends.expire, 3, ("quiet",), url="expire:2000", patient=False),
    "operator": End(gateway_ends.by_operator, 6),
    "revoked": End(gateway_ends.revoked, 3),
    "idle": End(gateway_ends.idle, 3, (*SILENT_ONES, "unread"), "idle", manners=("sips",)),
    "duration": End(gateway_ends.too_long, 4, MOST, "brief", manners=("sips",)),
    "model not allowed": End(gateway_ends.model_not_allowed, 3, ("quiet",), "unnamed"),
    "guardrail": End(gateway_ends.blocked, 3, ("quiet",), "guarded"),
    "limit": End(gateway_ends.over_its_limit, 6, ("quiet", "late", "asked", "transcribed late"), limited=True),
    "limit, in a turn": End(gateway_ends.over_its_limit_in_a_turn, 4, ("held", "begun", "beside"), limited=True),
    "limit, for ever": End(gateway_ends.over_its_limit_for_ever, 3, NEVER, limited=True),
    "fault": End(gateway_ends.fault, 4),
}
DRAINED = End(gateway_ends.drained, 0, MOST, manners=("sips",))


@dataclass(frozen=True)
class Plan:
    """What one session does."""

    name: str
    end: End
    state: State
    turns: tuple[str, ...]
    way: str
    seed: int
    manner: Manner = "reads on"
    limited: bool = False

    @property
    def told(self) -> bool:
        return self.end.patient and self.state.told

    async def begin(self, host: Host) -> Life:
        """Open the session, hold its turns, and get it into its state."""
        rng = Random(self.seed)
        story = Story(
            f"{self.name}, {self.state.enter.__name__}, {self.way}, {self.turns}, {self.manner}",
            self.end.road,
            told=self.told,
            limited=self.limited,
        )
        life = Life(host, rng, story, manner=self.manner, pieces=rng.random() < 0.15)
        url = ",".join(part for part in (self.end.url, self.state.url, self.way) if part)
        assert await life.open(url, window=self.end.window or self.state.window), story
        for kind in self.turns:
            await life.hold(kind)
        await self.state.enter(life)
        return life

    async def finish(self, life: Life) -> Story:
        """End it; what must be written of it."""
        await self.end.run(life)
        life.count()
        return life.story


def draw(rng: Random, count: int) -> list[Plan]:
    """So many sessions: every ending at least once, in every state that it may come in if there is room, and the rest
    by weight."""
    every = [(name, end, state) for name, end in ENDS.items() for state in end.states]
    rng.shuffle(every)
    names, weights = list(ENDS), [end.weight for end in ENDS.values()]
    chosen = [next(each for each in every if each[0] == name) for name in names]
    chosen += [each for each in every if each not in chosen][: count - len(chosen)]
    for name in rng.choices(names, weights, k=count - len(chosen)):
        states = ENDS[name].states
        chosen += [(name, ENDS[name], state) for state in rng.choices(states, [STATES[each].weight for each in states])]
    rng.shuffle(chosen)
    chosen.sort(key=lambda each: each[1].prompt and each[2] not in LASTING)  # while they wait, the others work
    return [plan(rng, *each) for each in chosen]


def plan(rng: Random, name: str, end: End, state: str) -> Plan:
    """One session that ends so, in this state."""
    ways, kinds, manners = WAYS, TURNS, end.manners
    if state not in UNHURRIED:
        ways = tuple(way for way in ways if not way.startswith("drip"))
    if state in UNREAD:  # an event of ours does not fit into a message that the client has half
        ways = tuple(way for way in ways if not way.startswith("fragments"))
    if state == "unread close":  # who read on might get to it before the end that is meant
        manners = tuple(manner for manner in manners if manner != "reads on")
    if end.hushed:
        ways = tuple(way for way in ways if not way.startswith(("fragments", "ping")))
    if state == "unanswered":
        ways = tuple(way for way in ways if not way.startswith("transcript"))
        kinds = ()
    if STATES[state].url:  # it says already when transcripts come
        ways = tuple(way for way in ways if way != "transcript-late")
        kinds = tuple(kind for kind in kinds if kind not in ("audio", "vad"))
    way = "" if end.plain else rng.choice(ways)
    turns = rng.choices(kinds, k=rng.choice((0, 1, 1, 2))) if kinds and not end.plain else []
    limited = end.limited or (rng.random() < 0.25 and end.road != "calm")  # the gateway adds bytes of its own
    return Plan(name, end, STATES[state], tuple(turns), way, rng.randrange(2**32), rng.choice(manners), limited)
