"""In which namespaces Secrets, Services and EndpointSlices have to be read: where something refers to one. Pure.

It looks at documents as they are written, bad ones included, and rather sees one reference too many: what a namespace
that is read for nothing costs is little, and whether a reference holds is for the compiler to say. But another
namespace is read only where a ReferenceGrant there names whoever refers to it: what anybody may write into a Backend of
their own could be any number of names, and each costs lists and watches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from controller.kinds import (
    BACKEND,
    ENDPOINT_SLICE,
    GATEWAY,
    GATEWAY_CLASS,
    HTTP_ROUTE,
    POLICY,
    REFERENCE_GRANT,
    SECRET,
    SERVICE,
)
from controller.mirror import Document, Scope, metadata, text

_SECRETS = frozenset(["secretRef", "secretSelector", "caSecretRef", "clientSecretRef"])
_Grant = tuple[str, str, str, str, str]
"""Of whom: group, kind and namespace; to what: namespace and kind."""


def needed(documents: Iterable[Document], controller_name: str) -> set[Scope]:
    """What has to be read beside what is read everywhere. Gateways, and HTTPRoutes, that are others' do not count."""
    by_kind: dict[str, list[Document]] = {}
    for document in documents:
        by_kind.setdefault(text(document.get("kind")), []).append(document)
    classes = {_name(each) for each in by_kind.get(GATEWAY_CLASS.name, ()) if _controller(each) == controller_name}
    gateways = [each for each in by_kind.get(GATEWAY.name, ()) if text(_spec(each).get("gatewayClassName")) in classes]
    ours = {(_namespace(each), _name(each)) for each in gateways}
    routes = [each for each in by_kind.get(HTTP_ROUTE.name, ()) if _parents(each) & ours]
    grants = {each for grant in by_kind.get(REFERENCE_GRANT.name, ()) for each in _granted(grant)}
    backends, policies = by_kind.get(BACKEND.name, ()), by_kind.get(POLICY.name, ())

    own = (*backends, *policies)
    scopes = {Scope(SECRET.name, _namespace(each)) for each in own if any(_named(each, _SECRETS))}
    references = chain(
        ((GATEWAY, each, SECRET, ref) for each in gateways for ref in _certificates(each)),
        ((HTTP_ROUTE, each, SERVICE, ref) for each in routes for ref in _services(each)),
        ((BACKEND, each, SERVICE, ref) for each in backends for ref in _named(each, {"service"})),
        ((POLICY, each, SERVICE, ref) for each in policies for ref in _named(each, {"service"})),
    )
    for kind, source, target, ref in references:
        of, namespace = _namespace(source), text(ref.get("namespace")) or _namespace(source)
        if of == namespace or (kind.group, kind.name, of, namespace, target.name) in grants:
            scopes.add(Scope(target.name, namespace))
    return scopes | {Scope(ENDPOINT_SLICE.name, each.namespace) for each in scopes if each.kind == SERVICE.name}


def _granted(grant: Document) -> Iterator[_Grant]:
    targets = {text(each.get("kind")) for each in _list(_spec(grant).get("to")) if not each.get("group")}
    for each in _list(_spec(grant).get("from")):
        source = text(each.get("group")), text(each.get("kind")), text(each.get("namespace"))
        yield from ((*source, _namespace(grant), target) for target in targets)


def _certificates(gateway: Document) -> Iterator[Document]:
    for listener in _list(_spec(gateway).get("listeners")):
        yield from _list(_mapping(listener.get("tls")).get("certificateRefs"))


def _services(route: Document) -> Iterator[Document]:
    for rule in _list(_spec(route).get("rules")):
        for ref in _list(rule.get("backendRefs")):
            if not ref.get("group") and ref.get("kind", SERVICE.name) == SERVICE.name:
                yield ref


def _parents(route: Document) -> set[tuple[str, str]]:
    """Of Gateways that an HTTPRoute wants to be attached to: namespace and name."""
    return {
        (text(ref.get("namespace")) or _namespace(route), text(ref.get("name")))
        for ref in _list(_spec(route).get("parentRefs"))
        if ref.get("kind", GATEWAY.name) == GATEWAY.name
    }


def _named(value: object, names: frozenset[str] | set[str]) -> Iterator[Document]:
    """Mappings anywhere inside that stand under one of these names."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name in names and isinstance(inner, Mapping):
                yield inner
            yield from _named(inner, names)
    elif isinstance(value, list):
        for inner in value:
            yield from _named(inner, names)


def _controller(gateway_class: Document) -> str:
    return text(_spec(gateway_class).get("controllerName"))


def _spec(document: Document) -> Document:
    return _mapping(document.get("spec"))


def _name(document: Document) -> str:
    return text(metadata(document).get("name"))


def _namespace(document: Document) -> str:
    return text(metadata(document).get("namespace"))


def _mapping(value: object) -> Document:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Document]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
