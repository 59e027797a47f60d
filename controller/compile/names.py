"""Names that lead nowhere: what exists instead, the likeliest first."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

_SHOWN = 10
_COMPARED = 1000
"""Names that one is compared with, which takes some 10 ms; of more, those that begin alike."""
_MOST = 200


class Instead:
    """What exists, for all names of one compilation that lead nowhere. For each namespace it is looked up so many times
    and no more: whoever has a hundred thousand such names has not mistyped one, and would keep everybody waiting."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()

    def too_often(self, namespace: str) -> str:
        """What is said instead of looking it up once more for what is written in this namespace, or nothing."""
        self._asked[namespace] += 1
        if self._asked[namespace] <= _MOST:
            return ""
        return f"more than {_MOST} names in {namespace} lead nowhere, so what exists is not listed here"

    def what_exists(self, namespace: str, name: str, names: Iterable[str]) -> str:
        """See the function of this name. `names` are not read where it is not looked up any more."""
        return self.too_often(namespace) or what_exists(name, list(names))


def what_exists(name: str, names: Collection[str]) -> str:
    """The end of a message about an unknown `name`, among these `names`."""
    if not names:
        return "there is none here"
    close = difflib.get_close_matches(name, _compared(name, names), n=3, cutoff=0.5)
    return f"there is: {some([*close, *sorted(set(names) - set(close))])}"


def nearest(name: str, names: Collection[str]) -> str:
    """`did you mean "helpdesk"?`; nothing, where no name is near."""
    by_lower = {each.lower(): each for each in _compared(name, names)}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f'did you mean "{by_lower[close[0]]}"?' if close else ""


def some(names: Sequence[str], between: str = ", ") -> str:
    """`a, b and 3 more`: a list that stays short."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{between.join(names[:_SHOWN])}{more}"


def _compared(name: str, names: Collection[str]) -> list[str]:
    if len(names) <= _COMPARED:
        return sorted(names)
    return sorted(each for each in names if each[:2].lower() == name[:2].lower())[:_COMPARED]
