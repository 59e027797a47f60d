"""Templates that are made: the CRDs, and what the data plane's code says about its end."""

from __future__ import annotations

import math

import yaml

from crds.generate import HEADER, RESOURCES, crd
from dataplane.process.drain import LAST_WORDS, Drain

_METADATA = """\
metadata:
  name: {name}
  labels:
    {{{{- include "tidegate-crds.labels" . | nindent 4 }}}}
{labels}
  {{{{- if .Values.keep }}}}
  annotations:
    helm.sh/resource-policy: keep
  {{{{- end }}}}
"""


def crds() -> dict[str, str]:
    """Every CRD as a template, by file name."""
    return {f"{resource.plural}.yaml": HEADER + _crd(kind) for kind, resource in RESOURCES.items()}


def _crd(kind: str) -> str:
    document = crd(kind)
    metadata = document["metadata"]
    assert isinstance(metadata, dict)
    labels = "".join(f"    {name}: {value}\n" for name, value in metadata.get("labels", {}).items())
    head = {key: document[key] for key in ("apiVersion", "kind")}
    body = _yaml({"spec": document["spec"]})
    return _yaml(head) + _METADATA.format(name=metadata["name"], labels=labels).replace("\n\n", "\n") + body


def ending() -> str:
    """The template with the seconds that a data plane needs beside its drain's phases, which values set."""
    beside = math.ceil(Drain().settling + LAST_WORDS)
    return f"""\
{{{{- /* Made from dataplane/process/drain.py by `python -m charts.generate`; edit that. */ -}}}}
{{{{- define "tidegate.ending" -}}}}{beside}{{{{- end }}}}
"""


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


def _yaml(document: dict[str, object]) -> str:
    """YAML in which Helm finds no template."""
    text = yaml.dump(document, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110)
    return text.replace("{{", '{{ "{{" }}')
