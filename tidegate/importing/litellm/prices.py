"""What a model costs: LiteLLM counts USD per token, a Backend USD per million tokens."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from tidegate.importing.fields import Fields

FIELDS: Final[Mapping[str, str]] = {
    "input_cost_per_token": "inputText",
    "input_cost_per_audio_token": "inputAudio",
    "input_cost_per_image_token": "inputImage",
    "cache_read_input_token_cost": "cachedText",
    "cache_read_input_audio_token_cost": "cachedAudio",
    "cache_read_input_image_token_cost": "cachedImage",
    "output_cost_per_token": "outputText",
    "output_cost_per_audio_token": "outputAudio",
}
_MOST = Decimal(10_000_000)
_PLACES = Decimal("1e-9")


def price_of(*places: Fields) -> dict[str, str]:
    """The `price` of a model, empty where none is written. The first place that says something wins."""
    price: dict[str, str] = {}
    for fields in places:
        for name, ours in FIELDS.items():
            if not fields.has(name):
                continue
            written = _written(fields, name)
            if ours in price:
                fields.drop(name, "litellm_params has it, too, and that holds")
            elif written:
                price[ours] = written
    return price


def _written(fields: Fields, name: str) -> str:
    number = fields.number(name)
    if number is None:
        return ""
    dollars = number * 1_000_000
    if not 0 <= dollars < _MOST:
        fields.drop(name, "is no price: a million tokens cost from 0 to 9999999 USD")
        return ""
    rounded = dollars.quantize(_PLACES)
    if rounded != dollars:
        fields.change(name, "is rounded to a billionth of a USD per million tokens")
    return f"{rounded.normalize():f}"
