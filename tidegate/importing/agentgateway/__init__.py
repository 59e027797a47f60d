"""agentgateway's resources to Backends, Policies and Secrets.

    backends    AgentgatewayBackend → Backend     (upstreams: how providers are called)
    policies    AgentgatewayPolicy  → Policy      (headers: what becomes of CEL)
    advice      what to do about everything else

HTTPRoutes, Gateways, ReferenceGrants and Secrets go on as they are, but for what leads to agentgateway's kinds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import crds.base
from tidegate.importing.agentgateway import advice
from tidegate.importing.agentgateway.backends import Broader, backend
from tidegate.importing.agentgateway.passing import passed_on
from tidegate.importing.agentgateway.policies import policy, targets
from tidegate.importing.agentgateway.upstreams import upstream
from tidegate.importing.fields import Fields
from tidegate.importing.patterns import LABEL, OBJECT_NAME, fits
from tidegate.importing.report import Report, Source
from tidegate.importing.writing import Object

GROUP: Final = "agentgateway.dev"
_PASSED: Final = frozenset(
    [
        ("gateway.networking.k8s.io", "Gateway"),
        ("gateway.networking.k8s.io", "HTTPRoute"),
        ("gateway.networking.k8s.io", "ReferenceGrant"),
        ("", "Secret"),
    ]
)


@dataclass(frozen=True, slots=True)
class Document:
    """One object of the input."""

    fields: Fields
    group: str
    kind: str
    name: str
    namespace: str


def convert(sources: Sequence[Source], report: Report, namespace: str) -> list[Object]:
    """Of all files together: Policies say something of Backends. `namespace`: of objects that name none."""
    documents = [found for source in sources for found in _documents(Fields.of(source, report), namespace)]
    seen: set[tuple[str, str, str, str]] = set()
    broader: dict[tuple[str, str], Broader] = defaultdict(Broader)
    backends: list[Document] = []
    policies: list[Object] = []
    others: list[Object] = []
    for document in documents:
        identity = (document.group, document.kind, document.namespace, document.name)
        if identity in seen:
            document.fields.missing("dropped", "an object of the same kind and name comes before it, and holds")
            document.fields.rest({}, "goes with its object, which is left out")
            continue
        seen.add(identity)
        if (document.group, document.kind) == (GROUP, "AgentgatewayBackend"):
            backends.append(document)
        elif (document.group, document.kind) == (GROUP, "AgentgatewayPolicy"):
            policies += _policy(document, broader)
        elif (document.group, document.kind) in _PASSED:
            others.append(passed_on(document.fields, document.kind, document.namespace))
        else:
            document.fields.missing("dropped", advice.OTHER_KIND)
            document.fields.rest({}, "goes with its object, which is left out")
    made = [
        each
        for document in backends
        for each in backend(
            document.fields, document.name, document.namespace, broader[document.namespace, document.name]
        )
    ]
    for document in backends:
        document.fields.rest({"status": advice.SERVER})
    return [*made, *policies, *others]


def _policy(document: Document, broader: dict[tuple[str, str], Broader]) -> list[Object]:
    """Its `traffic` is a Policy of ours; its `backend` belongs to the Backends that it is attached to."""
    spec = document.fields.block("spec")
    made: list[Object] = []
    if spec:
        attached = targets(spec)
        _to_backends(spec, attached, document.namespace, broader)
        made = policy(spec, document.name, document.namespace, attached)
    document.fields.rest({"status": advice.SERVER})
    return made


def _to_backends(
    spec: Fields, attached: Sequence[Object], namespace: str, broader: dict[tuple[str, str], Broader]
) -> None:
    of_backends = [each for each in attached if each["group"] == crds.base.GROUP]
    block = spec.block("backend")
    if block is None:
        return
    if not of_backends:
        block.missing("dropped", "is for an AgentgatewayBackend to say: attach it to one, and import both together")
        block.rest({}, "goes with its block, which is left out")
        return
    said = upstream(block)
    for target in of_backends:
        found = broader[namespace, str(target["name"])]
        if section := target.get("sectionName"):
            found.of_providers[str(section)] = found.of_providers.get(str(section), said).over(said)
        else:
            found.of_all = found.of_all.over(said)


def _documents(fields: Fields, namespace: str) -> Iterator[Document]:
    version, kind = fields.text("apiVersion"), fields.text("kind")
    if version and kind and kind.endswith("List") and fields.has("items"):
        fields.take("metadata")
        for item in fields.blocks("items"):
            yield from _documents(item, namespace)
        fields.rest({})
        return
    metadata = fields.block("metadata")
    name = metadata.text("name") if metadata else None
    if not version or not kind or metadata is None or not name or not fits(OBJECT_NAME, name):
        fields.missing("dropped", "is no object: every one has apiVersion, kind and metadata.name")
        fields.rest({}, "goes with its object, which is left out")
        return
    own = metadata.text("namespace") or namespace
    if not fits(LABEL, own):
        metadata.drop("namespace", "is no name of a namespace; the one of --namespace is taken")
        own = namespace
    group = version.rpartition("/")[0]
    if (group, kind) not in _PASSED:
        metadata.rest(advice.METADATA, "labels and the like are not taken over")
    yield Document(fields, group, kind, name, own)
