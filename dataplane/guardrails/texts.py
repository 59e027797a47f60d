"""Where text is, in what clients and providers say: chat completions, the Responses API, realtime sessions.

Whatever is a string is text, unless it is known to be none: ids, enumerations, encoded media. So text in fields that
nobody knew of is judged too. Messages, items and instructions count; what tools are (names, descriptions, schemas) does
not, nor do metadata and what an answer repeats of its request.

Strings that hold JSON (arguments and results of tools) are judged as they are and, before that, by every string and
key in them, since an escape may spell anything. Places must be taken one after the other: each says what is there
after all that was put before.

Sources: the types of openai-python 3.52; `reasoning_content` as vLLM and DeepSeek have it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass

from dataplane.guardrails.judge import Direction

Json = dict[str, object]
Holder = dict[str, object] | list[object]
DEEPEST = 8
"""Strings of JSON within strings of JSON."""
_NESTED = 64
"""Objects and lists in each other."""

_NO_TEXT = frozenset(
    [
        *[
            "type",
            "id",
            "role",
            "status",
            "object",
            "phase",
            "model",
            "event_id",
            "response_id",
            "item_id",
            "stream_id",
            "call_id",
            "tool_call_id",
        ],
        *["previous_item_id", "previous_response_id", "conversation_id", "approval_request_id", "container_id"],
        *[
            "finish_reason",
            "detail",
            "format",
            "voice",
            "conversation",
            "obfuscation",
            "encrypted_content",
            "signature",
        ],
        *["audio", "data", "file_id", "file_data", "b64_json", "partial_image_b64", "server_label"],
    ]
)
"""Fields whose strings are no text."""
_ASIDE = frozenset(
    ["tools", "tool_choice", "functions", "metadata", "logprobs", "usage", "image_url", "content_filter_results"]
)
"""Fields in which nothing is."""
_NAMES = frozenset(
    [
        *[
            "messages",
            "message",
            "content",
            "text",
            "refusal",
            "reasoning_content",
            "tool_calls",
            "function",
            "arguments",
            "name",
        ],
        *["transcript", "audio", "input", "output", "summary", "instructions", "item", "part", "prompt", "variables"],
        *["session", "response", "transcription", "input_audio_transcription", "prediction", "code", "action", "query"],
    ]
)
"""Fields that a place is named by."""
_CHAT = ("messages", "prompt", "suffix", "prediction", "input", "instructions", "documents")
_RESPONSES = ("instructions", "input", "prompt")
"""Fields of requests in which there is text."""
_AUDIO = ("response.output_audio.delta", "response.audio.delta")
_HEARD = "conversation.item.input_audio_transcription."
_SETTINGS = frozenset(
    [
        *["text", "audio", "auto", "disabled", "none", "inf", "minimal", "low", "medium", "high", "xhigh"],
        *["pcm16", "g711_ulaw", "g711_alaw", "item.input_audio_transcription.logprobs"],
    ]
)
"""Words of the API, of modalities, formats and efforts."""
_LANGUAGE = re.compile(r"[a-z]{2}(-[A-Z]{2})?")
_INDEX = re.compile(r"\[\d+\]$")


class Unclear(ValueError):
    """What one reader takes for one thing and another for another. The text says why, without quoting it."""


@dataclass(frozen=True, slots=True)
class Place:
    """A text, and where it is."""

    name: str
    """`messages[2].content`; for logs, so it holds nothing of what a client chose."""
    text: str
    put: Callable[[str], None]
    """Puts another text there."""
    said: Direction
    """Is it the model's (output), or what it was told (input)?"""
    stream: str = ""
    """Of which text it is a piece; empty: it is whole."""
    json: bool = False
    """Is it a piece of JSON? Then what is in it can be told only when it is whole (`within`)."""


def chat_request(body: Json) -> Iterator[Place]:
    """And of what else is served like it: older completions, embeddings. Raises Unclear, as all here."""
    _check_spelling(body, _CHAT)
    for field in _CHAT:
        if _is_tokens(body.get(field)):
            raise Unclear("it is tokens, not text")
        yield from _at(body, field, field, "input")


def chat_reply(body: Json) -> Iterator[Place]:
    yield from _at(body, "choices", "choices", "output")


def chat_chunk(chunk: Json) -> Iterator[Place]:
    """Every text of a chunk is a piece of a text."""
    yield from _walk(chunk.get("choices"), "choices", "output", pieces=True)


