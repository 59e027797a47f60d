"""How much callers may take: a block of a Policy."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, StringConstraints

from crds.base import ApiModel
from crds.rules import Rule, Unique, at_least_one, matching, refuse

MOST: Final = 1_000_000_000_000
"""Of anything: far more than anybody takes, and every sum of it is exact wherever it is kept."""
DEFAULT_RESERVE: Final = 4096

Per = Literal["Second", "Minute", "Hour", "Day", "Month"]
Count = Literal["Total", "Input", "Output"]

_WINDOW = (
    "The window, by the UTC calendar: what was counted falls to 0 when a new second, minute, hour, day or month begins."
)


class RequestLimit(ApiModel):
    """How many requests there may be in a window."""

    max: int = Field(
        ge=1, le=MOST, strict=True, json_schema_extra={"format": "int64"}, description="Requests in one window."
    )
    per: Per = Field(description=_WINDOW)


class TokenLimit(ApiModel):
    """How many tokens there may be in a window."""

    max: int = Field(
        ge=1, le=MOST, strict=True, json_schema_extra={"format": "int64"}, description="Tokens in one window."
    )
    per: Per = Field(description=_WINDOW)
    count: Count = Field(
        default="Total", description="Which tokens count: those of the Input, of the Output, or both (Total)."
    )


Usd = Annotated[
    str,
    StringConstraints(min_length=1, max_length=13),
    matching(
        r"0\.[0-9]{0,5}[1-9]0{0,5}|[1-9][0-9]{0,5}(\.[0-9]{1,6})?",
        'write USD as a decimal in quotes, above 0 and below a million, such as "20" or "0.50"',
    ),
]
"""An amount of USD, as a decimal: text, since a float would round it."""


class SpendLimit(ApiModel):
    """How many USD may be spent in a window."""

    usd: Usd = Field(description="USD in one window.")
    per: Per = Field(description=_WINDOW)


def _kinds_of_tokens_differ(limits: Limits) -> bool:
    seen: set[tuple[Per, Count]] = set()
    for index, limit in enumerate(limits.tokens):
        if (limit.per, limit.count) in seen:
            message = f"{limit.count} tokens per {limit.per} are limited twice: keep one"
            raise refuse(message, "tokens", index)
        seen.add((limit.per, limit.count))
    return True


def _room_for_a_turn(limits: Limits) -> bool:
    for index, limit in enumerate(limits.tokens):
        if limit.max < limits.reserve:
            message = (
                f"{limit.max} is below reserve, which is {limits.reserve}, so that no turn could ever begin: "
                "write a max that is not below reserve, or a lower reserve"
            )
            raise refuse(message, "tokens", index, "max")
    return True


class Limits(ApiModel):
    """How much callers may take. At least one of requests, tokens, sessions and spend. Where several Policies have
    limits, all of them hold."""

    rules: ClassVar = (
        at_least_one("requests", "tokens", "sessions", "spend"),
        Rule(
            "!has(self.tokens) || self.tokens.all(a, self.tokens.exists_one(b, a.per == b.per && a.count == b.count))",
            "the same tokens are limited twice in one kind of window: keep one",
            _kinds_of_tokens_differ,
        ),
        Rule(
            "!has(self.tokens) || self.tokens.all(t, t.max >= self.reserve)",
            "a max of tokens is below reserve (4096 unless it is written), so that no turn could ever begin: write a "
            "max that is not below reserve, or a lower reserve",
            _room_for_a_turn,
        ),
    )

    scope: Literal["PerPod", "Fleet"] = Field(
        default="PerPod",
        description=(
            "PerPod: each gateway process counts for itself, so that two of them let through twice as much. Fleet: all "
            "count together, in the store of `tidegate serve --state`."
        ),
    )
    counted_by: Literal["Caller", "Team", "Backend", "Policy"] = Field(
        default="Caller",
        description=(
            "Whose use is added up: that of each Caller (callers without a key together), of each Team (callers "
            "without a team together), of each Backend, or all that this Policy applies to (Policy)."
        ),
    )
    requests: Annotated[tuple[RequestLimit, ...], Unique("per")] = Field(
        default=(),
        min_length=1,
        max_length=5,
        description=(
            "Requests in a window. An HTTP request, the opening of a WebSocket, and each turn of a realtime session, "
            "or of the Responses API over a WebSocket, count 1 each."
        ),
    )
    tokens: tuple[TokenLimit, ...] = Field(
        default=(),
        min_length=1,
        max_length=15,
        description=(
            "Tokens in a window, as the provider reports them: of chat completions, responses of realtime sessions, "
            "and transcriptions. A turn begins only where reserve more are left."
        ),
    )
    sessions: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        strict=True,
        json_schema_extra={"format": "int32"},
        description="Realtime sessions, and WebSockets of other paths, at a time.",
    )
    spend: Annotated[tuple[SpendLimit, ...], Unique("per")] = Field(
        default=(),
        min_length=1,
        max_length=5,
        description=(
            "USD in a window, by the prices of the Backend and of the catalogue. A turn begins only where reserve "
            "tokens, at the model's dearest price, are left."
        ),
    )
    reserve: int = Field(
        default=DEFAULT_RESERVE,
        ge=1,
        le=10_000_000,
        strict=True,
        json_schema_extra={"format": "int32"},
        description=(
            "Tokens that are set aside for each turn before it begins, and given back when it is over and what it used "
            "is known. Limits of tokens and spend are passed by no more than what turns take beyond it, and by "
            "transcriptions. Write what a long turn uses, its whole context included."
        ),
    )
    on_unpriced: Literal["Refuse", "Allow"] = Field(
        default="Refuse",
        description=(
            "Under spend, what becomes of models whose price is not known. Refuse: 403 model_not_priced. Allow: they "
            "are served, and cost nothing here."
        ),
    )
    on_exceeded: Literal["RefuseTurn", "EndSession"] = Field(
        default="RefuseTurn",
        description=(
            "In a realtime session, what happens when a turn is over a limit. RefuseTurn: the turn is refused with an "
            "error event, and the session goes on, until transcriptions, which cannot be refused, have taken as much "
            "more as is set aside for a turn. EndSession: it ends with limit_exceeded and close code 1008."
        ),
    )
    when_store_fails: Literal["CountLocally", "Refuse"] = Field(
        default="CountLocally",
        description=(
            "With scope Fleet, what holds while the store cannot be reached, or none is set. CountLocally: each "
            "process goes on with its own counters and what it last heard of the others. Refuse: requests are "
            "answered 503 limits_unavailable, and turns are refused."
        ),
    )
