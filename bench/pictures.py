"""Bar charts as SVG, legible on light and dark pages. Pure: text in, text out, the same for the same figures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

WIDTH, LABELS, NUMBERS, TOP, ROW, BAR = 760, 150, 150, 54, 30, 18
"""Pixels: of the picture, of the names at the left, of the numbers at the right, above, of a row and of its bar."""
WIDE = 40.0
"""If the longest bar is so many times the shortest, lengths are logarithmic: else the short ones could not be seen."""
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 15px }
.small { fill: #59636e; font-size: 12px }
.bar { fill: #9aa7b5 }
.own { fill: #0b7285 }
.spread { stroke: #1f2328; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .small { fill: #9198a1 }
  .bar { fill: #59636e }
  .own { fill: #22b8cf }
  .spread { stroke: #e6edf3 }
}
"""


@dataclass(frozen=True)
class Bar:
    """A value and between what it lay; `own`: ours, to be seen first."""

    name: str
    value: float
    least: float
    most: float
    shown: str
    own: bool = False


def chart(title: str, note: str, bars: list[Bar]) -> str:
    """Horizontal bars from the top down, each with a line from the least to the most."""
    place, logarithmic = _scale(bars)
    height = TOP + ROW * len(bars) + 8
    note = f"{note}; lengths are logarithmic" if logarithmic else note
    rows = "\n".join(_row(bar, TOP + ROW * number, place(bar.value), place(bar.least), place(bar.most))
                     for number, bar in enumerate(bars))  # fmt: skip
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">\n<style>{STYLE}</style>\n'
        f'<text class="title" x="0" y="18">{escape(title)}</text>\n'
        f'<text class="small" x="0" y="38">{escape(note)}</text>\n{rows}\n</svg>\n'
    )


class _Scale:
    """From a value to a length in pixels."""

    def __init__(self, bottom: float, top: float, *, logarithmic: bool) -> None:
        self._bottom, self._top, self._logarithmic = bottom, top, logarithmic

    def __call__(self, value: float) -> float:
        room = WIDTH - LABELS - NUMBERS
        if value <= 0 or self._top <= 0:
            return 0.0
        if self._logarithmic:
            return room * max(0.0, math.log(value / self._bottom)) / math.log(self._top / self._bottom)
        return room * value / self._top


def _scale(bars: list[Bar]) -> tuple[_Scale, bool]:
    top = max((bar.most for bar in bars), default=1.0)
    least = min((bar.value for bar in bars if bar.value > 0), default=top)
    logarithmic = least > 0 and top / least > WIDE
    return _Scale(least / 3, top, logarithmic=logarithmic), logarithmic


def _row(bar: Bar, y: int, length: float, least: float, most: float) -> str:
    middle, kind = y + BAR / 2, "own" if bar.own else "bar"
    numbers = LABELS + max(length, most) + 8
    return (
        f'<text x="{LABELS - 8}" y="{middle + 4.5:.1f}" text-anchor="end">{escape(bar.name)}</text>'
        f'<rect class="{kind}" x="{LABELS}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"/>'
        f'<line class="spread" x1="{LABELS + least:.1f}" x2="{LABELS + most:.1f}" y1="{middle:.1f}" y2="{middle:.1f}"/>'
        f'<text x="{numbers:.1f}" y="{middle + 4.5:.1f}">{escape(bar.shown)}</text>'
    )
