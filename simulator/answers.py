"""What the simulated model says: short, human, and a function of what it was asked."""

import re
from dataclasses import dataclass

import orjson

from simulator.shapes import Json, mapping, sequence, text

SPOKEN = "I can hear you well. What would you like to know?"
HEARD = "Hello, can you hear me?"
_QUOTED = 80


@dataclass(frozen=True)
class Call:
    """A function that the model wants called; `arguments` is JSON text."""

    name: str
    arguments: str


def to_text(asked: str) -> str:
    """An answer to something written."""
    asked = " ".join(asked.split())
    lower = asked.lower()
    if not asked:
        return "I am listening."
    if "one word" in lower:
        return "Hello!"
    if re.search(r"\b(hello|hi|hey)\b", lower):
        return "Hello! It is good to hear from you. How can I help?"
    if asked.endswith("?"):
        return f"You asked “{_short(asked)}”. A good question, and this is a simulated answer to it."
    return f"You said “{_short(asked)}”. Thank you, I have noted it."


def to_tool_output(output: str) -> str:
    """An answer that passes on what a function returned."""
    return f"Here is what I found: {_short(output)}"


def function_call(tools: list[object], choice: object, asked: str) -> Call | None:
    """The call that the model makes: of the tool that `choice` names, else of the first; None without one.

    Tools may be flat (realtime) or nested under `function` (chat).
    """
    functions = [_function(tool) for tool in tools if mapping(tool).get("type") == "function"]
    wanted = text(_function(choice).get("name"))
    chosen = next((f for f in functions if wanted in ("", f.get("name"))), None)
    if chosen is None or choice == "none":
        return None
    arguments = _example(mapping(chosen.get("parameters")), "", asked)
    return Call(text(chosen.get("name")), orjson.dumps(arguments or {}).decode())


def pieces(said: str) -> list[str]:
    """The answer in the pieces in which it is streamed: words, each with the space before it."""
    return re.findall(r"\s*\S+", said)


def chunks(arguments: str, size: int = 8) -> list[str]:
    """Function arguments in the pieces in which they are streamed."""
    return [arguments[start : start + size] for start in range(0, len(arguments), size)]


def _short(said: str) -> str:
    return said if len(said) <= _QUOTED else said[: _QUOTED - 1] + "…"


def _function(tool: object) -> Json:
    return mapping(mapping(tool).get("function")) or mapping(tool)


def _example(schema: Json, name: str, asked: str) -> object:
    """A value that fits a JSON schema."""
    options = sequence(schema.get("enum")) + sequence(schema.get("examples"))
    if options or "default" in schema:
        return options[0] if options else schema["default"]
    kind = schema.get("type")
    match kind[0] if isinstance(kind, list) and kind else kind:
        case "object":
            fields = mapping(schema.get("properties")).items()
            return {field: _example(mapping(part), field, asked) for field, part in fields}
        case "array":
            return [_example(mapping(schema.get("items")), name, asked)]
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return _subject(asked) or name or "something"


def _subject(asked: str) -> str:
    """The last name in the text (What is the weather in Lisbon? → Lisbon), so that arguments look alive."""
    names = re.findall(r"(?<=[a-z,] )[A-Z][\w-]+", asked)
    return names[-1] if names else ""
