"""What is under way in a session when its end comes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.integration.lives.life import Life
from tests.integration.talker import TRANSCRIBERS

TEXT = {"output_modalities": ["text"]}
DELTAS = ("response.output_text.delta", "response.output_audio.delta")
SMALL = "delta-bytes:600"
WINDOW = 4096
LONG = "deltas:10,delta-bytes:36000"
"""More than everybody on the way holds, where the kernel is told to hold little."""


@dataclass(frozen=True)
class State:
    enter: Callable[[Life], Awaitable[None]]
    url: str = ""
    """Scenarios that the connection is opened with."""
    told: bool = True
    """Will the upstream say what was used, if it is asked to stop and listened to for a while?"""
    window: int = 0
    """Bytes that the client takes while it does not read; 0: as the kernel has it."""
    weight: float = 1.0
    """How often a session is in it, against others."""


async def quiet(life: Life) -> None:
    """Between turns."""


async def held(life: Life) -> None:
    """In the middle of an answer, which ends when it is cancelled."""
    spoken = {} if life.rng.random() < 0.5 else TEXT
    await life.ask(f"wait,{SMALL}", **spoken)
    await life.created()
    await life.event(*DELTAS)


async def begun(life: Life) -> None:
    """Before the first piece."""
    await life.ask("stall")
    await life.created()


async def stuck(life: Life) -> None:
    """In a turn that nothing can end."""
    await life.ask("stall,no-cancel")
    await life.event("response.created")


async def late(life: Life) -> None:
    """In a turn that ends by itself, some time later, and cannot be cancelled."""
    await life.ask(f"slow:15,no-cancel,{SMALL}")
    await life.event(*DELTAS)


async def beside(life: Life) -> None:
    """In several turns at once."""
    await life.ask(f"wait,{SMALL}")
    await life.event(*DELTAS)
    for _ in range(life.rng.randint(1, 2)):
        await life.ask("stall", **TEXT)
        await life.created()


async def asked(life: Life) -> None:
    """A turn was asked for; nobody waits for it."""
    await life.ask("", **TEXT)
    await life.host.read(life.story.session, life.line.said)


async def unanswered(life: Life) -> None:
    """A turn was asked for, of an upstream that says nothing at all."""
    await asked(life)


async def after(life: Life) -> None:
    """In a turn whose end the upstream says when it is told that the session is over."""
    await life.ask(f"done-after-close,{SMALL}")
    await life.event(*DELTAS)


async def unheard(life: Life) -> None:
    """What the user said is being transcribed."""
    transcription = {"model": life.rng.choice(TRANSCRIBERS)}
    audio = {"input": {"turn_detection": None, "transcription": transcription}}
    await life.say("session.update", session={"type": "realtime", "audio": audio})
    await life.event("session.updated")
    await life.talker.append(life.rng.randint(1, 4))
    await life.say("input_audio_buffer.commit")
    await life.event("input_audio_buffer.committed")


async def unread(life: Life) -> None:
    """In an answer of which the client takes no more: the upstream has said it all, and its `response.done` waits
    behind the rest, and so does, at times, the beginning of another turn, which must be cancelled."""
    await _unread(life, LONG)
    if life.rng.random() < 0.4:
        await life.ask("stall", **TEXT)
        await life.host.read(life.story.session, life.line.said)


async def unread_close(life: Life) -> None:
    """The same, and behind it waits the upstream's Close."""
    await _unread(life, f"{LONG},close:1000,after-done")


async def _unread(life: Life, how: str) -> None:
    life.pieces = False  # with Pings between: who does not take our Pongs is not read any more
    life.host.narrow(life.story.session)
    await life.ask(how)
    await life.event("response.output_audio.delta")
    await life.stop_reading()


STATES = {
    "quiet": State(quiet),
    "held": State(held),
    "begun": State(begun),
    "stuck": State(stuck, told=False),
    "late": State(late),
    "beside": State(beside),
    "asked": State(asked),
    "after": State(after),
    "never transcribed": State(unheard, url="transcript-never", told=False),
    "transcribed late": State(unheard, url="transcript-ms:120"),
    "unanswered": State(unanswered, url="silent", told=False, weight=0.3),
    "unread": State(unread, window=WINDOW, weight=0.3),
    "unread close": State(unread_close, window=WINDOW, weight=0.2),
}
