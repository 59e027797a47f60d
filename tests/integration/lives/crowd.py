"""Many sessions at a time, then the drain; and what came of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from random import Random

import aiohttp

from dataplane.metering.instruments import Instruments
from dataplane.telemetry.facade import Telemetry
from tests.dataplane import rig
from tests.integration.lives.left import nothing
from tests.integration.lives.life import Life, Story
from tests.integration.lives.mutants import Break
from tests.integration.lives.plan import DRAINED, Plan, draw, plan
from tests.integration.lives.tape import Call, Written, play
from tests.integration.lives.verdict import CHATTED, Truth, faults, of_records
from tests.integration.lives.world import World, meter, world
from tests.integration.talker import complete

PATIENCE = 60.0
"""Seconds that a session may take, however busy the machine is."""
REFUSALS = {  # how → status, and the code that the gateway counts
    "no-upgrade:429": (429, "upstream_refused"),
    "no-upgrade:503": (503, "upstream_refused"),
    "no-upgrade:401": (502, "upstream_credential_rejected"),
    "wrong key": (401, "invalid_api_key"),
}


@dataclass
class Crowd:
    """What is left of a run."""

    calls: list[Call]
    """To the meter."""
    written: Written
    truth: Truth
    midway: bytes
    exposition: bytes

    def faults(self) -> list[str]:
        """What its books do not agree on."""
        return list(faults(self.midway, self.exposition, self.written, self.truth))

    def survives(self, broken: Break) -> bool:
        """Would nobody see it, if this was broken in the gateway? The records are looked at first: they cost less."""
        written, instruments = Written(), Instruments()
        play(broken(self.calls, instruments), meter(instruments, written), lambda: None)
        return next(of_records(written, self.truth), None) is None and self._survives_scrapes(broken)

    def _survives_scrapes(self, broken: Break) -> bool:
        instruments, written, midway = Instruments(), Written(), list[bytes]()
        telemetry = Telemetry(instruments)
        try:
            calls = broken(self.calls, instruments)
            play(calls, meter(instruments, written), lambda: midway.append(telemetry.exposition()))
            return next(faults(midway[0], telemetry.exposition(), written, self.truth), None) is None
        finally:
            telemetry.shutdown()


async def gather(plans: list[Plan], last: list[Plan], rng: Random, *, at_once: int = 40) -> Crowd:
    """Hold these sessions; the `last` are open when the gateway is told to shut down."""
    stories: list[Story] = []
    async with nothing(), world() as it:
        room = asyncio.Semaphore(at_once)
        async with (
            aiohttp.ClientSession(f"http://127.0.0.1:{it.port}", headers={**rig.BEARER, "Host": "calm.test"}) as http,
            asyncio.TaskGroup() as group,
        ):
            for number, each in enumerate(plans):
                group.create_task(_live(it, each, room, stories))
                if number % 8 == 0:
                    group.create_task(_chat(http, Random(rng.random()), room, stories))
                if number % 20 == 0:
                    group.create_task(_be_refused(it, rng.choice(tuple(REFUSALS)), room, stories))
        await it.settled()
        lives = await asyncio.gather(*(each.begin(it) for each in last))
        it.tape.mark()
        midway = it.telemetry.exposition()
        await _drain(it, last, lives, stories)
        open_, spent = Counter(life.story.road for life in lives), it.spent()
        truth = Truth(it.simulator.ledger.turns, it.tap.sessions, stories, open_, spent)
        return Crowd(it.tape.calls, it.written, truth, midway, it.telemetry.exposition())


def mixed(seed: int, count: int, *, drained: int = 40) -> Coroutine[None, None, Crowd]:
    """So many sessions of all kinds; the last `drained` are drained."""
    rng = Random(seed)
    last = [plan(rng, "drained", DRAINED, rng.choice(DRAINED.states)) for _ in range(drained)]
    return gather(draw(rng, count - drained), last, rng)


async def _live(it: World, each: Plan, room: asyncio.Semaphore, stories: list[Story]) -> None:
    """Only so many begin at once; any number may wait for its end."""
    async with room:
        life = await each.begin(it)
    async with asyncio.timeout(PATIENCE):
        stories.append(await each.finish(life))


async def _chat(http: aiohttp.ClientSession, rng: Random, room: asyncio.Semaphore, stories: list[Story]) -> None:
    async with room:
        whole = await complete(http, rng, streamed=rng.random() < 0.5)
    stories.append(Story(CHATTED, "calm", status=200, refusal="" if whole else "upstream_lost"))


async def _be_refused(it: World, how: str, room: asyncio.Semaphore, stories: list[Story]) -> None:
    story = Story(how, "rough")
    async with room:
        wrong = how == "wrong key"
        opened = await Life(it, Random(0), story).open("" if wrong else how, key="no-such-key" if wrong else "")
    status, code = REFUSALS[how]
    assert (opened, story.status) == (False, status), f"{how}: {story}"
    story.refusal = code  # a provider's own words may have reached the client instead
    stories.append(story)


async def _drain(it: World, last: list[Plan], lives: list[Life], stories: list[Story]) -> None:
    """Sessions in all states, and then SIGTERM."""
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        group.create_task(it.drain())
        ends = [group.create_task(each.finish(life)) for each, life in zip(last, lives, strict=True)]
    stories += [end.result() for end in ends]
