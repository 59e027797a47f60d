"""What a real API server says of a document, held against what Tidegate says.

Rules have one wording: the API server prints the message of the CRD, which is Tidegate's own. What it finds by the
schema alone it says in words of its own, and where Tidegate can be more precise than CEL, it is. IN_OTHER_WORDS has
all of these: everything else must be the same to the letter, at the same field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Said:
    """One thing that is wrong, and where."""

    path: str
    message: str


@dataclass(frozen=True)
class Refusal:
    """What an API server says. `whole`: that is all of it, and not only what it found before it looks at rules."""

    causes: tuple[Said, ...]
    whole: bool


SAME, ABOVE, BELOW = "the same field", "one above", "one below"

_AMOUNT = r"write a (?:duration|size) .*"
_TYPES = {
    "must be text, .*": "string",
    f"{_AMOUNT}|must be one of .*": "string",
    "must be a whole number, .*": "integer|int32|int64",
    "must be true or false, .*": "boolean",
    "must be a mapping .*": "object",
    "must be a list .*": "array",
}
IN_OTHER_WORDS: Sequence[tuple[str, str, str]] = (
    # Tidegate says, the API server says, and there. Both are regular expressions; {0} is the first group.
    ("is missing, and it is required", "Required value", SAME),
    (f"must not be empty|{_AMOUNT}", ".* should be at least 1 chars long", SAME),
    ("must not be empty: write at least one entry, .*", ".* should have at least 1 items", SAME),
    (r"is too long: at most (\d+) characters are allowed", "Too long: may not be more than {0} bytes", SAME),
    (_AMOUNT, r"Too long: may not be more than \d+ bytes", SAME),
    (r"has (\d+) entries; at most (\d+) are allowed", "Too many: {0}: must have at most {1} items", SAME),
    (r"must be (\d+) or more", ".* should be greater than or equal to {0}", SAME),
    (r"must be (\d+) or less", ".* should be less than or equal to {0}", SAME),
    (r"must be \d+ or (?:more|less)", '.* must be of type int(?:32|64): "float64"', SAME),  # beyond 64 bits
    ('unknown value "(.*?)"; .*', 'Unsupported value: "{0}": supported values: .*', SAME),
    ('unknown field "(.*?)"; .*', "unknown field", SAME),
    ("must be a list .*", "unknown field", BELOW),
    *((ours, rf".* must be of type (?:{theirs}): .*", SAME) for ours, theirs in _TYPES.items()),
    ('"(.*)" is used twice; each may appear once', 'Duplicate value: "{0}"', SAME),
    ('"(.*)" is used twice; each may appear once', 'Duplicate value: {{"[a-z]+":"{0}"}}', ABOVE),
    # Rules, where CEL cannot name the culprit.
    ("(set exactly one of .*); set here: .*", ".*: {0}", SAME),
    ('(write a path that begins with "/" .*)', ".*: {0}", ABOVE),
    ("(the same target is listed twice: remove one)", ".*: {0}", ABOVE),
    ("no provider is called .*", ".*: every target's provider must be the name of one of spec.providers", ABOVE),
    ("'[*]' stands for what .*", ".*: a target's model may hold '[*]' only when name does: .*", ABOVE),
    (".* is of group .*: write that", ".*: for kind (?:HTTPRoute|Backend) write group .*", ABOVE),
    ('".*" is (set twice; keep one, or use add for a second value)', ".*: a header is {0} .*", ABOVE),
    ('".*" is (also in set or add; .*)', ".*: a header in remove is {0} .*", ABOVE),
    (r"\d+ is (below reserve).* (so that no turn could ever begin: .*)", ".*: a max of tokens is {0} .* {1}", ABOVE),
    (".* are (limited twice).*: keep one", ".*: the same tokens are {0} .*: keep one", ABOVE),
)

_NOT_ALL = "some validation rules were not checked"
_UNKNOWN = re.compile(r'unknown field "((?:[^"\\]|\\.)*)"')


def refusal(status: Mapping[str, object]) -> Refusal:
    """Of the Status object that came back."""
    details = status.get("details")
    causes = details.get("causes", []) if isinstance(details, dict) else []
    if not causes:  # what strict decoding finds has no causes, only a message
        unknown = _UNKNOWN.findall(str(status["message"]))
        return Refusal(tuple(Said(path, "unknown field") for path in unknown), whole=False)
    placed = (Said(cause["field"], cause["message"]) for cause in causes if cause["field"] != "<nil>")
    return Refusal(tuple(placed), whole=not any(_NOT_ALL in cause["message"] for cause in causes))


def differences(ours: Sequence[str], theirs: Refusal) -> list[str]:
    """Where the two are not of one mind. `ours` are errors of crds.parse as text."""
    told = [Said(*error.split(": ", 1)) for error in ours]
    meant = [(mine, cause) for mine in told for cause in theirs.causes if _same(mine, cause)]
    unsaid = [mine for mine in told if mine not in [pair[0] for pair in meant]]
    more = [cause for cause in theirs.causes if cause not in [pair[1] for pair in meant] and not _echo(cause, meant)]
    found = [f"only the API server says {cause}" for cause in more]
    if theirs.whole or not meant:
        found += [f"only Tidegate says {mine}" for mine in unsaid]
    return found


def _same(ours: Said, theirs: Said) -> bool:
    if theirs.message.endswith(f": {ours.message}") and _lies(ours, theirs, SAME):
        return True
    return any(
        re.fullmatch(expected.format(*map(re.escape, found.groups())), theirs.message) and _lies(ours, theirs, place)
        for mine, expected, place in IN_OTHER_WORDS
        if (found := re.fullmatch(mine, ours.message))
    )


def _lies(ours: Said, theirs: Said, place: str) -> bool:
    mine, its = _plain(ours.path), _plain(theirs.path)
    if place == SAME:
        return mine == its
    low, high = (mine, its) if place == ABOVE else (its, mine)
    return low.startswith(f"{high}.")


def _plain(path: str) -> str:
    """One spelling of the three that there are: `routes["/v1"]`, `routes[/v1]` and `routes./v1`."""
    return re.sub(r'\["?', ".", re.sub(r'"?\]', "", path))


def _echo(cause: Said, meant: Sequence[tuple[Said, Said]]) -> bool:
    """The API server goes on where Tidegate stops: an empty name is too short, and also no name, and nobody's; of too
    many entries, two are equal."""
    places = (SAME, ABOVE, BELOW) if cause.message.startswith("Duplicate value") else (SAME, ABOVE)
    return any(_lies(mine, cause, place) for mine, _ in meant for place in places)
