"""How providers share requests, and how they are doing, in words."""

from __future__ import annotations

from collections.abc import Mapping

from dataplane.table import Balance

Doing = Mapping[tuple[str, str], Mapping[str, object]]
"""How providers are doing, by Backend and provider: what `/table` of a gateway's admin port says of them."""


def doing(table: Mapping[str, object]) -> Doing:
    """From the answer of `/table`."""
    return {
        (str(backend["name"]), str(provider["name"])): provider
        for backend in _mappings(table.get("backends"))
        for provider in _mappings(backend.get("providers"))
        if "state" in provider
    }


def doing_words(said: Mapping[str, object]) -> str:
    """Of one provider."""
    words = f"{said['state']} there, with {said.get('sessions')} sessions and {said.get('requests')} requests"
    if "back_in_seconds" in said:
        words += f"; tried again in {said['back_in_seconds']} s"
    rests = said.get("rests_for_seconds")
    if isinstance(rests, dict):
        words += "".join(f"; not asked for {_any(model)} for {seconds} s" for model, seconds in rests.items())
    return f"{words}: {why}" if (why := said.get("why")) else words


def _any(model: str) -> str:
    return "any model" if model == "every model" else model


def balance_words(balance: Balance, *, sessions: bool) -> str:
    """Who takes the next request, of those of one priority."""
    strategy = balance.strategy or ("LeastActive" if sessions else "Weighted")
    what = "sessions" if sessions else "requests"
    words = f"the fewest {what} under way, by weight" if strategy == "LeastActive" else "by chance and weight"
    if not balance.sticky:
        return f"{strategy}: {words}"
    kept = "the caller's key" if balance.sticky == "caller" else f"the header {balance.header}"
    return f"{kept} decides, by weight; without one {strategy}: {words}"


def _mappings(value: object) -> list[Mapping[str, object]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
