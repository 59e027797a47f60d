"""The items of a conversation, in order, and what each costs as input. Pure."""

import binascii
from dataclasses import dataclass

from simulator import usage
from simulator.errors import RefusedError, invalid, missing
from simulator.shapes import Json, mapping, sequence, text
from simulator.usage import Tokens

_ROLE_PARTS = {
    "user": {"input_text", "input_audio", "input_image"},
    "system": {"input_text"},
    "assistant": {"output_text", "output_audio"},
}
_REQUIRED: dict[str, tuple[str, ...]] = {
    "message": ("role", "content"),
    "function_call": ("name", "arguments"),
    "function_call_output": ("call_id", "output"),
}


@dataclass
class Item:
    """One item as clients see it, and its tokens. `known`: an earlier response had it, so it is cached."""

    body: Json
    tokens: Tokens
    known: bool = False

    @property
    def id(self) -> str:
        """The item's id."""
        return text(self.body["id"])


def audio_bytes(encoded: object, param: str) -> int:
    """How many bytes some base64 holds. Raises RefusedError if it is none."""
    try:
        return len(binascii.a2b_base64(text(encoded), strict_mode=True))
    except (binascii.Error, ValueError):
        raise invalid(param, "expected base64-encoded audio.") from None


def new_item(given: Json, item_id: str, bytes_per_ms: int) -> Item:
    """The item that a client describes, checked. Raises RefusedError."""
    kind = text(given.get("type"))
    if kind not in _REQUIRED:
        raise invalid("item.type", f"supported are {', '.join(_REQUIRED)}.") if kind else missing("item.type")
    for field in _REQUIRED[kind]:
        if field not in given:
            raise missing(f"item.{field}")
        if field != "content" and not isinstance(given[field], str):
            message = f"Invalid type for 'item.{field}': expected a string."
            raise RefusedError(message, "invalid_type", f"item.{field}")
    body = {"id": item_id, "object": "realtime.item", "status": "completed", **given}
    if kind != "message":
        return Item(body, usage.of_text("".join(text(given[field]) for field in _REQUIRED[kind])))
    tokens = Tokens()
    content = [mapping(part) for part in sequence(given["content"])]
    for place, part in enumerate(content):
        tokens += _part_tokens(part, text(given["role"]), f"item.content[{place}]", bytes_per_ms)
    # As the vendor does: audio is not sent back.
    body["content"] = [{name: value for name, value in part.items() if name != "audio"} for part in content]
    return Item(body, tokens)


def _part_tokens(part: Json, role: str, param: str, bytes_per_ms: int) -> Tokens:
    kind = text(part.get("type"))
    legal = _ROLE_PARTS.get(role, set())
    if kind not in legal:
        raise invalid(f"{param}.type", f"for role '{role}', supported are {', '.join(sorted(legal))}.")
    match kind:
        case "input_audio":
            return usage.of_audio_heard(audio_bytes(part.get("audio"), f"{param}.audio") / bytes_per_ms)
        case "input_image":
            return usage.of_image(text(part.get("image_url")))
        case _:
            return usage.of_text(text(part.get("text")) or text(part.get("transcript")))


class Items:
    """The default conversation."""

    def __init__(self) -> None:
        self._items: list[Item] = []

    def find(self, item_id: object, doing: str, param: str = "item_id") -> Item:
        """The item of an id. Raises RefusedError; `doing` (delete, truncate …) is part of its code."""
        for item in self._items:
            if item.id == item_id:
                return item
        message = f"Error: the item with id '{item_id}' does not exist."
        raise RefusedError(message, f"item_{doing}_invalid_item_id", param)

    def add(self, item: Item, after: object = None) -> str | None:
        """Put an item at the end, or after another (`root`: in front); the id of the item before it."""
        place = len(self._items) if after is None else self._place_after(after)
        if any(item.id == other.id for other in self._items):
            raise invalid("item.id", f"an item with id '{item.id}' exists already.")
        self._items.insert(place, item)
        return self._items[place - 1].id if place else None

    def _place_after(self, after: object) -> int:
        if after == "root":
            return 0
        return self._items.index(self.find(after, "create", "previous_item_id")) + 1

    def last_id(self) -> str | None:
        """The id of the last item."""
        return self._items[-1].id if self._items else None

    def delete(self, item_id: object) -> None:
        """Forget an item."""
        self._items.remove(self.find(item_id, "delete"))

    def truncate(self, item_id: object, audio_end_ms: int) -> None:
        """Forget what was said after so many ms, and the transcript, which cannot be cut as exactly."""
        item = self.find(item_id, "truncate")
        content = [mapping(part) for part in sequence(item.body.get("content"))]
        if not any(part.get("type") == "output_audio" for part in content):
            message = "Only model output audio messages can be truncated."
            raise RefusedError(message, "item_truncate_invalid_item_id", "item_id")
        item.tokens = Tokens(audio=min(item.tokens.audio, usage.of_audio_spoken(audio_end_ms).audio))
        item.body["content"] = [{**part, "transcript": ""} for part in content]

    def all(self) -> list[Item]:
        """Every item, oldest first."""
        return list(self._items)


def described(item: Item) -> str:
    """What an item says to the model, as text."""
    if item.body["type"] == "function_call_output":
        return text(item.body["output"])
    parts = (mapping(part) for part in sequence(item.body.get("content")))
    return " ".join(text(part.get("text")) for part in parts).strip()


def has_audio(item: Item) -> bool:
    """Whether the user spoke it."""
    return any(mapping(part).get("type") == "input_audio" for part in sequence(item.body.get("content")))
