"""Server events of the realtime API. `event_id` is filled in when an event is sent."""

from collections.abc import Iterator

from simulator.errors import RefusedError
from simulator.shapes import Json

_TOKENS_PER_MINUTE = 40_000


def event(kind: str, **fields: object) -> Json:
    """An event, its fields in the order in which the vendor writes them."""
    return {"type": kind, "event_id": "", **fields}


def error(refused: RefusedError, client_event_id: str | None = None) -> Json:
    """An error event; it names the client's event if that had an id."""
    return event("error", error={**refused.error, "event_id": client_event_id})


def item_added(item: Json, previous: str | None) -> Json:
    """An item has come into the conversation."""
    return event("conversation.item.added", previous_item_id=previous, item=item)


def item_done(item: Json, previous: str | None) -> Json:
    """An item of the conversation is whole."""
    return event("conversation.item.done", previous_item_id=previous, item=item)


def rate_limits(spent: int) -> Json:
    """What is left of the minute's tokens."""
    remaining = max(0, _TOKENS_PER_MINUTE - spent)
    reset = round((_TOKENS_PER_MINUTE - remaining) * 60 / _TOKENS_PER_MINUTE, 3)
    tokens = {"name": "tokens", "limit": _TOKENS_PER_MINUTE, "remaining": remaining, "reset_seconds": reset}
    return event("rate_limits.updated", rate_limits=[tokens])


def unknown(response_id: str, number: int) -> Iterator[Json]:
    """Events of a vendor's future, in shapes that its present allows: what they hold is no usage of this turn."""
    usage = {"total_tokens": 3, "input_tokens": 2, "output_tokens": 1}
    decoy = {"id": f"{response_id}_decoy", "status": "completed", "usage": usage}
    yield event("response.thought.delta", response_id=response_id, delta="…", number=number)
    yield {"event_id": "", "response": decoy, "type": "response.done.preview"}
    yield event("session.note", note={"type": "response.done", "response": decoy})
    yield {"padding": '"type":"response.done"' * 20, "event_id": "", "usage": usage, "type": "session.padding"}
