"""Texts of an answer that comes in pieces, under guardrails. Of what enforces, nothing is shown that could still be
part of a finding, and nothing at all before those have answered who must be asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from dataplane.guardrails.judge import Direction
from dataplane.guardrails.texts import Place, within
from dataplane.guardrails.window import Out, Window
from dataplane.http.jury import Blocked, Jury, aside


class Text:
    """One of them. `json`: it is JSON, and judged by what is in it, once it is whole."""

    def __init__(self, jury: Jury, said: Direction, name: str, *, json: bool) -> None:
        self.ended = False
        self._jury, self._said, self._name, self._json = jury, said, name, json
        self._window = Window(jury.judges[said])
        self._judge = jury.judges[said]
        self._pieces: list[str] = []
        self._shown: list[str] = []

    async def add(self, piece: str) -> str:
        """What may be shown now. Raises Blocked."""
        if self.ended and piece and self._jury.enforces(self._said):
            raise self._jury.unreadable(self._said, "text followed its end", self._name)
        if not self._jury.weigh(self._said, piece, self._name):
            return piece
        self._pieces.append(piece)
        if self._json:
            return ""
        return self._showing(await aside(len(piece), partial(self._window.add, piece)))

    async def end(self) -> str:
        """The rest of it. Raises Blocked."""
        self.ended = True
        text = "".join(self._pieces)
        self._pieces.clear()
        if self._json:
            return await self._whole(text)
        rest = self._showing(await aside(len(text), self._window.end))
        shown = "".join(self._shown)
        self._jury.know(self._said, text, shown)
        if not self._judge.remote:
            return rest
        whole = await self._whole(shown)
        return whole if self._judge.waits else rest

    def _showing(self, out: Out) -> str:
        self._jury.found(out.verdict.hits, self._said, self._name)
        if out.verdict.blocked is not None:
            raise Blocked(out.verdict.blocked)
        self._shown.append(out.shown)
        return out.shown

    async def _whole(self, text: str) -> str:
        kept = [text]

        def put(new: str) -> None:
            kept[0] = new

        def places() -> Iterator[Place]:
            if self._json:
                return within(kept[0], self._name, put, self._said)
            return iter([Place(self._name, kept[0], put, self._said)])

        await self._jury.read(places, self._said)
        return kept[0]


@dataclass(slots=True)
class Texts:
    """All of one answer, by the name of the stream that each is."""

    jury: Jury
    _all: dict[str, Text] = field(default_factory=dict)
    _going_on: dict[str, Text] = field(default_factory=dict)
    """Those that have not ended."""

    async def add(self, place: Place) -> str:
        """What may be shown of a piece now. Raises Blocked."""
        text = self._all.get(place.stream)
        if text is None:
            text = Text(self.jury, place.said, place.name, json=place.json)
            self._all[place.stream] = self._going_on[place.stream] = text
        return await text.add(place.text)

    async def end(self, beginning: str = "", *, whole: bool = False) -> list[tuple[str, str]]:
        """End those whose names begin so, or the one of this name: the name of each that has a rest, and that. Raises
        Blocked."""
        going = self._going_on
        ending = [beginning] if whole else [name for name in going if name.startswith(beginning)]
        texts = [(name, going.pop(name)) for name in ending if name in going]
        return [(name, rest) for name, text in texts if (rest := await text.end())]
