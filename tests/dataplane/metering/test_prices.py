"""Prices equal the catalogue's own sums where those are right, and are absent where they would be guesses."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage as CatalogueUsage
from genai_prices import calc_price

from dataplane.metering.prices import Cost, PriceBook, cost
from dataplane.metering.usage import Tokens
from dataplane.slices import at_once
from dataplane.table import Price

WHEN = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook(now=lambda: WHEN)


def dollars(book: PriceBook, tokens: Tokens, model: str, own: Price | None = None, *, chat: bool = False) -> Cost:
    return cost(tokens, book.unit_prices("openai", model, own), unknown_is_text=chat)


def catalogue(model: str, **usage: float) -> Decimal:
    reported = CatalogueUsage(**usage)
    return calc_price(reported, model, provider_id="openai", genai_request_timestamp=WHEN).total_price


SPOKEN = Tokens(input_text=200, input_audio=800, cached_text=50, cached_audio=250, output_text=100, output_audio=400)


@pytest.mark.parametrize(
    "model",
    [
        "gpt-realtime",
        "gpt-realtime-2025-08-28",
        "gpt-realtime-2",
        "gpt-realtime-mini",
        "gpt-4o-realtime-preview",
        "gpt-4o-mini-realtime-preview-2024-12-17",
    ],
)
def test_realtime_models_cost_what_the_catalogue_says(book: PriceBook, model: str) -> None:
    expected = catalogue(
        model,
        input_tokens=1000,
        input_audio_tokens=800,
        cache_read_tokens=300,
        cache_audio_read_tokens=250,
        output_tokens=500,
        output_audio_tokens=400,
    )
    assert expected > 0
    assert dollars(book, SPOKEN, model) == Cost(expected, "priced", "catalogue")


def test_images_in_a_realtime_session(book: PriceBook) -> None:
    tokens = Tokens(input_text=10, input_image=300, cached_image=100, output_text=5)
    expected = catalogue(
        "gpt-realtime",
        input_tokens=310,
        input_audio_tokens=0,
        input_image_tokens=300,
        cache_read_tokens=100,
        cache_image_read_tokens=100,
        cache_audio_read_tokens=0,
        output_tokens=5,
        output_audio_tokens=0,
    )
    assert dollars(book, tokens, "gpt-realtime").usd == expected


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-5", "gpt-5.4"])
def test_chat_models_cost_what_the_catalogue_says(book: PriceBook, model: str) -> None:
    tokens = Tokens(input_unknown=1000, cached_unknown=400, output_unknown=300, reasoning=200)
    expected = catalogue(model, input_tokens=1000, cache_read_tokens=400, output_tokens=300)
    assert dollars(book, tokens, model, chat=True).usd == expected
    assert dollars(book, tokens, model).usd == expected, "all modalities cost the same there"


@pytest.mark.parametrize("size", [272_000, 272_001])
def test_prices_that_rise_with_the_prompt_hold_for_the_whole_turn(book: PriceBook, size: int) -> None:
    tokens = Tokens(input_text=size, cached_text=1000, output_text=10)
    expected = catalogue("gpt-5.4", input_tokens=size, cache_read_tokens=1000, output_tokens=10)
    assert dollars(book, tokens, "gpt-5.4").usd == expected


def test_writing_to_the_cache_costs_more(book: PriceBook) -> None:
    tokens = Tokens(input_unknown=1000, cached_unknown=100, cache_write=300, output_unknown=10)
    expected = catalogue(
        "gpt-6-cyber", input_tokens=1000, cache_read_tokens=100, cache_write_tokens=300, output_tokens=10
    )
    assert dollars(book, tokens, "gpt-6-cyber").usd == expected


def test_audio_in_a_chat_completion(book: PriceBook) -> None:
    tokens = Tokens(input_audio=200, input_unknown=100, output_audio=50, output_unknown=20)
    expected = catalogue(
        "gpt-audio", input_tokens=300, input_audio_tokens=200, output_tokens=70, output_audio_tokens=50
    )
    assert dollars(book, tokens, "gpt-audio", chat=True).usd == expected


def test_transcription_by_token_and_by_second(book: PriceBook) -> None:
    by_token = catalogue("gpt-4o-transcribe", input_tokens=16, input_audio_tokens=16, output_tokens=8)
    assert dollars(book, Tokens(input_audio=16, output_unknown=8), "gpt-4o-transcribe").usd == by_token
    assert dollars(book, Tokens(seconds=1.63), "whisper-1").usd == catalogue("whisper-1", audio_seconds=1.63)


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("gpt-4o-audio-preview", Tokens(input_audio=10)),  # the catalogue has no price for its audio
        ("gpt-live-1", SPOKEN),  # billed by time: tokens have no price
        ("gpt-realtime", Tokens(input_unknown=100)),  # may be audio, eight times as expensive
        ("gpt-realtime", Tokens(output_unknown=100)),
        ("gpt-realtime", Tokens(output_image=1)),
        ("gpt-realtime", Tokens(seconds=1.0)),
        ("whisper-1", Tokens(input_text=1, seconds=1.0)),
    ],
)
def test_what_has_no_price_makes_the_turn_unpriced(book: PriceBook, model: str, tokens: Tokens) -> None:
    assert dollars(book, tokens, model) == Cost(None, "unpriced", "catalogue")


def test_a_model_that_nobody_knows(book: PriceBook) -> None:
    assert dollars(book, SPOKEN, "no-such-model") == Cost(None, "missing", "")


def test_another_vendor_s_model_is_not_priced_as_openai_s(book: PriceBook) -> None:
    assert cost(SPOKEN, book.unit_prices("custom", "gpt-realtime")) == Cost(None, "missing", "")


def test_the_backend_s_own_price_wins_and_the_catalogue_fills_the_rest(book: PriceBook) -> None:
    own = Price(input_audio="100", output_text="0")
    million = Tokens(input_text=10**6, input_audio=10**6, output_text=10**6, output_audio=10**6)
    assert dollars(book, million, "gpt-realtime", own) == Cost(Decimal(4 + 100 + 0 + 64), "priced", "mixed")


def test_own_prices_alone(book: PriceBook) -> None:
    own = Price(input_text="1.5", output_text="3")
    prices = book.unit_prices("custom", "llama", own)
    tokens = Tokens(input_text=2000, cached_text=1000, input_image=500, output_text=1000)
    assert cost(tokens, prices) == Cost(Decimal("0.00675"), "priced", "backend"), "no discount said, no discount"
    assert cost(Tokens(output_audio=1), prices) == Cost(None, "unpriced", "backend")


def test_an_own_price_holds_on_every_tier(book: PriceBook) -> None:
    own = Price(input_text="1")
    large = Tokens(input_text=10**6, output_text=10**6)
    assert dollars(book, large, "gpt-5.4", own).usd == Decimal(1) + Decimal("22.5")


def test_an_empty_own_price_changes_nothing(book: PriceBook) -> None:
    assert dollars(book, SPOKEN, "gpt-realtime", Price()) == dollars(book, SPOKEN, "gpt-realtime")


def test_cached_tokens_without_modality_are_taken_from_text_first(book: PriceBook) -> None:
    tokens = Tokens(input_text=100, input_audio=100, cached_unknown=150)
    as_split = Tokens(input_text=100, input_audio=100, cached_text=100, cached_audio=50)
    assert dollars(book, tokens, "gpt-realtime") == dollars(book, as_split, "gpt-realtime")


def test_zero_tokens_of_a_known_model_cost_nothing(book: PriceBook) -> None:
    assert dollars(book, Tokens(), "gpt-realtime") == Cost(Decimal(0), "priced", "catalogue")


def test_names_without_end_do_not_fill_the_memory(book: PriceBook) -> None:
    prices = book.unit_prices("custom", "kept", Price(input_text="1"))
    for number in range(5000):
        assert book.unit_prices("custom", f"made-up-{number}") == book.unit_prices("custom", "x")
    assert book.unit_prices("custom", "kept", Price(input_text="1")) == prices


def test_warming_forgets_prices_of_another_day() -> None:
    today = [datetime(2026, 7, 1, tzinfo=UTC)]
    book = PriceBook(now=lambda: today[0])
    before = book.unit_prices("openai", "gpt-5.6-luna")
    today[0] = WHEN
    assert book.unit_prices("openai", "gpt-5.6-luna") == before
    at_once(book.warming([("openai", "gpt-5.6-luna", None)]))
    assert book.unit_prices("openai", "gpt-5.6-luna") != before


def test_time_costs_what_the_catalogue_says(book: PriceBook) -> None:
    prices = book.unit_prices("xai", "grok-voice-think-fast-2.0")
    used = Tokens(session_seconds=90, seconds=30, items=3)
    assert cost(used, prices) == Cost(Decimal("0.08") * 2 + Decimal("0.004") * 3, "priced", "catalogue")
    assert not prices.of_tokens


def test_time_costs_what_the_backend_says(book: PriceBook) -> None:
    own = Price(session_minute="6", audio_minute="3", item="0.5")
    prices = book.unit_prices("xai", "a-voice", own)
    assert cost(Tokens(session_seconds=10), prices).usd == 1
    assert cost(Tokens(seconds=20), prices).usd == 1
    assert cost(Tokens(items=2), prices) == Cost(Decimal(1), "priced", "backend")
    assert cost(Tokens(items=2), book.unit_prices("xai", "a-voice", Price(audio_minute="3"))).status == "unpriced"


def test_deployments_cost_what_the_models_do_that_they_say_they_are(book: PriceBook) -> None:
    assert book.unit_prices("azure", "gpt-4o-2024-08-06") == book.unit_prices("openai", "gpt-4o-2024-08-06")
    assert book.unit_prices("azure", "my-deployment").source == ""
    assert book.unit_prices("custom", "gpt-4o-2024-08-06").source == ""
