"""The first stage: raw documents become objects that are either read or broken, each under its identity.

Nothing is lost on the way. A broken object keeps its documents, since later stages must still know what it was
about: what a Policy was attached to, which Backend an HTTPRoute leads to.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, NamedTuple, TypeVar, cast

import crds
from controller.compile.blocks import Blocks, read_policy
from controller.compile.core_objects import (
    OWN_NAME,
    EndpointSlice,
    Namespace,
    Service,
    read_endpoint_slice,
    read_namespace,
    read_service,
)
from controller.compile.gateway_api import HTTPRoute, ReferenceGrant, read_grant, read_route
from controller.compile.gateways import Gateway, GatewayClass, read_class, read_gateway
from controller.compile.names import Instead
from controller.compile.paths import comparable, declared
from controller.compile.secrets import Secret, read_secret
from crds import FieldError, Invalid

Document = Mapping[str, object]
Age = tuple[datetime, str, str]
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

IN_FILES: Mapping[str, str] = {
    "Backend": "tidegate.dev",
    "Policy": "tidegate.dev",
    "HTTPRoute": "gateway.networking.k8s.io",
    "ReferenceGrant": "gateway.networking.k8s.io",
    "Secret": "",
}
"""The kinds that are read wherever they are, and their API groups."""
GROUPS: Mapping[str, str] = {
    **IN_FILES,
    "GatewayClass": "gateway.networking.k8s.io",
    "Gateway": "gateway.networking.k8s.io",
    "Service": "",
    "EndpointSlice": "discovery.k8s.io",
    "Namespace": "",
}
"""All kinds: these say something in a cluster only."""
CLUSTER_SCOPED = frozenset(["GatewayClass", "Namespace"])

_UNKNOWN_AGE = datetime.max.replace(tzinfo=UTC)


class Identity(NamedTuple):
    kind: str
    namespace: str
    name: str

    @property
    def path(self) -> str:
        """`namespace/name`, as the table has it; the name alone of what is in no namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def __str__(self) -> str:
        return f"{self.kind} {self.path}"


@dataclass(frozen=True, slots=True)
class Read(Generic[T_co]):
    """An object: its value, or why there is none."""

    identity: Identity
    age: Age
    """Sort key: the oldest first, ties by namespace and name. Objects without a creation time are the youngest."""
    documents: tuple[Document, ...] = field(repr=False)  # it may be a Secret
    """What was written under this identity: one, or different ones that cannot all hold."""
    value: T_co | None = None
    reason: str = ""
    """Of the condition Accepted, where there is no value: Invalid or DuplicateName."""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Objects:
    """All objects, by (namespace, name), in that order. The namespace of what is in none is empty."""

    backends: Mapping[tuple[str, str], Read[crds.Backend]] = field(default_factory=dict)
    policies: Mapping[tuple[str, str], Read[Blocks]] = field(default_factory=dict)
    routes: Mapping[tuple[str, str], Read[HTTPRoute]] = field(default_factory=dict)
    secrets: Mapping[tuple[str, str], Read[Secret]] = field(default_factory=dict)
    grants: Mapping[tuple[str, str], Read[ReferenceGrant]] = field(default_factory=dict)
    classes: Mapping[tuple[str, str], Read[GatewayClass]] = field(default_factory=dict)
    gateways: Mapping[tuple[str, str], Read[Gateway]] = field(default_factory=dict)
    services: Mapping[tuple[str, str], Read[Service]] = field(default_factory=dict)
    slices: Mapping[tuple[str, str], Read[EndpointSlice]] = field(default_factory=dict)
    namespaces: Mapping[tuple[str, str], Read[Namespace]] = field(default_factory=dict)
    instead: Instead = field(default_factory=Instead, repr=False, compare=False)
    _granting: dict[tuple[str, str], list[ReferenceGrant]] = field(default_factory=dict, repr=False, compare=False)

    def granting(self, namespace: str, to: str) -> Sequence[ReferenceGrant]:
        """The ReferenceGrants of a namespace that permit objects of another one something."""
        if not self._granting:  # at once for all of them: there are as many questions as references
            found = ((space, grant.value) for (space, _), grant in self.grants.items() if grant.value)
            for space, grant in found:
                for other in {each.namespace for each in grant.spec.sources}:
                    self._granting.setdefault((space, other), []).append(grant)
        return self._granting.get((namespace, to), ())

    def labels_of(self, namespace: str) -> Mapping[str, str]:
        """The labels of a Namespace. One that is not known has its own name's alone."""
        found = self.namespaces.get(("", namespace))
        return found.value.labels if found and found.value else {OWN_NAME: namespace}


