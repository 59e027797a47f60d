"""One response of the Responses API, from the request body to the answer or the events of a stream. Pure.

What is stored, and what is encrypted, belongs to the organisation whose key was shown: to another one it does not
exist, or cannot be read.
"""

import base64
import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from simulator import answers, usage
from simulator.errors import RefusedError, missing
from simulator.scenarios import Options
from simulator.shapes import Json, count, mapping, sequence, text

_KEPT = 10_000
_REASONING_TOKENS = 64
_ENCRYPTED = "reasoning.encrypted_content"
_LANE = re.compile(r"[A-Za-z0-9_.-]{1,256}", re.ASCII)


def organisation(key: str) -> str:
    """Of a key: what is before its first dot, so that `sk-a.1` and `sk-a.2` are of one."""
    return key.partition(".")[0]


@dataclass
class Stored:
    """A response that may be asked for later."""

    organisation: str
    response: Json
    context: list[object]
    """What the next one goes on from: all that was said so far."""
    given: list[object]
    """Its own input."""
    made: "Made"
    asked: int = 0
    """How often somebody asked for it, while it was made in the background."""


class Shelf:
    """What is stored; bounded."""

    def __init__(self) -> None:
        self._stored: OrderedDict[str, Stored] = OrderedDict()

    def keep(self, stored: Stored, *, store: bool) -> None:
        """If it is to be stored. The oldest goes for one more than there may be."""
        if not store:
            return
        self._stored[text(stored.response.get("id"))] = stored
        if len(self._stored) > _KEPT:
            self._stored.popitem(last=False)

    def get(self, name: str, whose: str) -> Stored:
        """Raises RefusedError (404)."""
        if (found := self.find(name, whose)) is None:
            raise RefusedError(f"Response with id '{name}' not found.", status=404)
        return found

    def find(self, name: str, whose: str) -> Stored | None:
        """None where there is none of this organisation."""
        found = self._stored.get(name)
        return found if found is not None and found.organisation == whose else None

    def drop(self, name: str, whose: str) -> None:
        """Raises RefusedError (404)."""
        self.get(name, whose)
        del self._stored[name]


class Latest(Shelf):
    """What one connection sees: the shelf, and the newest response of its own, be it stored or not."""

    def __init__(self, shelf: Shelf) -> None:
        super().__init__()
        self._shelf = shelf
        self._latest: Stored | None = None

    def keep(self, stored: Stored, *, store: bool) -> None:
        self._latest = stored
        self._shelf.keep(stored, store=store)

    def find(self, name: str, whose: str) -> Stored | None:
        latest = self._latest
        if latest is not None and latest.response.get("id") == name and latest.organisation == whose:
            return latest
        return self._shelf.find(name, whose)


@dataclass(frozen=True)
class Made:
    """What the model answered, and what that costs."""

    head: Json
    output: list[object]
    status: str
    usage: Json
    more: Json = field(default_factory=dict)

    @property
    def id(self) -> str:
        return text(self.head.get("id"))

    @property
    def model(self) -> str:
        return text(self.head.get("model"))

    def begun(self, status: str = "in_progress") -> Json:
        """The response before anything was made."""
        return {**self.head, "status": status, "output": [], "usage": None}

    def reply(self, options: Options) -> tuple[Json, Json | None]:
        """The response, and the usage in it as the scenario has it."""
        reply = {**self.head, "status": self.status, "output": self.output, **self.more}
        sent = usage.attach(reply, self.usage, options)
        return reply, sent

    def events(self, options: Options) -> tuple[list[Json], Json | None]:
        """The events of the stream, and the usage in the last one."""
        reply, sent = self.reply(options)
        said: list[Json] = [
            {"type": f"response.{kind}", "response": self.begun()} for kind in ("created", "in_progress")
        ]
        for index, item in enumerate(self.output):
            said += _events_of(mapping(item), index)
        said.append({"type": f"response.{self.status}", "response": reply})
        return [{**event, "sequence_number": number} for number, event in enumerate(said)], sent


