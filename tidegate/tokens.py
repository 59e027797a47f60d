"""Tokens of a turn for people: from a provider's usage object to a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tidegate.client import field


def tokens(usage: object) -> Counter[str]:
    """A usage object as counts: `in text`, `in audio`, …, `out audio`; `in` and `out` are the sums."""
    counts: Counter[str] = Counter()
    for side, name in (("in", "input"), ("out", "output")):
        counts[side] = _number(field(usage, f"{name}_tokens"))
        for modality in ("text", "audio", "image"):
            counts[f"{side} {modality}"] = _number(field(usage, f"{name}_token_details", f"{modality}_tokens"))
    counts["cached"] = _number(field(usage, "input_token_details", "cached_tokens"))
    return +counts


def shown(used: Mapping[str, int]) -> str:
    """`52 tokens in (32 text, 20 audio; 16 of them cached), 9 out (9 text)`."""
    if not used:
        return "not reported"
    cached = f"; {used['cached']} of them cached" if used.get("cached") else ""
    parts = []
    for side, extra in (("in", cached), ("out", "")):
        modalities = ", ".join(f"{used[key]} {key.split()[1]}" for key in used if key.startswith(f"{side} "))
        parts.append(f"{used.get(side, 0)}{' tokens' if side == 'in' else ''} {side}")
        parts[-1] += f" ({modalities}{extra})" if modalities else ""
    return ", ".join(parts)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
