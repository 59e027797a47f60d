"""Where the Responses API has ids of responses, and encrypted content, in JSON. Pure; JSON is changed in place.

Ids of items stay as they are: they go to a provider only beside something that carries a hint, or where there is one
domain. Source: openai-python 3.52, types/responses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from dataplane.affinity.hints import Keys, Signed, Signer, Unsigned

Json = dict[str, object]
PREVIOUS = "previous_response_id"
ENCRYPTED = "encrypted_content"
_COMPARED = ("prompt_cache_options", "comparison_response_id")


class Foreign(Exception):
    """A request holds something that carries no hint of ours: `field` says where."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field

    @property
    def encrypted(self) -> bool:
        """Is it content? Otherwise it is an id."""
        return self.field.endswith(ENCRYPTED)


class Place(NamedTuple):
    """Something in a request, by where it is."""

    holder: Json
    name: str
    path: str


def unwrap(body: Json, keys: Keys) -> list[Signed]:
    """Take the hints off a request; what they say. Raises Foreign for what has none, and changes nothing then."""
    found: list[tuple[Place, Signed]] = []
    for place in _in_request(body):
        text = place.holder[place.name]
        read = keys.read_content if place.name == ENCRYPTED else keys.read_id
        try:
            found.append((place, read(text if isinstance(text, str) else "")))
        except Unsigned:
            raise Foreign(place.path) from None
    for place, signed in found:
        place.holder[place.name] = signed.original
    return [signed for _, signed in found]


def references(body: Json) -> str:
    """Where a request refers to a stored item by its id alone, which says nothing of its domain; empty: nowhere. What
    has an id and no type is a reference as well."""
    for path, item in _items(body.get("input")):
        kind, bare = item.get("type"), not item.get(ENCRYPTED) and not item.get("content")
        if kind == "item_reference" or (kind in ("reasoning", None) and item.get("id") and bare):
            return path
    return ""


def wrap_answer(body: Json, signer: Signer) -> bool:
    """Put hints on what an answer holds (a response, a compaction, a list of items); whether there was anything."""
    if str(body.get("object", "")).startswith("response"):
        return _wrap_response(body, signer)
    return _wrap_items(body.get("data"), signer)


def wrap_event(event: Json, signer: Signer) -> bool:
    """The same in an event of a stream, or of a WebSocket."""
    changed = _sign(event, PREVIOUS, signer.id) | _sign(event, "response_id", signer.id)
    if isinstance(response := event.get("response"), dict):
        changed |= _wrap_response(response, signer)
    if isinstance(steer := event.get("steer"), dict):
        changed |= _sign(steer, PREVIOUS, signer.id)
    return changed | _wrap_items([event.get("item")], signer)


def _wrap_response(response: Json, signer: Signer) -> bool:
    changed = _sign(response, "id", signer.id) | _sign(response, PREVIOUS, signer.id)
    options, compared = _COMPARED
    if isinstance(nested := response.get(options), dict):
        changed |= _sign(nested, compared, signer.id)
    return changed | _wrap_items(response.get("output"), signer)


def _wrap_items(value: object, signer: Signer) -> bool:
    signed = [_sign(item, ENCRYPTED, signer.content) for _, item in _items(value)]
    return True in signed


def _sign(holder: Json, name: str, sign: Callable[[str], str]) -> bool:
    value = holder.get(name)
    if not isinstance(value, str) or not value:
        return False
    holder[name] = sign(value)
    return True


def _in_request(body: Json) -> Iterator[Place]:
    """Top-level fields in any spelling: some JSON readers (Go's) ignore case."""
    options, compared = _COMPARED
    for name, value in body.items():
        folded = name.casefold()
        if folded == PREVIOUS and value:
            yield Place(body, name, name)
        elif folded == options and isinstance(value, dict) and value.get(compared):
            yield Place(value, compared, f"{name}.{compared}")
    for path, item in _items(body.get("input")):
        if item.get(ENCRYPTED):
            yield Place(item, ENCRYPTED, f"{path}.{ENCRYPTED}")


def _items(value: object) -> Iterator[tuple[str, Json]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, dict):
                yield f"input[{index}]", item
