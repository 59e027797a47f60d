"""Objects as YAML text that means the same to kubectl and to Tidegate."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

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


def azure(url: str, api_version: str) -> Object:
    """A provider of the kind azure: by the resource's name where the address says no more."""
    resource = _RESOURCE.fullmatch(url)
    named = {"resourceName": resource[1]} if resource else {}
    version = {"apiVersion": api_version} if api_version else {}
    return {"azure": {**named, **version}, **({} if resource else {"url": url})}


def duration(seconds: Decimal) -> str:
    """As the API has it: `90s`, `2500ms`."""
    milliseconds = int(seconds * 1000)
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"


def secret(name: str, namespace: str, entries: Mapping[str, str]) -> Object:
    """A Secret of these entries."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": dict(entries)}


AZURE_VERSION: Final = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}(-preview)?")
"""Of its API before GA."""
_RESOURCE = re.compile(r"https://([A-Za-z0-9][A-Za-z0-9-]{0,62}[A-Za-z0-9])\.openai\.azure\.com(?:/openai(?:/v1)?)?/?")


class _Plain(yaml.SafeDumper):
    """Without anchors; text that kubectl would take for a number or a truth is in quotes."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


def _quoted(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = None if value and meaning(value) == value else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Plain.add_representer(str, _quoted)
