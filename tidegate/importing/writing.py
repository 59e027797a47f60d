"""Objects as YAML text that means the same to kubectl and to Tidegate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import yaml

import crds.base
from tidegate.yaml_scalars import meaning

Object = dict[str, object]


def text(objects: Iterable[Mapping[str, object]]) -> str:
    """One document for each."""
    return "---\n".join(
        yaml.dump(dict(each), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110) for each in objects
    )


def object_of(kind: str, name: str, namespace: str, spec: Mapping[str, object]) -> Object:
    """A Backend or Policy."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": crds.base.API_VERSION, "kind": kind, "metadata": metadata, "spec": dict(spec)}


def duration(seconds: Decimal) -> str:
    """As the API has it: `90s`, `2500ms`."""
    milliseconds = int(seconds * 1000)
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"


def secret(name: str, namespace: str, entries: Mapping[str, str]) -> Object:
    """A Secret of these entries."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": dict(entries)}


class _Plain(yaml.SafeDumper):
    """Without anchors; text that kubectl would take for a number or a truth is in quotes."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


def _quoted(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = None if value and meaning(value) == value else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Plain.add_representer(str, _quoted)
