"""What tokens cost: unit prices by kind of token, and the sum for one turn.

The Backend's own prices win; what they leave open is filled from the catalogue that genai-prices ships
(offline, dated). Unit prices are kept, so that a turn costs a few multiplications: the catalogue takes about
200 ms to import and 0.2 ms to ask. Money is `Decimal`, exact.

Nothing is guessed. A turn with a kind of token that has no price has no cost, not even a partial one:

* Audio has a price of its own or none: text prices are ten times lower.
* Images cost what text costs, unless a price for them is said; that is how vendors bill them.
* Cached tokens and cache writes cost what fresh ones do, unless a price for them is said.
* Tokens of unknown modality have the price of text where text is all they can be, or all modalities cost the
  same; else none. Chat completions report audio apart, so there the rest is text.
* Cached tokens of unknown modality are taken from unknown input first, then from text, audio and images.
* Prices that rise with the size of the prompt ("tiers") hold for the whole turn.

Which of the catalogue's providers a kind of ours is, if any, the kind says: what a `custom` address charges is known to
its owner alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import starmap
from typing import TYPE_CHECKING, Literal

from dataplane import providers, table
from dataplane.metering.usage import Tokens
from dataplane.slices import SLICE, Slices

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, TieredPrices

PriceStatus = Literal["priced", "unpriced", "missing", "unreported", "timed"]
"""`unpriced`: a kind of token that was used has no price. `missing`: nobody knows the model. `unreported`: the
provider reported no usage, so that there is nothing to price. `timed`: what it costs is in the records of the session's
time."""

PriceSource = Literal["backend", "catalogue", "mixed", ""]
"""Who said the prices: the Backend, genai-prices, or each a part."""

MILLION = Decimal(1_000_000)
HOUR = Decimal(3600)
MINUTE = Decimal(60)
THOUSAND = Decimal(1000)
ZERO = Decimal(0)
CACHE_SIZE = 4096


@dataclass(slots=True, unsafe_hash=True)
class Cost:
    """USD of one turn. `usd` is None unless all of it has a price."""

    usd: Decimal | None
    status: PriceStatus
    source: PriceSource


UNREPORTED = Cost(None, "unreported", "")
MISSING = Cost(None, "missing", "")
TIMED = Cost(ZERO, "timed", "")


@dataclass(frozen=True, slots=True)
class UnitPrices:
    """USD per token, per second of audio and of a session, per item. None: no price is known."""

    input_text: Decimal | None = None
    input_audio: Decimal | None = None
    input_image: Decimal | None = None
    cached_text: Decimal | None = None
    cached_audio: Decimal | None = None
    cached_image: Decimal | None = None
    cache_write: Decimal | None = None
    output_text: Decimal | None = None
    output_audio: Decimal | None = None
    output_image: Decimal | None = None
    second: Decimal | None = None
    session_second: Decimal | None = None
    item: Decimal | None = None
    source: PriceSource = ""
    """Empty: nobody knows this model."""
    tiers: tuple[tuple[int, UnitPrices], ...] = ()
    """Prices of prompts with more input tokens than the number; ascending."""

    @property
    def of_tokens(self) -> bool:
        """Is there a price for any?"""
        return any(getattr(self, kind) is not None for kind in TOKEN_KINDS)

    def at(self, input_tokens: int) -> UnitPrices:
        """The prices of a turn with a prompt of this size."""
        chosen = self
        for start, prices in self.tiers:
            if input_tokens > start:
                chosen = prices
        return chosen


NO_PRICES = UnitPrices()
KINDS = tuple(field.name for field in fields(UnitPrices) if field.name not in ("source", "tiers"))
TOKEN_KINDS = tuple(kind for kind in KINDS if kind not in ("second", "session_second", "item"))


def cost(tokens: Tokens, prices: UnitPrices, *, unknown_is_text: bool = False) -> Cost:
    """The price of one turn. `unknown_is_text`: tokens of unknown modality are no audio, as in a chat completion."""
    if not prices.source:
        return MISSING
    total = ZERO
    for amount, price in _items(tokens, prices.at(tokens.input), unknown_is_text):
        if not amount:
            continue
        if price is None:
            return Cost(None, "unpriced", prices.source)
        total += price * amount
    return Cost(total, "priced", prices.source)


Item = tuple[int | Decimal, Decimal | None]


def _items(t: Tokens, p: UnitPrices, unknown_is_text: bool) -> list[Item]:
    items = _input_items(t, p, unknown_is_text)
    if t.output_unknown:
        known = unknown_is_text or _same(p.output_text, p.output_audio, p.output_image)
        items.append((t.output_unknown, p.output_text if known else None))
    items += (t.output_text, p.output_text), (t.output_audio, p.output_audio), (t.output_image, p.output_image)
    if t.seconds:
        items.append((Decimal(repr(t.seconds)), p.second))
    if t.session_seconds:
        items.append((Decimal(repr(t.session_seconds)), p.session_second))
    if t.items:
        items.append((t.items, p.item))
    return items


def _input_items(t: Tokens, p: UnitPrices, unknown_is_text: bool) -> list[Item]:
    """Cached, written and fresh tokens of each modality; `unknown` first, since it is the first to give up
    cached and written ones that have no modality."""
    items: list[Item] = []
    known = t.input_unknown and (unknown_is_text or _same(p.input_text, p.input_audio, p.input_image))
    text = (p.input_text, p.cached_text)
    image = text if p.input_image is None else (p.input_image, p.cached_image)
    cached_left, written_left = t.cached_unknown, t.cache_write
    for amount, cached, (price, cached_price) in (
        (t.input_unknown, 0, text if known else (None, None)),
        (t.input_text, t.cached_text, text),
        (t.input_audio, t.cached_audio, (p.input_audio, p.cached_audio)),
        (t.input_image, t.cached_image, image),
    ):
        if not amount:
            continue
        if cached or cached_left:
            cached = min(cached, amount)
            more = min(cached_left, amount - cached)
            cached_left -= more
            amount -= cached + more
            items.append((cached + more, price if cached_price is None else cached_price))
        if written_left:
            written = min(written_left, amount)
            written_left -= written
            amount -= written
            items.append((written, price if p.cache_write is None or price is None else p.cache_write))
        items.append((amount, price))
    return items


def _same(text: Decimal | None, *others: Decimal | None) -> bool:
    """Whether every modality that has a price has that of text."""
    return all(other is None or other == text for other in others)


Key = tuple[str, str, table.Price | None]
"""Provider kind, the upstream's name of a model, and what the Backend says about its price."""


