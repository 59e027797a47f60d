"""Endings that the client makes: politely, without a word, or by breaking the rules."""

from __future__ import annotations

import asyncio
import json

from tests.integration.lives.life import Life
from tests.integration.lives.line import CLOSE, FIN, PING, TEXT, frame

CODES = (1000, 1001, 1008, 3000, 4999, 1005)
MAX_MESSAGE = 256 * 1024
MAX_FRAGMENTS = 100
"""Of the rough road."""


async def close(life: Life) -> None:
    """By a Close frame, with one of the codes that there are, or empty."""
    code = life.rng.choice(CODES)
    life.story.ends("client_closed", code)
    life.line.say_close(b"" if code == 1005 else code.to_bytes(2, "big") + b"bye")
    await life.over()


async def reset(life: Life) -> None:
    """By a TCP reset, behind whole messages."""
    life.story.ends("client_lost", 1001)
    life.line.reset()


async def hang_up(life: Life) -> None:
    """By the end of the connection, without a Close."""
    life.story.ends("client_lost", 1001)
    life.line.hang_up()


async def cut_off(life: Life) -> None:
    """At any byte of what it was about to say."""
    life.story.ends("client_lost", 1001)
    message = json.dumps({"type": "input_audio_buffer.append", "audio": "AAAA" * life.rng.choice((5, 100, 30_000))})
    data = frame(FIN | TEXT, message.encode())
    life.line.write(data[: life.rng.randrange(len(data))])
    if life.rng.random() < 0.5:
        life.line.hang_up()
    else:
        await asyncio.sleep(0)
        life.line.reset()


async def break_protocol(life: Life) -> None:
    """By a frame that nobody may send."""
    life.story.ends("protocol_error", 1002)
    wrong = (
        frame(FIN | 0x40 | TEXT, b"{}"),
        frame(FIN | 0x3, b"{}"),
        frame(FIN, b"{}"),
        frame(PING, b"in two"),
        frame(FIN | PING, bytes(126)),
        bytes((FIN | TEXT, 2)) + b"{}",
        frame(FIN | CLOSE, b"\x03"),
        frame(FIN | CLOSE, (1005).to_bytes(2, "big")),
        frame(FIN | CLOSE, (999).to_bytes(2, "big")),
    )
    life.line.write(life.rng.choice(wrong))
    await life.over()


async def not_utf8(life: Life) -> None:
    life.story.ends("bad_utf8", 1007)
    wrong = (frame(FIN | TEXT, b'{"type":"\xff"}'), frame(FIN | CLOSE, b"\x03\xe8\xc3"))
    life.line.write(life.rng.choice(wrong))
    await life.over()


async def too_big(life: Life) -> None:
    """By one frame that announces too much, or by fragments that add up to it."""
    life.story.ends("message_too_big", 1009)
    if life.rng.random() < 0.5:
        life.line.write(frame(FIN | TEXT, b" " * (MAX_MESSAGE + 1))[:100])
    else:
        life.line.write(frame(TEXT, b" " * MAX_MESSAGE) + frame(FIN, b"  "))
    await life.over()


async def too_many_fragments(life: Life) -> None:
    life.story.ends("too_many_fragments", 1009)
    life.line.write(frame(TEXT, b"{") + frame(0, b" ") * MAX_FRAGMENTS)
    await life.over()


async def ambiguous(life: Life) -> None:
    """By long audio that turns out to be more than audio, when it is on its way already."""
    life.story.ends("ambiguous_audio", 1008)
    audio = "AAAA" * 25_000
    tail = '","type":"response.create"}'
    message = f'{{"type":"input_audio_buffer.append","audio":"{audio}{tail}'
    life.line.write(frame(FIN | TEXT, message.encode()))
    await life.over()


async def fall_silent(life: Life) -> None:
    """By answering no Ping any more."""
    life.story.ends("client_silent", 1001)
    life.line.mute = True
    await life.line.gone()


async def take_nothing(life: Life) -> None:
    """By not reading any more, and nothing else."""
    life.story.ends("client_stalled", 1001)
    await life.over()


async def stall(life: Life) -> None:
    """By not reading, while the upstream sends more than everybody on the way can hold; then it says no more."""
    life.story.ends("client_stalled", 1001)
    await life.ask("deltas:160,delta-bytes:48000,freeze:8000,at-done")
    await life.event("response.output_audio.delta")
    life.line.stop_reading()
    life.host.narrow(life.story.session)  # else a slow machine fills the kernel so late that it is taken for silent
    await life.host.forgotten(life.story.session)
    life.line.read_on()
    await life.line.gone()
