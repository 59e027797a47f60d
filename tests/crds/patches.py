"""Specs from a few words: values put at a path into another spec, and YAML tags for what is long."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Final

import yaml

ABSENT: Final = object()
"""In the place of a value: the field is not there."""
_STEP = re.compile(r'\.?([A-Za-z]\w*)|\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]')


def replaced(spec: object, path: str, value: object) -> object:
    """A copy of the spec with this value at the path, such as `spec.models[0].name`. What leads there is made."""
    document: object = {"spec": copy.deepcopy(spec)}
    *steps, last = _steps(path)
    holder = document
    for step, following in zip(steps, [*steps, last][1:], strict=True):
        holder = _inside(holder, step, [] if isinstance(following, int) else {})
    if value is ABSENT:
        assert isinstance(holder, dict)
        holder.pop(last, None)
    else:
        _put(holder, last, copy.deepcopy(value))
    assert isinstance(document, dict)
    return document["spec"]


def _steps(path: str) -> Iterator[str | int]:
    for found in _STEP.finditer(path):
        yield int(found[2]) if found[2] else found[1] or found[3]


def _inside(holder: object, step: str | int, new: object) -> object:
    """What is at the step; `new`, where nothing is."""
    if isinstance(holder, list) and isinstance(step, int) and step < len(holder):
        return holder[step]
    if isinstance(holder, dict) and step in holder:
        return holder[step]
    _put(holder, step, new)
    return new


def _put(holder: object, step: str | int, value: object) -> None:
    if isinstance(holder, list):
        assert isinstance(step, int)
        holder[step : step + 1] = [value]
    else:
        assert isinstance(holder, dict)
        holder[step] = value


class Loader(yaml.SafeLoader):
    """Reads `!text [a, 64, b, 1]`, `!list [33, x#]`, `!map [65, k#, v]` and `!absent`."""


def _arguments(loader: Loader, node: yaml.Node) -> list[object]:
    assert isinstance(node, yaml.SequenceNode)
    return list(loader.construct_sequence(node, deep=True))


def _text(loader: Loader, node: yaml.Node) -> str:
    parts = _arguments(loader, node)
    return "".join(str(part) * int(str(times)) for part, times in zip(parts[::2], parts[1::2], strict=True))


def _list(loader: Loader, node: yaml.Node) -> list[object]:
    times, entry = _arguments(loader, node)
    return [_counted(entry, number) for number in range(int(str(times)))]


def _map(loader: Loader, node: yaml.Node) -> dict[object, object]:
    times, key, value = _arguments(loader, node)
    return {_counted(key, number): value for number in range(int(str(times)))}


def _counted(value: object, number: int) -> object:
    """The value with this number for every "#" in its text."""
    if isinstance(value, str):
        return value.replace("#", str(number))
    if isinstance(value, dict):
        return {key: _counted(entry, number) for key, entry in value.items()}
    if isinstance(value, list):
        return [_counted(entry, number) for entry in value]
    return value


Loader.add_constructor("!text", _text)
Loader.add_constructor("!list", _list)
Loader.add_constructor("!map", _map)
Loader.add_constructor("!absent", lambda _, __: ABSENT)