def make(body: Json, number: int, created: int, options: Options, whose: str, shelf: Shelf) -> Made:
    """Answer a request body; `number` makes the ids, `created` is Unix time. It is stored unless the body says no.
    Raises RefusedError."""
    model = _checked_model(body)
    given = _given(body)
    context = _before(body, whose, shelf)
    _check_readable(given, whose)
    asked = _text_of(mapping(given[-1])) if given else ""
    works = body.get("generate") is not False  # else, over a WebSocket: what follows goes on from it
    reasons = works and ("reasoning" in options or bool(mapping(body.get("reasoning"))))
    output, status, more = _answered(body, asked, number, whose, options, reasons=reasons)
    written = int(options.number("cache-write")) if "cache-write" in options else 0
    spent = _usage(context, given, written, output, _REASONING_TOKENS if reasons else 0)
    made = Made(_head(body, model, number, created), output, status, spent, more)
    response = made.begun("queued") if body.get("background") is True else made.reply(options)[0]
    kept = Stored(whose, response, [*context, *given, *output], given, made)
    shelf.keep(kept, store=body.get("store") is not False)
    return made


def compact(body: Json, number: int, created: int, whose: str, shelf: Shelf) -> Made:
    """A compaction of what was said. Raises RefusedError."""
    model = _checked_model(body)
    given = [*_before(body, whose, shelf), *_given(body)]
    _check_readable(given, whose)
    item: Json = {"type": "compaction", "id": f"cmp_{number:06d}"}
    item["encrypted_content"] = encrypted(f"compaction {number}", whose)
    head: Json = {"id": f"resp_{number:06d}", "object": "response.compaction", "created_at": created, "model": model}
    users = [each for each in given if mapping(each).get("role") == "user"]
    return Made(head, [*users, item], "completed", _usage([], given, 0, [item], 0))


def tokens_of(body: Json, whose: str, shelf: Shelf) -> int:
    """Of the input, with all that it goes on from. Raises RefusedError."""
    given = _given(body)
    _check_readable(given, whose)
    return _tokens([*_before(body, whose, shelf), *given])


def encrypted(content: str, whose: str) -> str:
    """Content that one organisation can read."""
    seal = hashlib.sha256(f"{whose}\0{content}".encode()).hexdigest()[:16]
    return "gAAAAA" + base64.urlsafe_b64encode(f"{whose}\0{seal}\0{content}".encode()).decode()


def lane_of(said: Json) -> str:
    """The stream of a message on a WebSocket. Raises RefusedError."""
    lane = said.get("stream_id")
    if lane is not None and not (isinstance(lane, str) and _LANE.fullmatch(lane)):
        raise RefusedError("Invalid stream_id.", "invalid_stream_id", "stream_id")
    return text(lane)


def _check_readable(items: list[object], whose: str) -> None:
    """Raises RefusedError, as the vendor words it."""
    for item in map(mapping, items):
        content = item.get("encrypted_content")
        if content is None:
            continue
        try:
            owner, seal, said = base64.urlsafe_b64decode(text(content).removeprefix("gAAAAA")).decode().split("\0")
            readable = encrypted(said, owner) == content and len(seal) == 16
        except ValueError:
            owner, readable = "", False
        why = "could not be decrypted or parsed" if not readable else ""
        if readable and owner != whose:
            why = "Encrypted content organization_id did not match the target organization"
        if why:
            name = text(item.get("id")) or "item"
            message = f"The encrypted content for item {name} could not be verified. Reason: {why}."
            raise RefusedError(message, "invalid_encrypted_content")


def _checked_model(body: Json) -> str:
    model = text(body.get("model"))
    if not model:
        raise missing("model")
    if model.startswith("missing-"):
        message = f"The requested model '{model}' does not exist."
        raise RefusedError(message, "model_not_found", "model")
    return model


def _given(body: Json) -> list[object]:
    given = body.get("input")
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": given}]}]
    return sequence(given)


def _before(body: Json, whose: str, shelf: Shelf) -> list[object]:
    """What this goes on from. Raises RefusedError."""
    previous = body.get("previous_response_id")
    if previous is None:
        return []
    found = shelf.find(text(previous), whose)
    if found is None:
        message = f"Previous response with id '{previous}' not found."
        raise RefusedError(message, "previous_response_not_found", "previous_response_id")
    return found.context


