"""A table for a data plane of the version before. What that reads was set down when it was the newest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import orjson
import pytest

from controller import compile as compiler
from dataplane.table import (
    SCHEMA,
    Attachment,
    Backend,
    Balance,
    CallerSet,
    Credential,
    EndpointSet,
    Forward,
    Guardrail,
    Health,
    Listener,
    Model,
    PathType,
    Pii,
    PolicySet,
    Price,
    Provider,
    Redirect,
    Route,
    RouteType,
    Table,
    Target,
    Tls,
    delta,
    schemas,
    sealed,
)
from tests.controller.test_compile_goldens import CASES, OPTIONS, documents
from tests.dataplane.rig import CALLERS, backend, provider

Schema = Mapping[str, object]
OLD: Mapping[str, Schema] = orjson.loads((Path(__file__).parent / "schema-1.json").read_bytes())
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}

SERVICE = Provider(name="vllm", kind="custom", url="http://vllm.ai.svc:8000", endpoints="ai/vllm:8000")
TRUSTED = Provider(name="own", kind="custom", url="https://d.test", tls=Tls(server_name="d"))
RESPONSES = PathType(suffix="/v1/responses", type=RouteType.RESPONSES)
REST = PathType(suffix="*", type=RouteType.PASSTHROUGH)
AZURE = Provider(
    name="azure",
    kind="azure",
    url="https://res.openai.azure.com",
    api_version="2025-04-01-preview",
    credential=Credential(kind="secret", secret="upstream@1", header="api-key"),
)
TIMED = Model(name="voice", targets=(Target(provider="openai"),), price=Price(item="1", input_text="2"))
NO_CARDS = Guardrail(policy="ai/p", name="no-cards", pii=Pii(kinds=("card",)), action="block")
NEW = Table(
    backends=(
        backend(provider("https://a.test/v1")),
        sealed(Backend(name="ai/near", providers=(SERVICE, provider("https://b.test/v1")))),
        sealed(Backend(name="ai/timed", providers=(provider("https://d.test/v1"),), models=(TIMED,))),
        sealed(
            Backend(
                name="ai/responses",
                providers=(provider("https://d.test/v1", domain="org"),),
                paths=(RESPONSES, PathType(suffix="/v1/realtime", type=RouteType.REALTIME)),
            )
        ),
        sealed(Backend(name="ai/rest", providers=(provider("https://e.test/v1"),), paths=(RESPONSES, REST))),
        sealed(Backend(name="ai/private", providers=(provider("https://c.test/v1"), AZURE), networks=("10.0.0.0/8",))),
        sealed(Backend(name="ai/trusted", providers=(TRUSTED,))),
        sealed(
            Backend(name="ai/shared", providers=(provider("https://d.test/v1", weight=9, priority=1, max_sessions=5),))
        ),
        sealed(Backend(name="ai/stuck", balance=Balance(sticky="caller"), health=Health(eject_after=1))),
    ),
    routes=(
        sealed(Route(name="ai/voice", forwards=(Forward(backend="ai/voice"),))),
        sealed(
            Route(
                name="ai/guarded",
                forwards=(
                    Forward(backend="ai/voice", policies=PolicySet(guardrails=(NO_CARDS,))),
                    Forward(backend="b"),
                ),
            )
        ),
        sealed(Route(name="ai/moved", redirect=Redirect(hostname="there.test"))),
        sealed(Route(name="ai/web#0", attached=(Attachment(listener="ai/web/http"),))),
    ),
    callers=(CALLERS,),
    listeners=(sealed(Listener(name="ai/web/http", port=10080)),),
    endpoints=(EndpointSet(id="ai/vllm:8000", addresses=("10.0.0.1:8000",)),),
    secrets=("hints@1", "upstream@1"),
    hints=("hints@1",),
)


def faults(schema: Schema, value: object, root: Schema, path: str = "it") -> Iterator[str]:
    """What a reader of the schema says against the value."""
    if reference := schema.get("$ref"):
        definitions = root["$defs"]
        assert isinstance(definitions, dict)
        yield from faults(definitions[str(reference).rpartition("/")[2]], value, root, path)
        return
    if isinstance(choices := schema.get("anyOf"), list):
        if all(list(faults(each, value, root, path)) for each in choices):
            yield f"{path}: none of its kinds"
        return
    if (kind := schema.get("type")) and not isinstance(value, _TYPES[str(kind)]):
        yield f"{path}: no {kind}"
    if isinstance(known := schema.get("enum"), list) and value not in known:
        yield f"{path}: {value} is unknown"
    if isinstance(value, list) and isinstance(items := schema.get("items"), dict):
        for place, each in enumerate(value):
            yield from faults(items, each, root, f"{path}[{place}]")
    if isinstance(value, dict) and isinstance(fields := schema.get("properties"), dict):
        needed = schema.get("required", [])
        assert isinstance(needed, list)
        yield from (f"{path}.{name}: is missing" for name in needed if name not in value)
        for name, each in value.items():
            if name in fields:
                yield from faults(fields[name], each, root, f"{path}.{name}")
            else:
                yield f"{path}.{name}: is unknown"


def told(table: Table) -> list[str]:
    """What a data plane of schema 1 says against the parts of a table."""
    _, parts = delta.outlined(table)
    said: list[str] = []
    for part in delta.written(parts):
        schema = OLD.get(part.kind)
        said += faults(schema, orjson.loads(part.json), schema) if schema else [f"{part.kind}: is unknown"]
    return said


def test_what_an_old_data_plane_would_say_to_a_new_table() -> None:
    assert sorted(told(NEW)) == [
        "endpoints: is unknown",
        "it.attached: is unknown",
        "it.balance: is unknown",
        "it.forwards[0].policies.guardrails: is unknown",
        "it.health: is unknown",
        "it.models[0].price: none of its kinds",
        "it.networks: is unknown",
        "it.paths[0].type: Responses is unknown",
        "it.paths[0].type: Responses is unknown",
        "it.providers[0].domain: is unknown",
        "it.providers[0].endpoints: is unknown",
        "it.providers[0].max_sessions: is unknown",
        "it.providers[0].priority: is unknown",
        "it.providers[0].tls: is unknown",
        "it.providers[0].weight: is unknown",
        "it.providers[1].api_version: is unknown",
        "it.providers[1].credential.header: is unknown",
        "it.providers[1].kind: azure is unknown",
        "it.redirect: is unknown",
        "listener: is unknown",
    ]


def test_what_it_gets_instead() -> None:
    lowered = schemas.lowered(NEW, 1)
    assert told(lowered) == []
    outline, _ = delta.outlined(lowered)
    assert outline.plain().keys() == {"schema", "backends", "routes", "callers", "secrets"}
    assert outline.secrets == ("upstream@1",)
    assert outline.plain()["schema"] == 1


def test_what_it_does_not_know_is_not_served_otherwise() -> None:
    lowered = schemas.lowered(NEW, 1)
    assert [(route.name, route.error) for route in lowered.routes] == [
        ("ai/voice", ""),
        ("ai/guarded", ""),
        ("ai/moved", schemas.TOO_OLD),
    ]
    assert [forward.error for forward in lowered.routes[1].forwards] == [schemas.TOO_OLD, ""]
    backends = {backend.name: backend for backend in lowered.backends}
    [model] = backends["ai/timed"].models
    assert model.price == Price(input_text="2")
    errors = {name: [provider.error for provider in backend.providers] for name, backend in backends.items()}
    assert {name: found for name, found in errors.items() if any(found)} == {
        "ai/near": [schemas.TOO_OLD, ""],
        "ai/private": ["", schemas.TOO_OLD],
        "ai/trusted": [schemas.TOO_OLD],
    }
    assert {name: backend.error for name, backend in backends.items() if backend.error} == {"ai/rest": schemas.TOO_OLD}
    assert [path.type for path in backends["ai/responses"].paths] == [RouteType.REALTIME]
    assert (lowered.listeners, lowered.endpoints) == ((), ())


def test_what_is_the_same_stays_the_same_object() -> None:
    lowered = schemas.lowered(NEW, 1)
    assert lowered.backends[0] is NEW.backends[0]
    assert lowered.routes[0] is NEW.routes[0]
    assert lowered.callers[0] is NEW.callers[0]
    assert isinstance(lowered.callers[0], CallerSet)
    assert schemas.lowered(NEW, SCHEMA) is NEW


@pytest.mark.parametrize("case", CASES)
def test_every_table_can_be_lowered(case: str) -> None:
    compiled = compiler.compile(documents(case), **OPTIONS.get(case, {})).table
    assert told(schemas.lowered(compiled, 1)) == []


def test_what_both_sides_know() -> None:
    assert schemas.best([1, 2, 9]) == 2
    assert schemas.best([1]) == 1
    assert schemas.best([7]) is None
    with pytest.raises(ValueError, match="schema 7 is not served"):
        schemas.lowered(NEW, 7)
