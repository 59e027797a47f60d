"""The CustomResourceDefinitions, made from the models: `python -m crds.generate [--check]`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import yaml

from crds.artefacts import keep
from crds.backend import BackendSpec
from crds.base import GROUP, VERSION, ApiModel
from crds.parsing import KINDS
from crds.policy import PolicySpec
from crds.status import BackendStatus, PolicyStatus
from crds.structural import Schema, structural

HEADER: Final = "# Made from the models in crds/ by `python -m crds.generate`; edit those.\n"
DIRECTORY: Final = Path(__file__).parent / "generated"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0  # above 0: only with `-o wide`


@dataclass(frozen=True, slots=True)
class Resource:
    """What a CRD says about a kind beside its fields."""

    plural: str
    short: str
    spec: type[ApiModel]
    status: type[ApiModel]
    columns: tuple[Column, ...]
    labels: dict[str, str] = field(default_factory=dict)


def _condition(name: str, priority: int = 0) -> Column:
    return Column(name, f'.status.conditions[?(@.type=="{name}")].status', priority=priority)


def _at_targets(name: str) -> Column:
    return Column(name, f'.status.ancestors[*].conditions[?(@.type=="{name}")].status')


_AGE = Column("Age", ".metadata.creationTimestamp", "date")

RESOURCES: Final = {
    "Backend": Resource(
        plural="backends",
        short="tgb",
        spec=BackendSpec,
        status=BackendStatus,
        columns=(*map(_condition, ("Ready", "Accepted", "Programmed")), _condition("Healthy", 1), _AGE),
    ),
    "Policy": Resource(
        plural="policies",
        short="tgp",
        spec=PolicySpec,
        status=PolicyStatus,
        columns=(
            Column("Target-Kind", ".spec.targetRefs[*].kind"),
            Column("Target", ".spec.targetRefs[*].name"),
            Column("Section", ".spec.targetRefs[*].sectionName", priority=1),
            *map(_at_targets, ("Accepted", "Enforced", "Programmed")),
            Column("Precedence", ".spec.precedence", priority=1),
            _AGE,
        ),
        labels={"gateway.networking.k8s.io/policy": "Direct"},
    ),
}


def crd(kind: str) -> dict[str, object]:
    """The CustomResourceDefinition of a kind, "Backend" or "Policy" (apiextensions.k8s.io/v1)."""
    resource = RESOURCES[kind]
    metadata: dict[str, object] = {"name": f"{resource.plural}.{GROUP}"}
    if resource.labels:
        metadata["labels"] = dict(resource.labels)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": resource.plural,
                "singular": kind.lower(),
                "shortNames": [resource.short],
                "categories": ["tidegate"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(column) for column in resource.columns],
                    "schema": {"openAPIV3Schema": schema(kind)},
                }
            ],
        },
    }


def schema(kind: str) -> Schema:
    """The structural schema of a whole object of this kind."""
    return {
        "type": "object",
        "description": KINDS[kind].__doc__,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"{GROUP}/{VERSION}"},
            "kind": {"type": "string", "description": kind},
            "metadata": {"type": "object"},
            "spec": structural(RESOURCES[kind].spec),
            "status": structural(RESOURCES[kind].status),
        },
    }


def render() -> dict[str, str]:
    """Every CRD as YAML, by file name. The same models give the same bytes."""
    return {f"{RESOURCES[kind].plural}.yaml": HEADER + _yaml(crd(kind)) for kind in RESOURCES}


def _column(column: Column) -> dict[str, object]:
    wide = {"priority": column.priority} if column.priority else {}
    return {"name": column.name, "type": column.type, "jsonPath": column.path, **wide}


class _Plain(yaml.SafeDumper):
    """Writes shared values in full: an anchor would surprise a reader, and some tools."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


def _yaml(document: dict[str, object]) -> str:
    return yaml.dump(document, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110)


if __name__ == "__main__":
    sys.exit(keep({DIRECTORY / name: text for name, text in render().items()}, sys.argv[1:], "crds.generate"))
