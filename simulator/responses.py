"""From `response.create` to a plan: what is checked, what the model sees, what it will say. Pure."""

import math

import orjson

from simulator import answers, session, usage
from simulator.answers import Call
from simulator.errors import invalid
from simulator.items import Item, Items, described, has_audio, new_item
from simulator.scenarios import Options
from simulator.shapes import Json, mapping, sequence, text
from simulator.turns import Plan
from simulator.usage import Tokens

_FIELDS = frozenset(
    {
        "instructions",
        "output_modalities",
        "audio",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "max_output_tokens",
        "conversation",
        "input",
        "metadata",
        "prompt",
        "reasoning",
    }
)
_METADATA_PAIRS = 16
_INF = "inf"


def check(params: Json) -> None:
    """The fields of `response.create.response`. Raises RefusedError."""
    session.only(params, _FIELDS, "response")
    if "output_modalities" in params:
        session.check_modalities(params["output_modalities"], "response.output_modalities")
    if params.get("conversation", "auto") not in ("auto", "none"):
        raise invalid("response.conversation", "supported are 'auto' and 'none'.")
    if len(mapping(params.get("metadata"))) > _METADATA_PAIRS:
        raise invalid("response.metadata", f"at most {_METADATA_PAIRS} pairs are allowed.")
    limit = params.get("max_output_tokens", _INF)
    if limit != _INF and (not isinstance(limit, int) or limit < 1):
        raise invalid("response.max_output_tokens", "expected a whole number of at least 1, or 'inf'.")


def last_text(items: Items) -> str:
    """What was written last, for scenarios that are chosen by text."""
    last = _last_said(items.all())
    return described(last) if last else ""


class Planner:
    """Plans the responses of one session; remembers what the model has read, since that is cached."""

    def __init__(self, conversation_id: str, items: Items) -> None:
        self._conversation_id, self._items = conversation_id, items
        self._prefix = ""

    def plan(self, response_id: str, params: Json, config: Json, options: Options) -> Plan:
        """Decide one response; `config` is the session object. Raises RefusedError for bad `input`."""
        in_band = params.get("conversation") != "none"
        merged = {**config, **params, "audio": {"output": _output(params, config)}}
        context = self._context(params, config)
        into, cached = self._tokens(context, merged)
        limit, spoken = merged["max_output_tokens"], merged["output_modalities"] == ["audio"]
        return Plan(
            response=_response(response_id, self._conversation_id if in_band else None, merged),
            answer=_answer(context, merged, text(params.get("instructions"))),
            into=into,
            cached=cached,
            options=options,
            items=self._items if in_band else None,
            format=mapping(_output(params, config)["format"]) if spoken else None,
            limit=limit if isinstance(limit, int) else math.inf,
        )

    def _context(self, params: Json, config: Json) -> list[Item]:
        given = params.get("input")
        if given is None:
            return self._items.all()
        bytes_per_ms = session.bytes_per_ms(mapping(session.heard(config).get("format")))
        return [self._given(mapping(item), bytes_per_ms) for item in sequence(given)]

    def _given(self, item: Json, bytes_per_ms: int) -> Item:
        if item.get("type") == "item_reference":
            return self._items.find(item.get("id"), "reference", "response.input")
        return new_item(item, text(item.get("id")), bytes_per_ms)

    def _tokens(self, context: list[Item], merged: Json) -> tuple[Tokens, Tokens]:
        """Input tokens: everything, every time; and those of them that an earlier response has read."""
        tools = sequence(merged["tools"])
        prefix = text(merged["instructions"]) + (orjson.dumps(tools).decode() if tools else "")
        fixed = usage.of_text(prefix)
        into = sum((item.tokens for item in context), fixed)
        known = fixed if prefix == self._prefix else Tokens()
        cached = sum((item.tokens for item in context if item.known), known)
        self._prefix = prefix
        for item in context:
            item.known = True
        return into, cached


def _output(params: Json, config: Json) -> Json:
    """Format and voice of what is spoken, by the response or else by the session."""
    default = mapping(mapping(config["audio"])["output"])
    chosen = {**default, **mapping(mapping(params.get("audio")).get("output"))}
    return {"format": chosen["format"], "voice": chosen["voice"]}


def _response(response_id: str, conversation_id: str | None, merged: Json) -> Json:
    return {
        "object": "realtime.response",
        "id": response_id,
        "status": "in_progress",
        "status_details": None,
        "output": [],
        "conversation_id": conversation_id,
        "output_modalities": merged["output_modalities"],
        "max_output_tokens": merged["max_output_tokens"],
        "audio": merged["audio"],
        "usage": None,
        "metadata": merged.get("metadata"),
    }


def _answer(context: list[Item], merged: Json, instructions: str) -> str | Call:
    last = _last_said(context)
    if last is not None and last.body["type"] == "function_call_output":
        return answers.to_tool_output(described(last))
    asked = (described(last) if last else "") or instructions
    call = answers.function_call(sequence(merged["tools"]), merged["tool_choice"], asked)
    if call is not None:
        return call
    return answers.SPOKEN if last is not None and has_audio(last) else answers.to_text(asked)


def _last_said(context: list[Item]) -> Item | None:
    """The last item that is not the model's own."""
    said = (
        item
        for item in reversed(context)
        if item.body.get("role") == "user" or item.body["type"] == "function_call_output"
    )
    return next(said, None)