class PriceBook:
    """Unit prices by provider kind and model, kept once they were found.

    Prices with a starting date are those of the day when they were first asked for, or of the last `warming`."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._known: dict[Key, UnitPrices] = {}
        self._recent: dict[tuple[str, str, int], tuple[table.Price | None, UnitPrices]] = {}
        """The same by the identity of the Backend's price, whose hash is slow; it is kept, so that no other has it."""
        self._day: date | None = None
        """Of the last `warming`."""

    def unit_prices(self, provider_kind: str, model: str, own: table.Price | None = None) -> UnitPrices:
        """Prices for a model by its upstream's name; `own` is what the Backend says about it."""
        known = self._recent.get((provider_kind, model, id(own)))
        return known[1] if known else self._looked_up(provider_kind, model, own)

    def _looked_up(self, *key: *Key) -> UnitPrices:
        prices = self._known.get(key)
        if prices is None:
            if len(self._known) >= CACHE_SIZE:
                self._known.clear()
            prices = self._known[key] = self._find(*key)
        if len(self._recent) >= CACHE_SIZE:
            self._recent.clear()
        self._recent[key[0], key[1], id(key[2])] = key[2], prices
        return prices

    def warming(self, models: Iterable[Key]) -> Slices[None]:
        """Look models up ahead of their first turn, in slices. What was found on the same day is kept: a look-up takes
        0.2 ms."""
        today = self._now().date()
        kept = self._known if today == self._day else {}
        known: dict[Key, UnitPrices] = {}
        for count, key in enumerate(models, 1):
            known[key] = kept.get(key) or self._find(*key)
            if key not in kept or count % SLICE == 0:
                yield
        self._known, self._recent, self._day = known, {}, today

    def _find(self, provider_kind: str, model: str, own: table.Price | None) -> UnitPrices:
        lister = providers.catalogue(provider_kind)
        listed = _listed(lister, model, self._now()) if lister else NO_PRICES
        return _with_own(listed, own) if own else listed


