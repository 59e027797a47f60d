"""How agentgateway calls a provider: `policies` of a Backend or a provider, and `backend` of a Policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal

from crds.backend import RouteType
from crds.quantities import is_duration, seconds
from tidegate.importing.agentgateway import advice
from tidegate.importing.agentgateway.headers import from_cel, transformation
from tidegate.importing.fields import Fields
from tidegate.importing.keys import Key
from tidegate.importing.patterns import MODEL_NAME, OBJECT_NAME, PATH, fits
from tidegate.importing.writing import Object, duration

_TYPES = frozenset(each.value for each in RouteType)


@dataclass(frozen=True, slots=True)
class Upstream:
    """What is said, in our words. What is empty is not said."""

    auth: Mapping[str, object] = field(default_factory=dict)
    key: Key | None = None
    """The credential, where it stands there itself."""
    closed: bool = False
    """A credential is said, and cannot be told."""
    tls: bool = False
    routes: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Models by their other names."""
    timeouts: Mapping[str, str] = field(default_factory=dict)
    health: Mapping[str, object] = field(default_factory=dict)
    transformation: Mapping[str, object] = field(default_factory=dict)

    def over(self, broader: Upstream) -> Upstream:
        """Field by field, this first."""
        said = {each.name: value for each in fields(self) if (value := getattr(self, each.name))}
        if said.keys() & {"auth", "key", "closed"}:
            broader = replace(broader, auth={}, key=None, closed=False)
        return replace(broader, **said)


def upstream(policies: Fields | None) -> Upstream:
    """What they say."""
    if policies is None:
        return Upstream()
    has_auth = policies.has("auth")
    auth, key = _auth(policies.block("auth"))
    ai = policies.block("ai")
    found = Upstream(
        auth=auth,
        key=key,
        closed=has_auth and not auth and not key,
        tls=_tls(policies),
        routes=_routes(ai.block("routes")) if ai else {},
        aliases=_aliases(ai.block("modelAliases")) if ai else {},
        timeouts=_timeouts(policies),
        health=_health(policies.block("health")),
        transformation=transformation(policies.block("transformation"), from_cel),
    )
    if ai:
        ai.rest(advice.AI)
    policies.rest(advice.POLICIES)
    return found


def _auth(auth: Fields | None) -> tuple[Object, Key | None]:
    if auth is None:
        return {}, None
    found: Object = {}
    ref, literal = auth.block("secretRef"), auth.text("key")
    if ref:
        found = secret_ref(ref)
    elif isinstance(auth.content.get("passthrough"), dict):
        if passthrough := auth.block("passthrough"):
            passthrough.rest({})
        found = {"passthrough": {}}
    if location := auth.block("location"):
        _check_place(location)
    auth.rest(advice.AUTH)
    if literal is not None and not literal.strip().isprintable():
        auth.drop("key", "has characters that no header can have")
        literal = None
    return found, Key.literal(literal.strip()) if literal else None


def secret_ref(ref: Fields) -> Object:
    """`{secretRef: {name}}`, or nothing where it is no Secret of the namespace."""
    name = ref.text("name")
    group, kind = ref.text("group") or "", ref.text("kind") or "Secret"
    ref.rest({"namespace": "Secrets are in the namespace of what refers to them"})
    if not name or not fits(OBJECT_NAME, name) or group or kind != "Secret":
        ref.missing("dropped", "leads to no Secret of the namespace")
        return {}
    return {"secretRef": {"name": name}}


def _check_place(location: Fields) -> None:
    """Authorization with Bearer is what a provider is sent anyway."""
    header = location.block("header")
    if header:
        name, prefix = header.text("name") or "", header.text("prefix") or "Bearer"
        if (name.lower(), prefix.strip().lower()) != ("authorization", "bearer"):
            header.missing("dropped", advice.AUTH["location"])
        header.rest({})
    location.rest({}, advice.AUTH["location"])


def _tls(policies: Fields) -> bool:
    if not isinstance(policies.content.get("tls"), dict):
        policies.block("tls")
        return False
    tls = policies.block("tls")
    assert tls is not None
    tls.rest(advice.TLS, "certificates are checked by the host of the address and public authorities")
    return True


def _routes(routes: Fields | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in list(routes.left()) if routes else ():
        assert routes is not None
        written = routes.text(path)
        if written is None:
            continue
        if path != "*" and not fits(PATH, path):
            routes.drop(path, "is no end of a path: it begins with '/'")
        elif written in _TYPES:
            found[path] = written
        elif written == "Detect":
            found[path] = RouteType.PASSTHROUGH.value
            routes.change(path, advice.ROUTE_TYPES[written])
        else:
            routes.drop(path, advice.ROUTE_TYPES.get(written, advice.NO_TYPE))
    return found


def _aliases(aliases: Fields | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for alias in list(aliases.left()) if aliases else ():
        assert aliases is not None
        model = aliases.text(alias)
        if model is None:
            continue
        if fits(MODEL_NAME, alias) and fits(MODEL_NAME, model):
            found[alias] = model
        else:
            aliases.drop(alias, "names of models are exact, without '*' and spaces")
    return found


def _health(health: Fields | None) -> Object:
    found: Object = {}
    eviction = health.block("eviction") if health else None
    if eviction:
        failures, length = eviction.number("consecutiveFailures"), eviction.text("duration")
        if failures is not None and failures >= 1:
            found["ejectAfter"] = min(int(failures), 100)
        if length is not None and is_duration(length) and 0.1 <= seconds(length) <= 3600:
            found["ejectFor"] = length
        elif length is not None:
            eviction.drop("duration", "is no duration from 100ms to 1h")
        eviction.rest({}, "providers are judged by failures in a row")
    if health:
        health.rest({"unhealthyCondition": "what counts as a failure is the gateway's to say"})
    return found


def _timeouts(policies: Fields) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, inside, ours, most in (
        ("tcp", "connectTimeout", "connect", 60.0),
        ("http", "requestTimeout", "response", 3600.0),
    ):
        block = policies.block(name)
        if block is None:
            continue
        written = block.text(inside)
        if written is not None and is_duration(written):
            nearest = max(0.1, min(seconds(written), most))
            found[ours] = written if nearest == seconds(written) else duration(Decimal(nearest))
            if found[ours] != written:
                block.change(inside, "is the nearest that a Backend can have")
        elif written is not None:
            block.drop(inside, "is no duration, such as 30s")
        block.rest({})
    return found
