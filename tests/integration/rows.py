"""What each field of the API does to live traffic: the rows of test_every_field."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.integration.calls import CLIENT_KEY, PATHS, WAYS, Call, Objects, Seen, at, provider, to

METERED = ("chat", "realtime")
See = Callable[[Seen], object]


@dataclass(frozen=True)
class Row:
    """What is seen with and without something."""

    about: str
    """Fields, as paths separated by spaces; or, where the fields have their row already, what is shown here."""
    before: Objects
    after: Objects
    see: See
    unlike: object
    """What is seen before. A mapping: by way."""
    like: object
    """What is seen after."""
    ways: Sequence[str] = WAYS
    call: Call = field(default_factory=Call)


USUAL = Objects()
PROVIDER = "Backend.spec.providers[]"
MODEL = "Backend.spec.models[]"
POLICY = "Policy.spec"


def one(**fields: object) -> Objects:
    """With a provider that is not as usual in these fields."""
    return Objects({"providers": [provider("one", **fields)]})


def shared(first: Mapping[str, object], second: Mapping[str, object]) -> Objects:
    """With two providers that are not as usual in these fields."""
    return Objects({"providers": [provider("one", **first), provider("two", **second)]})


def models(*targets: Mapping[str, object], name: str = "voice") -> Objects:
    """With one model, and two providers to serve it."""
    return Objects({"providers": [provider("one"), provider("two")], "models": [{"name": name, "targets": [*targets]}]})


def policies(*specs: Mapping[str, object], **objects: object) -> Objects:
    return Objects(policies=specs, **objects)  # type: ignore[arg-type]


def status(seen: Seen) -> object:
    return seen.status, seen.code


def sent(name: str) -> See:
    return lambda seen: seen.sent(name)


def answered(name: str) -> See:
    return lambda seen: seen.answered(name)


def logged(name: str) -> See:
    return lambda seen: seen.logged(name)


def caller(seen: Seen) -> object:
    return [(each["namespace"], each["key"], each["team"]) for each in seen.logged("caller") if isinstance(each, dict)]


AZURE = one(custom=None, azure={}, url="$URL")
OK = {"chat": (200, ""), "realtime": (101, ""), "passthrough": (200, ""), "tunnel": (101, "")}


def refused(code: int, reason: str) -> dict[str, object]:
    return dict.fromkeys(WAYS, (code, reason))


BACKENDS = [
    Row(f"{PROVIDER}.name", USUAL, Objects({"providers": [provider("uno")]}), logged("provider"),
        ["one"], ["uno"], METERED),
    Row(f"{PROVIDER}.openai", USUAL, one(custom=None, openai={}), logged("provider_kind"),
        ["custom"], ["openai"], METERED),
    Row(f"{PROVIDER}.xai", USUAL, one(custom=None, xai={}),
        lambda seen: {*seen.logged("provider_kind")}, {"custom"}, {"xai"}, METERED),
    Row(f"{PROVIDER}.azure.apiVersion", AZURE, one(custom=None, azure={"apiVersion": "2025-04-01-preview"}, url="$URL"),
        lambda seen: seen.received[-1].path,
        {"chat": "/openai/v1/chat/completions", "realtime": "/openai/v1/realtime?model=gpt-realtime"},
        {"chat": "/openai/deployments/gpt-realtime/chat/completions?api-version=2025-04-01-preview",
         "realtime": "/openai/realtime?deployment=gpt-realtime&api-version=2025-04-01-preview"}, METERED),
    Row(f"{PROVIDER}.auth.scheme", AZURE,
        one(custom=None, azure={}, url="$URL", auth={"secretRef": {"name": "upstream"}, "scheme": "Bearer"}),
        lambda seen: (seen.sent("api-key"), seen.sent("authorization")),
        (["sk-simulator"], []), ([], ["Bearer sk-simulator"])),
    Row(f"{PROVIDER}.url", USUAL, one(url="$URL/v1/echo/"), lambda seen: seen.path,
        PATHS, {way: "/v1/echo" + path for way, path in PATHS.items()}, ("chat", "passthrough")),
    Row(f"{PROVIDER}.url of a session", USUAL, one(url="$URL/elsewhere"), lambda seen: seen.path,
        PATHS, {way: "/elsewhere" + path for way, path in PATHS.items()}, ("realtime", "tunnel")),
    Row(f"{PROVIDER}.auth.secretRef.key", USUAL, one(auth={"secretRef": {"name": "upstream", "key": "other"}}),
        sent("authorization"), ["Bearer sk-simulator"], ["Bearer sk-other"]),
    Row(f"{PROVIDER}.auth.secretRef.name", USUAL, one(auth={"secretRef": {"name": "upstream-two"}}),
        sent("authorization"), ["Bearer sk-simulator"], ["Bearer sk-two"]),
    Row(f"{PROVIDER}.auth.passthrough", USUAL, one(auth={"passthrough": {}}),
        sent("authorization"), ["Bearer sk-simulator"], [f"Bearer {CLIENT_KEY}"]),
    Row("no auth: no credential", USUAL, one(auth=None), sent("authorization"),
        ["Bearer sk-simulator"], [], ("passthrough", "tunnel")),
    Row(f"{PROVIDER}.defaultModel", USUAL, one(defaultModel="gpt-5"), lambda seen: (seen.status, seen.code, seen.model),
        dict.fromkeys(METERED, (400, "missing_model", "")),
        {"chat": (200, "", "gpt-5"), "realtime": (101, "", "gpt-5")}, METERED, Call(model="")),
    Row(f"{PROVIDER}.modelOverride", USUAL, one(modelOverride="gpt-5"), lambda seen: seen.model,
        "gpt-realtime", "gpt-5", METERED),
    Row(f"{MODEL}.name", USUAL, models({"provider": "one", "model": "gpt-realtime"}), status,
        OK, refused(404, "model_not_found"), METERED),
    Row(f"{MODEL}.name {MODEL}.targets[].model", USUAL, models({"provider": "one", "model": "gpt-realtime"}),
        lambda seen: seen.model, "voice", "gpt-realtime", METERED, Call(model="voice")),
    Row("a pattern", models({"provider": "one", "model": "gpt-*"}, name="eu/*"),
        models({"provider": "one", "model": "*"}, name="*/gpt-5"), lambda seen: seen.model,
        "gpt-gpt-5", "eu", METERED, Call(model="eu/gpt-5")),
    Row("the session is named to the client as it asked", models({"provider": "one"}),
        models({"provider": "one", "model": "gpt-realtime"}), lambda seen: (seen.model, seen.shown),
        ("voice", "voice"), ("gpt-realtime", "voice"), ("realtime",), Call(model="voice")),
    Row(f"{MODEL}.targets[].provider", models({"provider": "one"}), models({"provider": "two"}), logged("provider"),
        ["one"], ["two"], METERED, Call(model="voice")),
    Row(f"{MODEL}.targets[].weight", models({"provider": "one"}, {"provider": "two", "weight": 0}),
        models({"provider": "one", "weight": 0}, {"provider": "two"}), logged("provider"),
        ["one"], ["two"], METERED, Call(model="voice")),
    Row(f"{PROVIDER}.weight", shared({"weight": 1}, {"weight": 0}), shared({"weight": 0}, {"weight": 1}),
        logged("provider"), ["one"], ["two"], METERED),
    Row(f"{PROVIDER}.priority", shared({"priority": 0}, {"priority": 1}), shared({"priority": 15}, {"priority": 1}),
        logged("provider"), ["one"], ["two"], METERED),
    Row(f"{PROVIDER}.maxSessions", USUAL, one(maxSessions=1), status, OK,
        dict.fromkeys(("realtime", "tunnel"), (503, "backend_overloaded")), ("realtime", "tunnel"),
        Call(beside=True)),
    Row("Backend.spec.routes.*", USUAL, Objects({"routes": {"/v1/embeddings": "Passthrough"}}), status,
        OK, refused(404, "undeclared_path")),
    Row("routes: a path of another type", USUAL,
        Objects({"routes": {"/chat/completions": "Passthrough", "/realtime": "Passthrough", "*": "Completions"}}),
        lambda seen: (seen.status, len(seen.logged("id"))),
        {"chat": (200, 1), "realtime": (101, 1)}, {"chat": (200, 0), "realtime": (101, 0)}, METERED),
    Row("routes: the longest suffix", Objects({"routes": {"/completions": "Completions", "/realtime": "Realtime"}}),
        Objects({"routes": {"/completions": "Passthrough", "/v1/chat/completions": "Completions",
                            "/realtime": "Passthrough", "/v1/realtime": "Realtime"}}),
        lambda seen: len(seen.logged("id")), 1, 1, METERED),
    Row("Backend.spec.expose.hostnames[]", Objects({"expose": {"hostnames": ["elsewhere.example"]}}),
        Objects({"expose": {"hostnames": ["*.example"]}}), logged("route"),
        ["ai/front#all"], ["ai/voice"], METERED, Call(headers={"Host": "voice.example"})),
    Row("Backend.spec.expose.pathPrefix", Objects({"expose": {}}), Objects({"expose": {"pathPrefix": "/own"}}),
        lambda seen: seen.path, "/v1/own/v1/echo", "/v1/echo", ("passthrough",), Call(path="/own/v1/echo")),
    Row("expose: the Backend's own path", USUAL, Objects({"expose": {}}),
        lambda seen: seen.path, {way: "/v1/ai/voice" + path for way, path in PATHS.items()}, PATHS, ("passthrough",),
        Call(path="/ai/voice/v1/echo")),
]  # fmt: skip

SET_X = {"transformation": {"request": {"set": [{"name": "x-level", "value": "set"}]}}}
KEYS = {"keys": [{"secretRef": {"name": "callers"}, "team": "support"}]}
GUARD = {"authentication": KEYS}
OPEN = {"authentication": {"mode": "None"}}
DIGEST = hashlib.sha256(CLIENT_KEY.encode()).hexdigest()
CLIENT_SAYS = Call(headers={"Authorization": f"Bearer {CLIENT_KEY}", "X-Level": "client"})


def level(*target: str) -> Objects:
    return policies({"targetRefs": [at(*target)], **SET_X})


def request(**ops: object) -> Objects:
    return policies({"transformation": {"request": ops}})


def response(**ops: object) -> Objects:
    return policies({"transformation": {"response": ops}})


def secret(value: str, mode: str = "Required") -> Objects:
    """With a key as an entry of a Secret writes it."""
    return policies({"authentication": {**KEYS, "mode": mode}}, keys={"ci-bot": value})


TWO = {"providers": [provider("one"), provider("two")], "models": [{"name": "*", "targets": [{"provider": "two"}]}]}
POLICIES = [
    Row(f"{POLICY}.targetRefs[].kind {POLICY}.targetRefs[].group {POLICY}.targetRefs[].name",
        level("Backend", "spare"), level("Backend", "voice"), sent("x-level"), ["client"], ["set"], WAYS, CLIENT_SAYS),
    Row("a Policy on an HTTPRoute", USUAL, level("HTTPRoute", "front"), sent("x-level"),
        ["client"], ["set"], WAYS, CLIENT_SAYS),
    Row(f"{POLICY}.targetRefs[].sectionName", Objects(policies=level("HTTPRoute", "front", "b").policies, route={
        "rules": [{"name": "a", "backendRefs": [to("voice")]},
                  {"name": "b", "matches": [{"path": {"value": "/b"}}], "backendRefs": [to("voice")]}]}),
        level("HTTPRoute", "front", "all"), sent("x-level"), ["client"], ["set"], WAYS, CLIENT_SAYS),
    Row("a Policy on a provider", Objects(TWO, policies=level("Backend", "voice", "one").policies),
        Objects(TWO, policies=level("Backend", "voice", "two").policies), sent("x-level"),
        ["client"], ["set"], METERED, CLIENT_SAYS),
    Row("the narrowest transformation is the last", level("HTTPRoute", "front"),
        policies(*level("HTTPRoute", "front").policies,
                 *request(add=[{"name": "x-level", "value": "narrow"}]).policies),
        sent("x-level"), ["set"], ["set", "narrow"]),
    Row(f"{POLICY}.subjects[].key", policies(GUARD, {**SET_X, "subjects": [{"key": "nobody"}]}),
        policies(GUARD, {**SET_X, "subjects": [{"key": "ci-bot"}]}), sent("x-level"), [], ["set"]),
    Row(f"{POLICY}.subjects[].team", policies(GUARD, {**SET_X, "subjects": [{"team": "sales"}]}),
        policies(GUARD, {**SET_X, "subjects": [{"team": "support"}]}), sent("x-level"), [], ["set"]),
    Row(f"{POLICY}.precedence",
        policies({"targetRefs": [at("HTTPRoute", "front")], **OPEN}, GUARD),
        policies({"targetRefs": [at("HTTPRoute", "front")], **OPEN, "precedence": "Override"}, GUARD), status,
        refused(401, "credentials_required"), OK, WAYS, Call().keyed("")),
    Row(f"{POLICY}.transformation.request.set[].name {POLICY}.transformation.request.set[].value", USUAL,
        request(set=[{"name": "X-Level", "value": "a"}]), sent("x-level"), ["client"], ["a"], WAYS, CLIENT_SAYS),
    Row(f"{POLICY}.transformation.request.add[].name {POLICY}.transformation.request.add[].value", USUAL,
        request(add=[{"name": "X-Level", "value": "a"}]), sent("x-level"),
        ["client"], ["client", "a"], WAYS, CLIENT_SAYS),
    Row(f"{POLICY}.transformation.request.remove[]", USUAL, request(remove=["X-Level"]), sent("x-level"),
        ["client"], [], WAYS, CLIENT_SAYS),
    Row("request.remove: sec-websocket-extensions", USUAL, request(remove=["Sec-WebSocket-Extensions"]),
        lambda seen: bool(seen.sent("sec-websocket-extensions")), True, False, ("tunnel",)),
    Row(f"{POLICY}.transformation.response.set[].name {POLICY}.transformation.response.set[].value", USUAL,
        response(set=[{"name": "X-Level", "value": "a"}]), answered("x-level"), [], ["a"]),
    Row(f"{POLICY}.transformation.response.add[].name {POLICY}.transformation.response.add[].value",
        response(set=[{"name": "x-level", "value": "a"}]),
        response(set=[{"name": "x-level", "value": "a"}], add=[{"name": "X-Level", "value": "b"}]),
        answered("x-level"), ["a"], ["a", "b"]),
    Row(f"{POLICY}.transformation.response.remove[]", USUAL, response(remove=["Server", "Date"]),
        lambda seen: bool(seen.answered("server") or seen.answered("date")), True, False),
    Row(f"{POLICY}.authentication.keys[].secretRef.name",
        policies({"authentication": {"keys": [{"secretRef": {"name": "strangers"}}]}}), policies(GUARD), status,
        refused(401, "invalid_api_key"), OK),
    Row("authentication: Required without a key", USUAL, policies(GUARD), status,
        OK, refused(401, "credentials_required"), WAYS, Call().keyed("")),
    Row(f"{POLICY}.authentication.mode", secret(CLIENT_KEY), secret(CLIENT_KEY, "Optional"), status,
        refused(401, "credentials_required"), OK, WAYS, Call().keyed("")),
    Row("authentication: Optional with a wrong key", policies(OPEN),
        secret(CLIENT_KEY, "Optional"), status, OK, refused(401, "invalid_api_key"), WAYS, Call().keyed("sk-guess")),
    Row(f"{POLICY}.authentication.keys[].team",
        policies({"authentication": {"keys": [{"secretRef": {"name": "callers"}}]}}), policies(GUARD), caller,
        [("ai", "ci-bot", "")], [("ai", "ci-bot", "support")], METERED),
    Row("a key as JSON", secret('{"key": "another"}'), secret(f'{{"key": "Bearer {CLIENT_KEY}"}}'), status,
        refused(401, "invalid_api_key"), OK),
    Row("a key as its digest", secret(f'{{"sha256": "{"0" * 64}"}}'),
        secret(f'{{"sha256": "{DIGEST}"}}'), status,
        refused(401, "invalid_api_key"), OK),
    Row("a key that has expired", secret(f'{{"key": "{CLIENT_KEY}", "expires": "2999-01-01T00:00:00Z"}}'),
        secret(f'{{"key": "{CLIENT_KEY}", "expires": "2020-01-01T00:00:00+01:00"}}'), status,
        OK, refused(401, "invalid_api_key")),
    Row(f"{POLICY}.models.allow[]", policies({"models": {"allow": ["gpt-*"]}}),
        policies({"models": {"allow": ["gpt-*"]}}, {"models": {"allow": ["gpt-5"]}}), status,
        OK, refused(403, "model_not_allowed"), METERED),
    Row("models.allow is of public names", Objects(models({"provider": "one", "model": "gpt-5"}).backend,
        policies=({"models": {"allow": ["voice"]}},)), Objects(models({"provider": "one", "model": "gpt-5"}).backend,
        policies=({"models": {"allow": ["gpt-5"]}},)), status,
        OK, refused(403, "model_not_allowed"), METERED, Call(model="voice")),
    Row("models.allow for some callers",
        policies(GUARD, {"models": {"allow": ["gpt-5"]}, "subjects": [{"team": "sales"}]}),
        policies(GUARD, {"models": {"allow": ["gpt-5"]}, "subjects": [{"team": "support"}]}), status,
        OK, refused(403, "model_not_allowed"), METERED),
    Row(f"{POLICY}.telemetry.logEvents[]", USUAL,
        policies({"telemetry": {"logEvents": ["session.created", "response.create", "response.done"]}}),
        lambda seen: seen.events, [], ["session.created", "response.create", "response.done"], ("realtime",)),
    Row(f"{POLICY}.telemetry.callerKey", policies(GUARD), policies(GUARD, {"telemetry": {"callerKey": True}}),
        lambda seen: seen.counted, {("support", "")}, {("support", ""), ("support", "ci-bot")}, METERED),
    Row("logEvents: all of them",
        policies({"telemetry": {"logEvents": []}}), policies({"telemetry": {"logEvents": ["*"]}}),
        lambda seen: {"response.create", "response.output_text.delta"} & {*seen.events},
        set(), {"response.create", "response.output_text.delta"}, ("realtime",)),
]  # fmt: skip


def front(*matches: Mapping[str, object], **spec: object) -> Objects:
    """An HTTPRoute with one rule that matches so."""
    return Objects(route={"rules": [{"name": "all", "matches": [*matches], "backendRefs": [to("voice")]}], **spec})


HTTP_ROUTES = [
    Row("hostnames", front({}, hostnames=["voice.example"]), front({}, hostnames=["other.example"]), status,
        OK, refused(404, "unknown_host"), WAYS, Call(headers={"Host": "voice.example:80"})),
    Row("a path prefix", front({"path": {"value": "/v1"}}), front({"path": {"value": "/v"}}), status,
        OK, refused(404, "unknown_host")),
    Row("an exact path", front(*({"path": {"type": "Exact", "value": path}} for path in PATHS.values())),
        front({"path": {"type": "Exact", "value": "/v1"}}), status, OK, refused(404, "unknown_host")),
    Row("a regular expression", front({"path": {"type": "RegularExpression", "value": "/v[0-9]/.*"}}),
        front({"path": {"type": "RegularExpression", "value": "/v[0-9]"}}), status, OK, refused(404, "unknown_host")),
    Row("a header", front({"headers": [{"name": "X-Level", "value": "client"}]}),
        front({"headers": [{"name": "X-Level", "value": "other"}]}), status, OK, refused(404, "unknown_host"), WAYS,
        CLIENT_SAYS),
    Row("a query parameter", front({"queryParams": [{"name": "a", "type": "RegularExpression", "value": "[0-9]+"}]}),
        front({"queryParams": [{"name": "a", "value": "2"}]}), status, OK, refused(404, "unknown_host"), WAYS,
        Call(query="a=1")),
    Row("a method", front({"method": "POST"}, {"method": "GET"}), front({"method": "PUT"}), status,
        OK, refused(404, "unknown_host")),
    Row("backendRefs", USUAL, Objects(route={"rules": [{"backendRefs": [to("spare")]}]}), logged("backend"),
        ["ai/voice"], ["ai/spare"], METERED),
    Row("backendRefs[].weight", Objects(route={"rules": [{"backendRefs": [to("voice"), to("spare", 0)]}]}),
        Objects(route={"rules": [{"backendRefs": [to("voice", 0), to("spare")]}]}), logged("backend"),
        ["ai/voice"], ["ai/spare"], METERED),
]  # fmt: skip

ROWS = (*BACKENDS, *POLICIES, *HTTP_ROUTES)
