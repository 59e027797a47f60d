"""What plain text in YAML means: what kubectl takes it for, so that a file means the same here and in a cluster.

kubectl reads YAML with sigs.k8s.io/yaml. That is neither YAML 1.1 nor 1.2: `yes` and `y` are true, `017` and `0o17`
are 15, `1e3` is 1000, but `1:30` and dates are text. PyYAML differs in each of these but the first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

Scalar = str | int | float | bool | None


def _spelt(*words: str) -> list[str]:
    return [spelling for word in words for spelling in (word, word.capitalize(), word.upper())]


_WORDS: Mapping[str, Scalar] = {
    **dict.fromkeys(["", "~", *_spelt("null")]),
    **dict.fromkeys(_spelt("y", "yes", "true", "on"), True),
    **dict.fromkeys(_spelt("n", "no", "false", "off"), False),
    **{f"{sign}{word}": float(f"{sign}inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
    **dict.fromkeys([".nan", ".NaN", ".NAN"], float("nan")),
}
_INTEGER = re.compile(r"([-+]?)(0[bB][01]+|0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[0-7]*|[1-9][0-9]*)", re.ASCII)
_DECIMAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)


def meaning(text: str) -> Scalar:
    """What a scalar that has neither quotes nor a tag stands for."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    digits = text.replace("_", "")
    if found := _INTEGER.fullmatch(digits):
        return _integer(found[1], found[2])
    return float(digits) if _DECIMAL.fullmatch(digits) else text


def _integer(sign: str, digits: str) -> Scalar:
    octal = digits[0] == "0" and digits.isdecimal()
    try:
        return int(f"{sign}{digits}", 8 if octal else 0)
    except ValueError:  # thousands of digits, which Python does not convert
        return float(f"{sign}{digits}")
