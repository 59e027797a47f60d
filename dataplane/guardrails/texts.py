"""Where text is, in what clients and providers say: chat completions, the Responses API, realtime sessions.

Whatever is a string is text, unless it is known to be none: ids, enumerations, encoded media (`fields` names them). So
text in fields that nobody knew of is judged too; in those of a whole request or answer by every string in them, and
what their parts are called. What tools are (names, descriptions, schemas) does not count, nor do metadata and what an
answer repeats of its request.

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

from dataplane.guardrails import fields
from dataplane.guardrails.judge import Direction

Json = dict[str, object]
Holder = dict[str, object] | list[object]
DEEPEST = 8
"""Strings of JSON within strings of JSON."""
_NESTED = 64
"""Objects and lists in each other."""

_CHAT = ("messages", "prompt", "suffix", "prediction", "input", "instructions")
_RESPONSES = ("instructions", "input", "prompt")
"""Fields of requests whose shape is known."""
_SAID = ("output", "output_text")
"""Those of a response."""
_SCALAR = frozenset({str, int})
AUDIO = ("response.output_audio.delta", "response.audio.delta")
_SPEECH = frozenset({"input_audio", "audio_url"})
"""Fields that hold it: OpenAI's, vLLM's."""
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
    return _request(body, _CHAT)


def chat_reply(body: Json) -> Iterator[Place]:
    return _all(body, ("choices", "data"), fields.NOT_ANSWERED, "output")


def chat_chunk(chunk: Json) -> Iterator[Place]:
    """Every text of a choice is a piece of a text."""
    yield from _walk(chunk.get("choices"), "choices", "output", pieces=True)
    yield from _all(chunk, (), fields.NOT_ANSWERED | {"choices"}, "output")


def responses_request(body: Json) -> Iterator[Place]:
    return _request(body, _RESPONSES)


def responses_reply(body: Json) -> Iterator[Place]:
    """A response, a compaction, or a list of items."""
    return _all(body, (*_SAID, "data"), fields.NOT_ANSWERED_BY_RESPONSES, "output")


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
    """Of a realtime session."""
    kind = event.get("type")
    if isinstance(kind, str) and kind != "error" and not kind.startswith(("session.", "transcription_session.")):
        yield from _event(event, _outputs)


def responses_event(event: Json) -> Iterator[Place]:
    """Of a stream of the Responses API, or of its WebSocket."""
    return _event(event, responses_reply)


def _event(event: Json, within_response: Callable[[Json], Iterator[Place]]) -> Iterator[Place]:
    kind, said = str(event.get("type")), said_by(event)
    for field, value in list(event.items()):
        if field == "response" and isinstance(value, dict):
            for place in within_response(value):
                yield _below("response", place)
        elif field != "delta" or not isinstance(value, str):
            yield from _at(event, field, _named(field), said)
        elif kind not in AUDIO:
            yield Place(field, value, _putter(event, field), said, stream_of(event), json="arguments" in kind)


def piece(event: Json) -> Place | None:
    """The only text of an event that is nothing but a piece of one, as most are: what `server_event` says, sooner."""
    kind, text = event.get("type"), event.get("delta")
    if not (isinstance(kind, str) and kind.startswith("response.") and isinstance(text, str)) or kind in AUDIO:
        return None
    if not event.keys() <= fields.OF_A_PIECE or not {type(value) for value in event.values()} <= _SCALAR:
        return None
    return Place("delta", text, _putter(event, "delta"), "output", stream_of(event), json="arguments" in kind)


def _outputs(response: Json) -> Iterator[Place]:
    """What a response says, where the rest of it is as it was asked for."""
    for field in _SAID:
        yield from _at(response, field, field, "output")


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


def speaks(value: object) -> bool:
    """Is there speech in a request, which nobody has written down?"""
    return any(isinstance(each, dict) and not _SPEECH.isdisjoint(each) for each in _values(value))


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


def _request(body: Json, known: Collection[str]) -> Iterator[Place]:
    yield from _all(body, known, fields.NOT_ASKED, "input")
    for field, value in body.items():  # at last, so that all texts have been looked at
        _check_readable(field, value)
        if field not in fields.NOT_ASKED and _is_tokens(value):
            raise Unclear("it is tokens, not text")


def _all(body: Json, known: Collection[str], none: Collection[str], said: Direction) -> Iterator[Place]:
    """What is in the fields of a request or an answer: in the `known` ones as far as it is text there, in all others
    but `none` whatever is a string, and what it is called."""
    for field, value in list(body.items()):
        if field in known:
            yield from _at(body, field, field, said)
        elif field not in none and field.casefold() not in fields.EMBEDDED and isinstance(value, (str, list, dict)):
            yield from _every(body, field, said)


def _every(holder: Json, field: str, said: Direction) -> Iterator[Place]:
    root: list[object] = [holder[field]]
    for each in list(_holders(root)):
        if (yield from _held(each, _named(field), said, 0, fields.WORDS)):
            holder[field] = root[0]


def _check_readable(field: str, value: object) -> None:
    if value and field.casefold() in fields.EMBEDDED:
        raise Unclear("it is embeddings, not text")


def _is_tokens(value: object) -> bool:
    """Is it, or is in it, what a tokenizer made of text?"""
    prompts = value if isinstance(value, list) else []
    return any(
        type(prompt) is int or (isinstance(prompt, list) and any(type(token) is int for token in prompt))
        for prompt in prompts
    )


def _is_aside(field: str, value: object) -> bool:
    """Is in the field nothing that is judged?"""
    return field in fields.ASIDE or (field in fields.NO_TEXT and isinstance(value, str))


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
            _check_readable(field, each)
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
    return field if field in fields.NAMES else "*"


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


def _held(
    holder: Holder, name: str, said: Direction, depth: int, words: Collection[str] = ()
) -> Generator[Place, None, bool]:
    """The strings in one list, or in one object, whose keys are strings too, but for these `words`; whether any was
    replaced."""
    slots: list[list[object]]
    slots = (
        [[each, field] for field, each in holder.items()] if isinstance(holder, dict) else [[each] for each in holder]
    )
    before = [list(slot) for slot in slots]
    for slot in slots:
        if isinstance(slot[0], str):
            yield from _inside(slot[0], name, _putter(slot, 0), said, depth + 1)
        for at, text in enumerate(slot):
            if isinstance(text, str) and text not in words:
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
