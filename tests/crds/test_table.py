"""The table has documents on both sides of everything that the schemas demand: no bound, choice or rule without."""

from collections.abc import Iterator

import pytest

from crds.structural import Schema, as_mapping
from tests.crds.server import defaulted, refusals
from tests.crds.table import KINDS, Case, everything, places, shape, spec_schema


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_the_schema_demands_is_without_documents(kind: str) -> None:
    node = spec_schema(kind)
    wanted = set(_demands("spec", node))
    cases = [case for group in everything().values() for case in group if case.kind == kind]
    found = {note for case in cases for note in (_refused(node, case) if case.errors else _accepted(node, case))}
    assert wanted - found == set()


def _demands(path: str, node: Schema) -> Iterator[str]:
    """What the documents must show of a field and of those in it."""
    yield f"{path}: not of type {node['type']}"
    for key, bound in node.items():
        if isinstance(bound, int) and key.startswith(("min", "max")):
            yield f"{path}: {key} passed by one"
            if key != "minLength":  # rules want more of most texts than one character
                yield f"{path}: {key} at its bound"
    if "enum" in node:
        yield f"{path}: unsupported value"
        yield from (f"{path}: {choice}" for choice in _list(node["enum"]))
    if "x-kubernetes-list-type" in node:
        yield f"{path}: duplicate value"
    yield from (f"{path}: {as_mapping(rule)['message']}" for rule in _list(node.get("x-kubernetes-validations", [])))
    yield from (f"{path}.{name}: required" for name in _list(node.get("required", [])))
    if node["type"] == "object" and "additionalProperties" not in node:
        yield f"{path}.zzz: unknown field"
    for name, child in as_mapping(node.get("properties", {})).items():
        if "default" in as_mapping(child):
            yield f"{path}.{name}: default"
        yield from _demands(f"{path}.{name}", as_mapping(child))
    for key in ("items", "additionalProperties"):
        if key in node:
            yield from _demands(f"{path}[]", as_mapping(node[key]))


def _accepted(node: Schema, case: Case) -> Iterator[str]:
    for path, part, value in places(node, defaulted(node, case.spec)):
        yield from (f"{shape(path)}: {key} at its bound" for key in _bounds_met(part, value, by=0))
        if "enum" in part:
            yield f"{shape(path)}: {value}"
    if case.stored is not None:
        written = {path for path, _, _ in places(node, case.spec)}
        yield from (f"{shape(path)}: default" for path, _, _ in places(node, case.stored) if path not in written)


def _refused(node: Schema, case: Case) -> Iterator[str]:
    yield from map(shape, refusals(node, case.spec, "spec"))
    for path, part, value in places(node, case.spec):
        yield from (f"{shape(path)}: {key} passed by one" for key in _bounds_met(part, value, by=1))


def _bounds_met(node: Schema, value: object, *, by: int) -> Iterator[str]:
    """Bounds that the value just keeps (by 0) or passes by 1."""
    size = len(value) if isinstance(value, str | list | dict) else value
    for key, bound in node.items():
        if isinstance(bound, int) and key.startswith(("min", "max")):
            wanted = bound - by if key.startswith("min") else bound + by
            if size == wanted:
                yield key


def _list(value: object) -> list[object]:
    assert isinstance(value, list)
    return value