def responses_request(body: Json) -> Iterator[Place]:
    _check_spelling(body, _RESPONSES)
    for field in _RESPONSES:
        yield from _at(body, field, field, "input")


def responses_reply(body: Json) -> Iterator[Place]:
    yield from _at(body, "output", "output", "output")
    yield from _at(body, "output_text", "output_text", "output")


def client_event(event: Json) -> Iterator[Place]:
    """Of a realtime session; also `response.create` of the Responses API over a WebSocket."""
    for field in list(event):
        for place in _at(event, field, _named(field), "input"):
            if not _is_setting(place):
                yield place


def _is_setting(place: Place) -> bool:
    """Is it a word of the API, in a field that says how and not what? A Policy against the word `text` refuses no
    session that is to be one of texts, and no webhook is asked about it."""
    field = _INDEX.sub("", place.name)
    if not field.endswith("*") or ".variables." in field or field.startswith("item"):
        return False
    return place.text in _SETTINGS or (
        field.endswith("transcription.*") and _LANGUAGE.fullmatch(place.text) is not None
    )


def server_event(event: Json) -> Iterator[Place]:
    """Of a realtime session, or of a stream of the Responses API."""
    kind = event.get("type")
    if not isinstance(kind, str) or kind == "error" or kind.startswith(("session.", "transcription_session.")):
        return
    said = said_by(event)
    for field, value in list(event.items()):
        if field == "response" and isinstance(value, dict):
            for place in responses_reply(value):
                yield _below("response", place)
        elif field != "delta" or not isinstance(value, str):
            yield from _at(event, field, _named(field), said)
        elif kind not in _AUDIO:
            yield Place(field, value, _putter(event, field), said, stream_of(event), json="arguments" in kind)


def said_by(event: Json) -> Direction:
    """Who has said what is in a server's event. What belongs to a response is the model's, or of tools that the
    provider runs, whatever it says of itself."""
    kind = str(event.get("type"))
    told = kind.startswith(_HEARD) or (not kind.startswith("response.") and _is_told(event.get("item")))
    return "input" if told else "output"


def stream_of(event: Json) -> str:
    """Which text an event is about: the same for its pieces and for the event that has it whole, in beta and GA
    spelling."""
    kind = str(event.get("type")).removesuffix(".delta").removesuffix(".done").removesuffix(".completed")
    kind = kind.replace("response.output_", "response.")
    indexes = (event.get(name) for name in ("output_index", "content_index", "summary_index"))
    return "/".join([kind, str(event.get("item_id", "")), *["" if each is None else str(each) for each in indexes]])


def within(text: str, name: str, put: Callable[[str], None], said: Direction) -> Iterator[Place]:
    """Places in a text that is JSON, if it is; and then the text."""
    current = [text]

    def keep(new: str) -> None:
        current[0] = new
        put(new)

    yield from _inside(text, name, keep, said, 0)
    yield Place(name, current[0], keep, said)


def without_copies(value: object) -> None:
    """Take out what spells a text once more, token by token (`logprobs`): to be done where it is masked."""
    for each in _values(value):
        if isinstance(each, dict):
            each.update({field: None for field in each if field == "logprobs"})


def _values(value: object) -> Iterator[object]:
    stack = [value]
    while stack:
        yield (each := stack.pop())
        if isinstance(each, dict):
            stack.extend(each.values())
        elif isinstance(each, list):
            stack.extend(each)


def _is_told(item: object) -> bool:
    """Is the item what the model was told?"""
    if not isinstance(item, dict):
        return False
    return item.get("role") in ("user", "system", "developer") or str(item.get("type")).endswith("_output")


def _below(name: str, place: Place) -> Place:
    return Place(f"{name}.{place.name}", place.text, place.put, place.said, place.stream, place.json)


def _at(holder: Json, field: str, name: str, said: Direction) -> Iterator[Place]:
    """What is in one field."""
    value = holder.get(field)
    if not _is_aside(field, value):
        yield from _one(holder, field, value, name, said)


def _check_spelling(body: Json, fields: Collection[str]) -> None:
    """Raises Unclear for a field that some servers take for one of these: their JSON knows no case."""
    if any(field not in fields and field.casefold() in fields for field in body):
        raise Unclear("a field is spelled in upper case")


def _is_tokens(value: object) -> bool:
    """Is it, or is in it, what a tokenizer made of text?"""
    prompts = value if isinstance(value, list) else []
    return any(
        isinstance(prompt, int) or (isinstance(prompt, list) and any(isinstance(token, int) for token in prompt))
        for prompt in prompts
    )


