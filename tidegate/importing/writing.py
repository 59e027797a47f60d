"""Objects as YAML text that means the same to kubectl and to Tidegate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import yaml

from tidegate.yaml_scalars import meaning

Object = dict[str, object]


def text(objects: Iterable[Mapping[str, object]]) -> str:
    """One document for each."""
    return "---\n".join(
        yaml.dump(dict(each), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110) for each in objects
    )


class _Plain(yaml.SafeDumper):
    """Without anchors; text that kubectl would take for a number or a truth is in quotes."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


def _quoted(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = None if value and meaning(value) == value else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Plain.add_representer(str, _quoted)
