"""values.yaml: every value with its default, and its description as a comment."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import yaml

from charts.parts import Part

HEADER = "# Made from {source} by `python -m charts.generate`; edit that.\n"
WIDTH = 110


def render(values: Part, source: str) -> str:
    """The defaults as YAML."""
    return HEADER.format(source=source) + "".join(f"{line}\n" for line in _fields(values, 0))


def _fields(part: Part, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for name, field in type(part).model_fields.items():
        if depth == 0:
            yield ""
        key, value = field.alias or name, getattr(part, name)
        if field.description:
            yield from _comment(field.description, indent)
        for example in field.examples or ():
            yield from _comment("For instance:", indent)
            yield from (f"{indent}# {line}" for line in _yaml(example))
        if isinstance(value, Part):
            yield f"{indent}{key}:"
            yield from _fields(value, depth + 1)
        elif isinstance(value, dict | tuple) and value:
            yield f"{indent}{key}:"
            yield from (f"{indent}  {line}" for line in _yaml(list(value) if isinstance(value, tuple) else value))
        else:
            yield f"{indent}{key}: {_scalar(value)}"


def _comment(text: str, indent: str) -> list[str]:
    start = f"{indent}# "
    return textwrap.wrap(text, WIDTH, initial_indent=start, subsequent_indent=start, break_on_hyphens=False)


def _yaml(value: object) -> list[str]:
    return yaml.safe_dump(value, sort_keys=False, width=WIDTH).splitlines()


def _scalar(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{value}"'
        case dict():
            return "{}"
        case tuple():
            return "[]"
        case _:
            return str(value)
