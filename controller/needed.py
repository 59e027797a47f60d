"""In which namespaces Secrets, Services and EndpointSlices have to be read: where something refers to one. Pure.

It looks at documents as they are written, bad ones included, and rather sees one reference too many: what a namespace
that is read for nothing costs is little, and whether a reference holds is for the compiler to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from controller.kinds import BACKEND, ENDPOINT_SLICE, GATEWAY, GATEWAY_CLASS, HTTP_ROUTE, POLICY, SECRET, SERVICE
from controller.mirror import Document, Scope, metadata, text

_SECRETS = frozenset(["secretRef", "secretSelector", "caSecretRef", "clientSecretRef"])


def needed(documents: Iterable[Document], controller_name: str) -> set[Scope]:
    """What has to be read beside what is read everywhere. Gateways, and HTTPRoutes, that are others' do not count."""
    by_kind: dict[str, list[Document]] = {}
    for document in documents:
        by_kind.setdefault(text(document.get("kind")), []).append(document)
    classes = {_name(each) for each in by_kind.get(GATEWAY_CLASS.name, ()) if _controller(each) == controller_name}
    gateways = [each for each in by_kind.get(GATEWAY.name, ()) if text(_spec(each).get("gatewayClassName")) in classes]
    ours = {(_namespace(each), _name(each)) for each in gateways}
    routes = [each for each in by_kind.get(HTTP_ROUTE.name, ()) if _parents(each) & ours]
    scopes = {
        Scope(SECRET.name, namespace)
        for document in (*by_kind.get(BACKEND.name, ()), *by_kind.get(POLICY.name, ()))
        for namespace in [_namespace(document)]
        if any(_named(document, _SECRETS))
    }
    scopes |= {Scope(SECRET.name, namespace) for gateway in gateways for namespace in _certificates(gateway)}
    services = {namespace for route in routes for namespace in _services(route)}
    for backend in by_kind.get(BACKEND.name, ()):
        services |= {text(ref.get("namespace")) or _namespace(backend) for ref in _named(backend, {"service"})}
    return scopes | {Scope(kind.name, namespace) for kind in (SERVICE, ENDPOINT_SLICE) for namespace in services}


def _certificates(gateway: Document) -> Iterator[str]:
    for listener in _list(_spec(gateway).get("listeners")):
        for ref in _list(_mapping(listener.get("tls")).get("certificateRefs")):
            yield text(ref.get("namespace")) or _namespace(gateway)


def _services(route: Document) -> Iterator[str]:
    for rule in _list(_spec(route).get("rules")):
        for ref in _list(rule.get("backendRefs")):
            if not ref.get("group") and ref.get("kind", SERVICE.name) == SERVICE.name:
                yield text(ref.get("namespace")) or _namespace(route)


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
