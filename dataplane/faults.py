"""What an answer, or the want of one, says about the provider that it came from. Pure.

Not every error is a provider's: what the client got wrong (400, 404, 413, 422) says nothing of it. How long one is to
be left alone it says in `Retry-After` (RFC 9110 §10.2.3), `retry-after-ms` or, as OpenAI does, `x-ratelimit-reset-*`:
https://platform.openai.com/docs/guides/rate-limits
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

LONGEST_REST: Final = 600.0
"""Seconds that a provider is left alone at most, whatever it says."""
SHORTEST_REST: Final = 1.0
"""Seconds that it is left alone at least which has no room, and does not say for how long."""
FORBIDDEN_REST: Final = 60.0
"""Seconds that it is not asked again for a model that its credential may not use, while another one serves it."""


class Fault(NamedTuple):
    """Something that is wrong with a provider, so that another one may do better."""

    reason: str
    """A metric label: see `REASONS`."""
    counts: bool = True
    """Is it a failure, of which several in a row eject the provider?"""
    at_once: bool = False
    """Does one eject it?"""
    rest: float = 0.0
    """Seconds for which it is not to be asked again."""
    whole: bool = False
    """Is that so for every model, or for the one that was asked for?"""

    @property
    def asked(self) -> bool:
        """Has the provider itself said how long it is to be left alone?"""
        return not self.counts and self.reason in ("rate_limited", "unavailable")


UNREACHABLE: Final = Fault("unreachable")
TIMEOUT: Final = Fault("timeout")
PROTOCOL: Final = Fault("protocol")
SERVER_ERROR: Final = Fault("server_error")
LOST: Final = Fault("lost")
CREDENTIAL: Final = Fault("credential", at_once=True)
FORBIDDEN: Final = Fault("forbidden", counts=False, rest=FORBIDDEN_REST)
"""403 is mostly about what was asked for: a model that the account has no access to, a right that the key has not got.
One that ejected the provider would let any caller take it from all others, by asking for such a model."""
RATE_LIMITED: Final = Fault("rate_limited", rest=SHORTEST_REST)
UNKNOWN_MODEL: Final = Fault("model", counts=False)

REASONS: Final[Mapping[str, str]] = {
    "unreachable": "no connection could be made",
    "timeout": "it did not answer in time",
    "protocol": "it answered something that is not the protocol",
    "server_error": "it answered 500, 502, 503 or 504, or an error of its own",
    "lost": "it broke off: before its answer, or in the middle of a session",
    "credential": "it refused the credential",
    "forbidden": "it answered 403: the credential may not do what was asked for",
    "rate_limited": "it answered 429",
    "unavailable": "it answered 503, and said when to come back",
    "model": "it does not know the model",
}

OF_CODE: Final[Mapping[str, Fault]] = {
    "upstream_unreachable": UNREACHABLE,
    "upstream_unavailable": UNREACHABLE,
    "upstream_address_refused": UNREACHABLE,
    "upstream_timeout": TIMEOUT,
    "upstream_protocol_error": PROTOCOL,
    "upstream_credential_rejected": CREDENTIAL,
    "upstream_rate_limited": RATE_LIMITED,
}
"""By the code of a refusal that says all that is known."""

_FAILED: Final = frozenset({500, 502, 503, 504})


def of_status(status: int, fields: Iterable[tuple[str, str]], now: float, *, own: bool) -> Fault | None:
    """What an answer says. `own`: was the credential the gateway's, or was there none? What is about the client's says
    nothing of the provider. `now`: seconds since the epoch."""
    if status in (401, 403):
        return None if not own else CREDENTIAL if status == 401 else FORBIDDEN
    if status == 429 and not own:  # a limit of the client's own account
        return None
    if status not in _FAILED and status != 429:
        return None
    rest = pause({name.lower(): value for name, value in fields}, now) if status in (429, 503) else 0.0
    if status == 429:
        return Fault("rate_limited", counts=False, rest=rest) if rest else RATE_LIMITED
    return Fault("unavailable", counts=False, rest=rest, whole=True) if rest else SERVER_ERROR


def pause(fields: Mapping[str, str], now: float) -> float:
    """Seconds for which an answer with these fields (names in lower case) asks to be left alone; 0 where it does not
    say."""
    said = _milliseconds(fields.get("retry-after-ms", "")) or _after(fields.get("retry-after", ""), now)
    return min(said or _reset(fields, now), LONGEST_REST)


_NUMBER: Final = re.compile(r"\d{1,10}(\.\d{1,9})?", re.ASCII)


def _after(text: str, now: float) -> float:
    """`Retry-After`: seconds, or a date."""
    if _NUMBER.fullmatch(text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now) if text else 0.0
    except (ValueError, OverflowError):
        return 0.0


def _milliseconds(text: str) -> float:
    return float(text) / 1000 if _NUMBER.fullmatch(text) else 0.0


_RESET: Final = "x-ratelimit-reset-"
_EPOCH: Final = 1e9
"""A number from here on is a moment, in seconds since the epoch."""
_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|h|m|s)", re.ASCII)
_DURATION: Final = re.compile(rf"({_PART.pattern}){{1,4}}", re.ASCII)


def _reset(fields: Mapping[str, str], now: float) -> float:
    """When what is used up begins anew: of several limits, the one that is left last. Where none is said to be used up,
    the first."""
    resets = {
        name.removeprefix(_RESET): seconds
        for name, text in fields.items()
        if name.startswith(_RESET) and (seconds := _duration(text, now)) > 0
    }
    empty = [seconds for of, seconds in resets.items() if fields.get(f"x-ratelimit-remaining-{of}", "").strip() == "0"]
    return max(empty) if empty else min(resets.values(), default=0.0)


def _duration(text: str, now: float) -> float:
    """`6m0s`, `20ms`, `1.5`: seconds; 0 for anything else."""
    if _NUMBER.fullmatch(text):
        number = float(text)
        return number - now if number >= _EPOCH else number
    if not _DURATION.fullmatch(text):
        return 0.0
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
