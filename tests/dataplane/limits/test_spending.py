"""Money, before and after a turn."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from dataplane.limits.spending import Model, dearest, nano, spent, unpriced
from dataplane.metering.prices import NO_PRICES, Cost, UnitPrices
from dataplane.metering.usage import Tokens
from dataplane.table import Credential, Provider
from dataplane.upstreams.choose import Destination

TEXT = UnitPrices(input_text=Decimal(1), output_text=Decimal(2), source="backend")
VOICE = UnitPrices(
    input_text=Decimal(1),
    input_audio=Decimal(3),
    output_text=Decimal(2),
    output_audio=Decimal(5),
    second=Decimal(100),
    source="catalogue",
)


def test_kinds_that_a_turn_will_have() -> None:
    assert unpriced(TEXT, speaks=False) == []
    assert unpriced(TEXT, speaks=True) == ["input_audio", "output_audio"]
    assert unpriced(VOICE, speaks=True) == []
    assert unpriced(NO_PRICES, speaks=False) == ["input_text", "output_text"]


def test_the_dearest_token_is_that_of_any_kind_and_tier() -> None:
    assert dearest(TEXT) == 2
    assert dearest(VOICE) == 5, "a second is no token"
    tiered = UnitPrices(input_text=Decimal(1), tiers=((1000, UnitPrices(input_text=Decimal(9))),))
    assert dearest(tiered) == 9
    assert dearest(NO_PRICES) == 0


@given(st.decimals(0, 1000, allow_nan=False, places=15))
def test_money_is_rounded_up_and_by_less_than_a_nano(usd: Decimal) -> None:
    assert 0 <= nano(usd) - usd * 1_000_000_000 < 1


def test_what_a_turn_spent() -> None:
    tokens = Tokens(input_text=10, output_audio=5)
    assert spent(Cost(Decimal("0.25"), "priced", "backend"), tokens, Decimal(7)) == 250_000_000
    assert spent(Cost(None, "unpriced", "backend"), tokens, Decimal(7)) == 15 * 7 * 1_000_000_000
    assert spent(Cost(None, "missing", ""), Tokens(seconds=2.5), Decimal(7)) == 25 * 7 * 1_000_000_000


def test_the_model_of_a_request() -> None:
    provider = Provider(name="p", kind="openai", url="http://a", credential=Credential())
    found = Model.of(Destination(provider, "voice", "gpt-realtime"), speaks=True)
    assert found == Model("voice", "openai", "gpt-realtime", None, speaks=True)
