"""Endings that the upstream makes: by a Close, by leaving without one, by breaking the rules, by doing nothing."""

from __future__ import annotations

import json

from tests.integration.lives.life import Life
from tests.integration.lives.line import Gone
from tests.integration.lives.states import SMALL, TEXT

POINTS = ("", ",at-created", ",at-done", ",after-done")
CODES = (1000, 1001, 1008, 1011, 1012, 1013, 3000, 4004)
ILLEGAL = (0, 999, 1004, 1005, 1006, 1015, 2999, 5000)
FROZEN = "freeze:8000"
LOST = [("upstream_error", "upstream_lost")]


async def _turn(life: Life, mishap: str) -> None:
    """Ask for a turn in which, somewhere, that happens."""
    spoken = {} if life.rng.random() < 0.5 else TEXT
    await life.ask(f"{mishap}{life.rng.choice(POINTS)},{SMALL}", **spoken)


async def _told(life: Life, *wanted: tuple[str, str]) -> None:
    """The client is told why before the Close."""
    words = [(word["type"], word["code"]) for word in await life.last_words()]
    assert words == list(wanted), f"{life.story}: told {words}"
    await life.over()


async def close(life: Life) -> None:
    """With a code that may be relayed."""
    code = life.rng.choice(CODES)
    life.story.ends("upstream_closed", code)
    await _turn(life, f"close:{code}")
    await _told(life)


async def lose(life: Life) -> None:
    """By a reset, or by the end of the connection."""
    life.story.ends("upstream_lost", 1011)
    await _turn(life, life.rng.choice(("drop", "hang-up")))
    await _told(life, *LOST)


async def break_protocol(life: Life) -> None:
    """By what is no frame, or by a close code that must not be sent."""
    life.story.ends("upstream_invalid", 1011)
    await _turn(life, life.rng.choice(("garble", f"close:{life.rng.choice(ILLEGAL)}")))
    await _told(life, ("upstream_error", "upstream_protocol_error"))


async def fall_silent(life: Life) -> None:
    """By neither sending nor reading."""
    life.story.ends("upstream_silent", 1011)
    await _turn(life, FROZEN)
    await _told(life, *LOST)


async def stall(life: Life) -> None:
    """By not reading, while the client sends as fast as it can."""
    life.story.ends("upstream_stalled", 1011)
    await life.ask(f"{FROZEN},at-created")
    await life.event("response.created")
    life.host.narrow(life.story.session, "upstream")
    message = json.dumps({"type": "input_audio_buffer.append", "audio": "AAAA" * 12_000})
    for _ in range(50):
        await life.send(message)
    await _told(life, *LOST)


async def expire(life: Life) -> None:
    """By the provider's own limit; the connection was opened with `expire`."""
    life.story.ends("upstream_closed", 1001)
    try:
        await life.ask(f"wait,{SMALL}")
        while True:
            await life.line.recv()
    except Gone:
        await life.over()
