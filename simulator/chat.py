"""One chat completion, from the request body to the reply or the chunks of a stream. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from simulator import answers, usage
from simulator.errors import RefusedError, invalid, missing
from simulator.scenarios import Options
from simulator.shapes import Json, count, mapping, sequence, text
from simulator.usage import Tokens

_REASONING_TOKENS = 64


@dataclass(frozen=True)
class Completion:
    """What the model answered, and what that costs."""

    id: str
    model: str
    created: int
    message: Json
    finish: str
    usage: Json

    def reply(self, options: Options) -> tuple[Json, Json | None]:
        """The JSON reply, and the usage in it as the scenario has it."""
        choice = {"index": 0, "message": self.message, "logprobs": None, "finish_reason": self.finish}
        reply = {**self._head("chat.completion"), "choices": [choice]}
        sent = usage.attach(reply, self.usage, options)
        return reply, sent

    def chunks(self, options: Options, *, usage_wanted: bool) -> tuple[list[Json], Json | None]:
        """The chunks of the stream, and the usage in the last, extra one if it was wanted."""
        chunks = [self._chunk(delta) for delta in self._deltas()]
        chunks.append(self._chunk({}, self.finish))
        last = {**self._head("chat.completion.chunk"), "choices": list[object]()}
        sent = usage.attach(last, self.usage, options) if usage_wanted else None
        if "usage" in last:
            chunks = [{**chunk, "usage": None} for chunk in chunks] + [last]
        return chunks, sent

    def _head(self, kind: str) -> Json:
        common = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return {**common, "service_tier": "default", "system_fingerprint": "fp_simulator"}

    def _chunk(self, delta: Json, finish: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def _deltas(self) -> Iterator[Json]:
        calls = sequence(self.message.get("tool_calls"))
        yield {"role": "assistant", "content": None if calls else "", "refusal": None}
        for index, call in enumerate(calls):
            function = mapping(mapping(call).get("function"))
            yield {"tool_calls": [{**mapping(call), "index": index, "function": {**function, "arguments": ""}}]}
            for piece in answers.chunks(text(function.get("arguments"))):
                yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
        for piece in answers.pieces(text(self.message.get("content"))):
            yield {"content": piece}


def asked(body: Json) -> str:
    """The text of the last message."""
    messages = sequence(body.get("messages"))
    return _text_of(mapping(messages[-1])) if messages else ""


def complete(body: Json, number: int, created: int, options: Options) -> Completion:
    """Answer a request body; `number` makes the ids, `created` is Unix time. Raises RefusedError."""
    model = _checked_model(body)
    messages = [mapping(message) for message in sequence(body.get("messages"))]
    if not messages:
        raise missing("messages")
    said, call = _decide(body, messages[-1])
    said, finish = _limited(said, body)
    reasons = "reasoning" in options or body.get("reasoning_effort") not in (None, "none")
    reasoning = _REASONING_TOKENS if reasons else 0
    written = int(options.number("cache-write")) if "cache-write" in options else 0
    tokens = [_tokens(message) for message in messages]
    out = usage.of_text(call.name + call.arguments if call else said).total + reasoning
    return Completion(
        id=f"chatcmpl-{number:06d}",
        model=model,
        created=created,
        message=_message(said, call, number),
        finish="tool_calls" if call else finish,
        usage=usage.chat(sum(tokens, Tokens()), _cached(messages, tokens), written, out, reasoning),
    )


def _checked_model(body: Json) -> str:
    model = text(body.get("model"))
    if not model:
        raise missing("model")
    if model.startswith("missing-"):
        message = f"The model `{model}` does not exist or you do not have access to it."
        raise RefusedError(message, "model_not_found", status=404)
    return model


def _decide(body: Json, last: Json) -> tuple[str, answers.Call | None]:
    asked = _text_of(last)
    if last.get("role") == "tool":
        return answers.to_tool_output(asked), None
    call = answers.function_call(sequence(body.get("tools")), body.get("tool_choice"), asked)
    return ("", call) if call else (answers.to_text(asked), None)


def _limited(said: str, body: Json) -> tuple[str, str]:
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    if limit is None or usage.of_text(said).total <= count(limit):
        return said, "stop"
    if count(limit) < 1:
        raise invalid("max_completion_tokens", "expected a whole number of at least 1.")
    return said[: count(limit) * 4], "length"


def _message(said: str, call: answers.Call | None, number: int) -> Json:
    message: Json = {"role": "assistant", "content": said, "refusal": None, "annotations": []}
    if call is None:
        return message
    function = {"name": call.name, "arguments": call.arguments}
    tool_call = {"id": f"call_{number:06d}", "type": "function", "function": function}
    return {**message, "content": None, "tool_calls": [tool_call]}


def _text_of(message: Json) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    return " ".join(text(mapping(part).get("text")) for part in sequence(content)).strip()


def _tokens(message: Json) -> Tokens:
    """Text, and what was attached: pictures by size, audio by the length of its base64 (24 kHz PCM)."""
    tokens = usage.of_text(_text_of(message))
    for part in map(mapping, sequence(message.get("content"))):
        if part.get("type") == "image_url":
            tokens += usage.of_image(text(mapping(part.get("image_url")).get("url")))
        if part.get("type") == "input_audio":
            data = text(mapping(part.get("input_audio")).get("data"))
            tokens += usage.of_audio_heard(len(data) * 3 / 4 / 48)
    return tokens


def _cached(messages: list[Json], tokens: list[Tokens]) -> int:
    """Whatever came before the model's last answer was sent before."""
    answered = [place for place, message in enumerate(messages) if message.get("role") == "assistant"]
    return sum((t.total for t in tokens[: answered[-1]]), 0) if answered else 0
