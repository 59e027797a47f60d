"""Money, before and after a turn, in nano-USD: whole numbers, so that sums are exact wherever they are made. Pure.

Before a turn begins nobody knows what it will cost, so what is set aside is reckoned at the dearest price that the
model has for a token of any kind.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from typing import Final, NamedTuple

from dataplane.metering.estimate import HEARD
from dataplane.metering.prices import TOKEN_KINDS, Cost, UnitPrices
from dataplane.metering.usage import Tokens
from dataplane.table import Price
from dataplane.upstreams.choose import Destination

NANO: Final = Decimal(1_000_000_000)
_TEXT: Final = ("input_text", "output_text")
_VOICE: Final = ("input_text", "input_audio", "output_text", "output_audio")


class Model(NamedTuple):
    """What a turn will be asked of."""

    name: str
    """As the client knows it."""
    provider_kind: str
    upstream_model: str
    price: Price | None
    """The Backend's own."""
    speaks: bool
    """Is it for a realtime session, where audio may be heard and said?"""

    @classmethod
    def of(cls, destination: Destination, *, speaks: bool) -> Model:
        """The model of a request that goes there."""
        kind, upstream = destination.provider.kind, destination.upstream_model
        return cls(destination.public_model, kind, upstream, destination.price, speaks)


def minute(prices: UnitPrices) -> Decimal | None:
    """USD of a minute of a session that is billed by time; None where nobody knows."""
    known = [price for price in (prices.session_second, prices.second) if price is not None]
    return max(known) * 60 if known else None


def unpriced(prices: UnitPrices, *, speaks: bool) -> list[str]:
    """Kinds of tokens that a turn will surely have, and nobody knows the price of."""
    return [kind for kind in (_VOICE if speaks else _TEXT) if getattr(prices, kind) is None]


def dearest(prices: UnitPrices) -> Decimal:
    """USD of the dearest token that the model has a price for; 0 where it has none."""
    every = (prices, *(tier for _, tier in prices.tiers))
    known = (getattr(each, kind) for each in every for kind in TOKEN_KINDS)
    return max((price for price in known if price is not None), default=Decimal(0))


def nano(usd: Decimal) -> int:
    """In nano-USD, rounded up: what was spent is never counted too low."""
    return int((usd * NANO).to_integral_value(ROUND_CEILING))


def spent(cost: Cost, tokens: Tokens, price: Decimal) -> int:
    """Nano-USD of a turn. Where a kind of token turned out to have no price, all of it counts at `price` for a token;
    a second of audio then counts as the tokens that OpenAI makes of one."""
    if cost.usd is not None:
        return nano(cost.usd)
    return nano(price * (tokens.input + tokens.output + Decimal(repr(tokens.seconds)) * HEARD))
