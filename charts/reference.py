"""docs/reference/values.md: every value of both charts."""

from __future__ import annotations

import json
from collections.abc import Iterator

from charts.parts import Part
from charts.schema import Node, tree

_INTRODUCTION = """\
<!-- Made from charts/values.py by `python -m charts.generate`; edit that. -->

# Values of the charts

What [install](../install.md) can be told with `--set` or `--values`. `[]` in a path is an entry of a list. Unknown
values are refused, and so are those that contradict each other.
"""


def render(charts: dict[str, type[Part]]) -> str:
    """The page, in Markdown: a table for each chart."""
    return "\n".join([_INTRODUCTION, *(_chart(name, tree(values), values()) for name, values in charts.items())])


def _chart(name: str, schema: Node, values: Part) -> str:
    defaults = values.model_dump(by_alias=True)
    head = ["| Value | Default | Description |", "|---|---|---|"]
    rows = (f"| `{path}` | {_default(path, defaults)} | {_prose(node)} |" for path, node in _fields("", schema))
    return "\n".join([f"## {name}", "", *head, *rows]) + "\n"


def _fields(path: str, node: Node) -> Iterator[tuple[str, Node]]:
    """Every value below the node that has none below itself; entries of lists after their list."""
    if isinstance(items := node.get("items"), dict):
        yield from _fields(f"{path}[]", items)
    fields = node.get("properties")
    for name, child in fields.items() if isinstance(fields, dict) else ():
        below = f"{path}.{name}" if path else name
        if "properties" not in child:
            yield below, child
        elif not child["properties"]:
            continue
        yield from _fields(below, child)


def _default(path: str, defaults: object) -> str:
    """What holds without it; nothing for what is in a list."""
    for name in path.split("."):
        if not isinstance(defaults, dict) or name not in defaults:
            return ""
        defaults = defaults[name]
    return f"`{json.dumps(defaults)}`"


def _prose(node: Node) -> str:
    text = str(node.get("description", "")).replace("|", r"\|")
    choices = node.get("enum")
    return f"{text} One of {', '.join(map(str, choices))}." if isinstance(choices, list) else text