def _head(body: Json, model: str, number: int, created: int) -> Json:
    return {
        "id": f"resp_{number:06d}",
        "object": "response",
        "created_at": created,
        "background": body.get("background") is True,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": mapping(body.get("metadata")),
        "model": model,
        "parallel_tool_calls": True,
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": {"effort": mapping(body.get("reasoning")).get("effort"), "summary": None},
        "service_tier": "default",
        "store": body.get("store") is not False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": sequence(body.get("tools")),
        "top_p": 1.0,
        "truncation": "disabled",
    }


def _answered(
    body: Json, asked: str, number: int, whose: str, options: Options, *, reasons: bool
) -> tuple[list[object], str, Json]:
    """Items, how it ended, and what else the response says then."""
    output: list[object] = []
    if body.get("generate") is False:
        return output, "completed", {}
    if reasons:
        item: Json = {"type": "reasoning", "id": f"rs_{number:06d}", "summary": []}
        if _ENCRYPTED in sequence(body.get("include")):
            item["encrypted_content"] = encrypted(f"thoughts {number}", whose)
        output.append(item)
    if "fail" in options:
        return output, "failed", {"error": {"code": "server_error", "message": "The simulated model failed."}}
    call = answers.function_call(sequence(body.get("tools")), body.get("tool_choice"), asked)
    if call is not None:
        named = {"name": call.name, "arguments": call.arguments, "call_id": f"call_{number:06d}"}
        output.append({"type": "function_call", "id": f"fc_{number:06d}", "status": "completed", **named})
        return output, "completed", {}
    said, most = answers.to_text(asked), body.get("max_output_tokens")
    cut = "incomplete" in options or (most is not None and usage.of_text(said).total > count(most))
    part: Json = {"type": "output_text", "annotations": [], "logprobs": []}
    part["text"] = said[: count(most) * 4 or 8] if cut else said
    status = "incomplete" if cut else "completed"
    output.append(
        {"type": "message", "id": f"msg_{number:06d}", "status": status, "role": "assistant", "content": [part]}
    )
    return output, status, {"incomplete_details": {"reason": "max_output_tokens"}} if cut else {}


def _usage(context: list[object], given: list[object], written: int, output: list[object], reasoning: int) -> Json:
    """What was said before is cached."""
    cached = _tokens(context)
    into, out = cached + _tokens(given) + written, _tokens(output) + reasoning
    return {
        "input_tokens": into,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "output_tokens": out,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": into + out,
    }


def _tokens(items: list[object]) -> int:
    return sum(usage.of_text(_text_of(mapping(item))).total for item in items)


def _text_of(item: Json) -> str:
    content = item.get("content", item.get("output", item.get("arguments")))
    if isinstance(content, str):
        return content
    return " ".join(text(mapping(part).get("text")) for part in sequence(content)).strip()


def _events_of(item: Json, index: int) -> Iterator[Json]:
    place: Json = {"output_index": index}
    yield {"type": "response.output_item.added", **place, "item": {**item, "content": []} if "role" in item else item}
    within: Json = {**place, "item_id": item.get("id")}
    if item.get("type") == "function_call":
        arguments = text(item.get("arguments"))
        for piece in answers.chunks(arguments):
            yield {"type": "response.function_call_arguments.delta", **within, "delta": piece}
        yield {"type": "response.function_call_arguments.done", **within, "arguments": arguments}
    for part in map(mapping, sequence(item.get("content"))):
        inside: Json = {**within, "content_index": 0}
        empty = {**part, "text": ""}
        yield {"type": "response.content_part.added", **inside, "part": empty}
        for piece in answers.pieces(text(part.get("text"))):
            yield {"type": "response.output_text.delta", **inside, "delta": piece, "logprobs": []}
        yield {"type": "response.output_text.done", **inside, "text": part.get("text"), "logprobs": []}
        yield {"type": "response.content_part.done", **inside, "part": part}
    yield {"type": "response.output_item.done", **place, "item": item}
