"""AgentgatewayPolicies to Policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import crds.base
from tidegate.importing.agentgateway import advice
from tidegate.importing.agentgateway.headers import from_cel, from_text, transformation
from tidegate.importing.agentgateway.upstreams import secret_ref
from tidegate.importing.fields import Fields
from tidegate.importing.patterns import AUDIENCE, ISSUER, LOCATION_HEADER, LOCATION_PARAMETER, OBJECT_NAME, fits
from tidegate.importing.writing import Object, object_of

GATEWAY_API: Final = "gateway.networking.k8s.io"
BACKEND: Final = ("agentgateway.dev", "AgentgatewayBackend")
_UNITS: Final = {"Seconds": "Second", "Minutes": "Minute", "Hours": "Hour"}
_RESERVE: Final = 4096
_MODES: Final = {"Strict": "Required", "Optional": "Optional", "Permissive": "Optional"}


def targets(spec: Fields) -> list[Object]:
    """What it is attached to, in our words."""
    found: list[Object] = []
    for ref in spec.blocks("targetRefs"):
        group, kind, name, section = (ref.text(each) for each in ("group", "kind", "name", "sectionName"))
        ref.rest({})
        is_backend = (group, kind) == BACKEND
        if not name or not (is_backend or (group == GATEWAY_API and kind in ("Gateway", "HTTPRoute"))):
            ref.missing("dropped", "is of a kind that no Policy is attached to: Gateway, HTTPRoute or Backend")
            continue
        if not all(fits(OBJECT_NAME, each) for each in (name, section or name)):
            ref.missing("dropped", "has a name that no object has")
            continue
        target: Object = {"group": crds.base.GROUP, "kind": "Backend"} if is_backend else {"group": group, "kind": kind}
        target["name"] = name
        if section:
            target["sectionName"] = section
        if target not in found:
            found.append(target)
    return found


def policy(spec: Fields, name: str, namespace: str, attached: list[Object]) -> list[Object]:
    """The Policy of its `traffic`; none, and findings, where nothing of it can be taken over."""
    traffic = spec.block("traffic")
    blocks = _blocks(traffic) if traffic else {}
    spec.rest(advice.POLICY)
    if traffic is None:
        return []
    if not attached or not blocks:
        traffic.missing("dropped", "nothing of it holds here, or what it is attached to is not imported")
        return []
    return [object_of("Policy", name, namespace, {"targetRefs": attached, **blocks})]


def _blocks(traffic: Fields) -> Object:
    found: Object = {}
    changes = transformation(traffic.block("transformation"), from_cel)
    plain = transformation(traffic.block("headerModifiers"), from_text)
    if changes and plain:
        traffic.missing("dropped", "has transformation and headerModifiers, which are one here: the first holds")
    if changes or plain:
        found["transformation"] = changes or plain
    if authentication := _authentication(traffic):
        found["authentication"] = authentication
    if limits := _limits(traffic.block("rateLimit")):
        found["limits"] = limits
    traffic.rest(advice.TRAFFIC)
    return found


def _authentication(traffic: Fields) -> Object:
    keys, jwt = traffic.block("apiKeyAuthentication"), traffic.block("jwtAuthentication")
    found: Object = {}
    if keys:
        found = _with_place(keys, _keys(keys))
        keys.rest({})
    if jwt and found:
        jwt.rest({}, "a key is asked for, too, and suffices: one Policy here takes a key or a token, never both")
    elif jwt:
        found = _with_place(jwt, _issuers(jwt))
        jwt.rest({})
    return found


def _with_place(block: Fields, sources: Object) -> Object:
    """With the mode, and where the credential is looked for. Nothing where that cannot be said: better closed."""
    mode = block.text("mode") or "Strict"
    location = block.block("location")
    place = _location(location) if location else {}
    if not sources or place is None:
        block.missing("dropped", "cannot be taken over: callers get 401 until a Policy says how they authenticate")
        return {}
    if mode not in _MODES:
        block.drop("mode", "is none of Strict, Optional and Permissive; Required holds")
    if mode == "Permissive":
        block.change("mode", "is Optional: a wrong key or token gets 401")
    return {"mode": _MODES.get(mode, "Required"), **sources, **place}


def _location(location: Fields) -> Object | None:
    """Nothing: the usual places; None: none that can be said."""
    found: Object | None = None
    if header := location.block("header"):
        name, prefix = header.text("name") or "", (header.text("prefix") or "Bearer").strip()
        if prefix.lower() != "bearer":
            header.drop("prefix", "only Bearer may stand before a credential")
        elif name.lower() == "authorization":
            found = {}
        elif fits(LOCATION_HEADER, name):
            found = {"location": {"header": name}}
        else:
            header.drop("name", "no credential is looked for there")
        header.rest({})
    elif query := location.block("queryParameter"):
        name = query.text("name") or ""
        if fits(LOCATION_PARAMETER, name):
            found = {"location": {"query": name}}
        else:
            query.drop("name", "no credential is looked for there")
        query.rest({})
    location.rest({}, "credentials are in headers or the query here")
    return found


def _keys(keys: Fields) -> Object:
    if ref := keys.block("secretRef"):
        found = secret_ref(ref)
        return {"keys": [found]} if found else {}
    selector = keys.block("secretSelector")
    labels = selector.content.get("matchLabels") if selector else None
    if selector:
        selector.take("matchLabels")
        selector.rest({})
    if isinstance(labels, dict) and labels and all(isinstance(each, str) for each in labels.values()):
        return {"keys": [{"secretSelector": {"matchLabels": dict(labels)}}]}
    return {}


def _issuers(jwt: Fields) -> Object:
    found: list[Object] = []
    for provider in jwt.blocks("providers")[:8]:
        issuer, audiences = provider.text("issuer") or "", provider.texts("audiences")
        jwks = provider.block("jwks")
        inline = jwks.text("inline") if jwks else None
        if jwks:
            jwks.rest({"remote": "write jwks.url, the address of the issuer's keys (jwks_uri)"})
        provider.rest({})
        if not inline or len(inline) > 16_384 or not fits(ISSUER, issuer):
            provider.missing("dropped", "needs an issuer and its keys: write authentication.jwt with jwks.url")
        elif not audiences or len(audiences) > 8 or not all(fits(AUDIENCE, each) for each in audiences):
            provider.missing("dropped", "needs from 1 to 8 audiences: whom tokens are for is always asked")
        else:
            found.append({"issuer": issuer, "audiences": list(dict.fromkeys(audiences)), "jwks": {"inline": inline}})
    unique = {str(each["issuer"]): each for each in reversed(found)}
    return {"jwt": list(reversed(unique.values()))} if unique else {}


def _limits(rate: Fields | None) -> Object:
    if rate is None:
        return {}
    found: dict[str, list[Object]] = {"requests": [], "tokens": []}
    for local in rate.blocks("local"):
        unit = local.text("unit") or ""
        for kind, limits in found.items():
            most = local.number(kind)
            if most is None:
                continue
            if unit not in _UNITS or most < 1 or most != int(most):
                local.missing("dropped", "is no whole number above 0 in Seconds, Minutes or Hours")
            elif any(each["per"] == _UNITS[unit] for each in limits):
                local.missing("dropped", "another limit has the same unit, and comes first")
            else:
                limits.append({"max": int(most), "per": _UNITS[unit]})
        local.rest({"burst": "a window has as much as max says, and no more"})
    rate.rest(advice.RATE)
    return _counted(found)


def _counted(found: Mapping[str, list[Object]]) -> Object:
    """What all callers take together is counted, as agentgateway does."""
    limits: Object = {kind: some for kind, some in found.items() if some}
    if not limits:
        return {}
    least = min((int(str(each["max"])) for each in found["tokens"]), default=_RESERVE)
    if least < _RESERVE:
        limits["reserve"] = least
    return {"countedBy": "Policy", **limits}