def _with_own(listed: UnitPrices, own: table.Price) -> UnitPrices:
    """What the Backend says, on every tier, and the catalogue's prices for the rest."""
    said = dict(starmap(_unit, own.model_dump(exclude_none=True).items()))
    if not said:
        return listed
    filled = any(getattr(listed, kind) is not None for kind in KINDS if kind not in said)
    source: PriceSource = "mixed" if filled else "backend"
    tiers = tuple((start, replace(prices, source=source, tiers=(), **said)) for start, prices in listed.tiers)
    return replace(listed, source=source, tiers=tiers, **said)


def _unit(kind: str, price: str) -> tuple[str, Decimal]:
    """A price that the Backend says, as one of `UnitPrices`."""
    name, per = _PER.get(kind, (kind, MILLION))
    return name, Decimal(price) / per


_PER = {"session_minute": ("session_second", MINUTE), "audio_minute": ("second", MINUTE), "item": ("item", Decimal(1))}


def open_catalogue() -> None:
    """Read it now, which takes 0.2 s, and not when the first model is looked up."""
    from genai_prices.data_snapshot import get_snapshot

    get_snapshot()


def _listed(provider_id: str, model: str, now: datetime) -> UnitPrices:
    """The catalogue's prices of a provider's model, or none; of Azure's, which are others' too, theirs.

    The provider is asked for directly: genai-prices' own look-up keeps every name it is ever given, and names
    come from clients."""
    from genai_prices.data_snapshot import find_provider_by_id, get_snapshot
    from genai_prices.types import TieredPrices

    everyone = get_snapshot().providers
    provider = find_provider_by_id(everyone, provider_id)
    found = provider.find_model(model, all_providers=everyone) if provider else None
    if found is None:
        return NO_PRICES
    prices = found.get_prices(now)
    tiered = [price for price in vars(prices).values() if isinstance(price, TieredPrices)]
    starts = sorted({tier.start for price in tiered for tier in price.tiers})
    return replace(_flat(prices, 0), tiers=tuple((start, _flat(prices, start + 1)) for start in starts))


def _flat(prices: ModelPrice, input_tokens: int) -> UnitPrices:
    """The catalogue's prices, which are per million tokens or per hour, for a prompt of this size."""

    def unit(*names: str, per: Decimal = MILLION) -> Decimal | None:
        for name in names:
            price: Decimal | TieredPrices | None = getattr(prices, name)
            if price is not None:
                return _tier(price, input_tokens) / per
        return None

    return UnitPrices(
        input_text=unit("input_text_mtok", "input_mtok"),
        input_audio=unit("input_audio_mtok"),
        input_image=unit("input_image_mtok"),
        cached_text=unit("cache_text_read_mtok", "cache_read_mtok"),
        cached_audio=unit("cache_audio_read_mtok"),
        cached_image=unit("cache_image_read_mtok"),
        cache_write=unit("cache_write_mtok"),
        output_text=unit("output_text_mtok", "output_mtok"),
        output_audio=unit("output_audio_mtok"),
        output_image=unit("output_image_mtok"),
        second=unit("audio_hours", "input_audio_hours", per=HOUR),
        session_second=unit("audio_hours", per=HOUR),
        item=unit("input_text_messages_kcount", per=THOUSAND),
        source="catalogue",
    )


def _tier(price: Decimal | TieredPrices, input_tokens: int) -> Decimal:
    if isinstance(price, Decimal):
        return price
    chosen = price.base
    for tier in price.tiers:
        if input_tokens > tier.start:
            chosen = tier.price
    return chosen