def _is_aside(field: str, value: object) -> bool:
    """Is in the field nothing that is judged?"""
    return field in _ASIDE or (field in _NO_TEXT and isinstance(value, str))


def _walk(value: object, name: str, said: Direction, *, pieces: bool = False, depth: int = 0) -> Iterator[Place]:
    if depth > _NESTED:
        raise Unclear("it is nested too deeply")
    if isinstance(value, list):
        for position, each in enumerate(value):
            here = f"{name}[{_index(each, position) if pieces else position}]"
            yield from _one(value, position, each, here, said, pieces=pieces, depth=depth)
    elif isinstance(value, dict):
        drawn = value.get("type") == "image_generation_call"
        for field, each in list(value.items()):
            if field == "variables" and isinstance(each, dict):  # whoever wrote the prompt has named them
                for variable, filled in list(each.items()):
                    yield from _one(
                        each, variable, filled, f"{name}.variables.{_named(variable)}", said, depth=depth + 1
                    )
            elif not _is_aside(field, each) and not (drawn and field == "result"):
                here = f"{name}.{field if pieces else _named(field)}"
                yield from _one(value, field, each, here, said, pieces=pieces, depth=depth)


def _one(
    holder: Holder,
    at: str | int,
    value: object,
    name: str,
    said: Direction,
    *,
    pieces: bool = False,
    depth: int = 0,
) -> Iterator[Place]:
    if not isinstance(value, str):
        yield from _walk(value, name, said, pieces=pieces, depth=depth + 1)
    elif pieces:
        yield Place(name, value, _putter(holder, at), said, stream=name, json=at == "arguments")
    else:
        yield from within(value, name, _putter(holder, at), said)


def _index(value: object, position: int) -> int:
    """Of a choice or a call in a chunk: what it says, for chunks hold but some of them."""
    index = value.get("index") if isinstance(value, dict) else None
    return index if type(index) is int and index >= 0 else position


def _named(field: str) -> str:
    return field if field in _NAMES else "*"


def _putter(holder: Holder, at: str | int) -> Callable[[str], None]:
    def put(text: str) -> None:
        holder[at] = text  # type: ignore[index]

    return put


def _inside(text: str, name: str, put: Callable[[str], None], said: Direction, depth: int) -> Iterator[Place]:
    """What is in a text that may be JSON, without the text itself."""
    value = _parsed(text)
    if value is None:
        return
    if depth == DEEPEST:
        raise Unclear("JSON is in JSON in JSON too often")
    changed = False
    root: list[object] = [value]
    for holder in list(_holders(root)):
        changed = (yield from _held(holder, f"{name}{{}}", said, depth)) or changed
    if changed:  # once, however much was put
        put(json.dumps(root[0], ensure_ascii=False, separators=(",", ":")))


def _held(holder: Holder, name: str, said: Direction, depth: int) -> Generator[Place, None, bool]:
    """The strings in one list, or in one object, whose keys are strings too; whether any was replaced."""
    slots: list[list[object]]
    slots = (
        [[each, field] for field, each in holder.items()] if isinstance(holder, dict) else [[each] for each in holder]
    )
    before = [list(slot) for slot in slots]
    for slot in slots:
        if isinstance(slot[0], str):
            yield from _inside(slot[0], name, _putter(slot, 0), said, depth + 1)
        for at, text in enumerate(slot):
            if isinstance(text, str):
                yield Place(name, text, _putter(slot, at), said)
    if slots == before:
        return False
    if isinstance(holder, dict):
        holder.clear()
        holder.update({str(field): each for each, field in slots})
    else:
        holder[:] = [each for (each,) in slots]
    return True


def _holders(root: list[object]) -> Iterator[Holder]:
    return (each for each in _values(root) if isinstance(each, (dict, list)))


def _parsed(text: str) -> object:
    """JSON that holds strings; None for all other text."""
    if text.lstrip()[:1] not in ("{", "[", '"'):
        return None
    try:
        value: object = json.loads(text, object_pairs_hook=_pairs)
    except RecursionError:
        raise Unclear("JSON is nested too deeply") from None
    except Unclear:
        raise
    except ValueError:
        return None
    return value


def _pairs(pairs: list[tuple[str, object]]) -> Json:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unclear("a key appears twice in one object")
    return found