def read(documents: Iterable[Document], before: Objects | None = None) -> Objects:
    """Sort documents by identity and read each. Kinds that Tidegate does not know are ignored.

    What was read `before` of the very same document, which nobody may have changed since, is not read again."""
    before = before or Objects()
    found: dict[Identity, list[Document]] = defaultdict(list)
    for document in documents:
        if (identity := identify(document, GROUPS)) is not None:
            found[identity].append(document)
    of_kind: dict[str, list[tuple[Identity, list[Document]]]] = defaultdict(list)
    for identity in sorted(found):
        of_kind[identity.kind].append((identity, found[identity]))
    return Objects(
        backends=_read_all(of_kind["Backend"], _read_backend, before.backends),
        policies=_read_all(of_kind["Policy"], read_policy, before.policies),
        routes=_read_all(of_kind["HTTPRoute"], read_route, before.routes),
        secrets=_read_all(of_kind["Secret"], read_secret, before.secrets),
        grants=_read_all(of_kind["ReferenceGrant"], read_grant, before.grants),
        classes=_read_all(of_kind["GatewayClass"], read_class, before.classes),
        gateways=_read_all(of_kind["Gateway"], read_gateway, before.gateways),
        services=_read_all(of_kind["Service"], read_service, before.services),
        slices=_read_all(of_kind["EndpointSlice"], read_endpoint_slice, before.slices),
        namespaces=_read_all(of_kind["Namespace"], read_namespace, before.namespaces),
    )


def identify(document: Document, groups: Mapping[str, str] = IN_FILES) -> Identity | None:
    """Who a document is about, or None if its kind is none of these. A name that cannot be read is empty."""
    kind, version = document.get("kind"), document.get("apiVersion")
    if not isinstance(kind, str) or not isinstance(version, str) or kind not in groups:
        return None
    if version.rpartition("/")[0] != groups[kind]:
        return None
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    namespace = "" if kind in CLUSTER_SCOPED else _text(metadata.get("namespace")) or "default"
    return Identity(kind, namespace, _text(metadata.get("name")))


def _read_all(
    found: list[tuple[Identity, list[Document]]],
    reader: Callable[[Document], T],
    before: Mapping[tuple[str, str], Read[T]],
) -> dict[tuple[str, str], Read[T]]:
    read_: dict[tuple[str, str], Read[T]] = {}
    for identity, documents in found:
        key = identity.namespace, identity.name
        known = before.get(key)
        same = known is not None and len(documents) == len(known.documents) == 1 and documents[0] is known.documents[0]
        read_[key] = known if known is not None and same else _read_one(identity, documents, reader)
    return read_


def _read_one(identity: Identity, documents: list[Document], reader: Callable[[Document], T]) -> Read[T]:
    """Equal documents count once. Of different ones under one name none is used: whichever were picked, somebody
    would be served what they did not write, and a slip in a copied file would silently replace its original."""
    different = _different(documents) if len(documents) > 1 else documents
    age = (min(map(_created, different)), identity.namespace, identity.name)
    if len(different) > 1:
        error = f"{len(different)} different documents have this name, so none is used: keep one, or rename the others"
        return Read(identity, age, tuple(different), reason="DuplicateName", error=error)
    try:
        return Read(identity, age, tuple(different), reader(different[0]))
    except Invalid as invalid:
        return Read(identity, age, tuple(different), reason="Invalid", error=str(invalid))


def _read_backend(document: Document) -> crds.Backend:
    backend = cast("crds.Backend", crds.parse(dict(document)))
    declared(backend.spec.routes)
    expose = backend.spec.expose
    try:
        comparable((expose and expose.path_prefix) or "/")
    except ValueError as error:
        raise Invalid([FieldError("spec.expose.pathPrefix", str(error))]) from None
    return backend


def _different(documents: list[Document]) -> list[Document]:
    """Each document once, in an order that does not depend on the input's."""
    by_text = {json.dumps(document, sort_keys=True, default=str): document for document in documents}
    return [by_text[text] for text in sorted(by_text)]


def _created(document: Document) -> datetime:
    metadata = document.get("metadata")
    created = metadata.get("creationTimestamp") if isinstance(metadata, Mapping) else None
    try:
        parsed = datetime.fromisoformat(_text(created))
    except ValueError:
        return _UNKNOWN_AGE
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
