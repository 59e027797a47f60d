"""How much time of a session is billed, where a provider bills time and not tokens.

While the server detects turns by voice, it is the time by the clock; while the client ends turns itself, the length of
the audio that was sent and received. Pure: `now` is any clock that never goes back, in seconds.
Source: https://docs.x.ai/docs/guides/voice
"""

from __future__ import annotations

from dataplane.metering.usage import Tokens

PART = 60.0
"""Seconds after which a part is recorded, so that limits see what a session costs while it runs."""


class Stopwatch:
    """Of one session, which begins at `now`. `audio`: seconds of audio so far, `items`: as many that are billed by the
    piece."""

    __slots__ = ("_audio", "_by_audio", "_by_clock", "_items", "_manual", "_since")

    def __init__(self, now: float, *, manual: bool) -> None:
        self._since = now
        self._manual = manual
        self._by_clock = 0.0
        self._by_audio = 0.0
        """Seconds that are not recorded yet."""
        self._audio = 0.0
        self._items = 0

    def switch(self, now: float, audio: float, *, manual: bool) -> None:
        """Who ends turns from now on."""
        self._count(now, audio)
        self._manual = manual

    def _count(self, now: float, audio: float) -> None:
        if self._manual:
            self._by_audio += max(0.0, audio - self._audio)
        else:
            self._by_clock += max(0.0, now - self._since)
        self._since, self._audio = now, audio

    def part(self, now: float, audio: float, items: int) -> Tokens | None:
        """What is to be recorded, if there is a part of it."""
        self._count(now, audio)
        return self._taken(items) if self._by_clock + self._by_audio >= PART else None

    def rest(self, now: float, audio: float, items: int) -> Tokens | None:
        """What is to be recorded at the end, if anything is."""
        self._count(now, audio)
        taken = self._taken(items)
        return taken if taken != Tokens() else None

    def _taken(self, items: int) -> Tokens:
        taken = Tokens(
            seconds=round(self._by_audio, 6), session_seconds=round(self._by_clock, 6), items=items - self._items
        )
        self._by_clock, self._by_audio, self._items = 0.0, 0.0, items
        return taken
