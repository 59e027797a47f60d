"""Tables whose routes in use differ in everything that a session can notice, by generation."""

from __future__ import annotations

from dataplane import table
from simulator.state import Received
from tests.dataplane import rig

BIG = 20_000
"""Bytes of a message that even generations take, and odd ones do not."""


def others(count: int) -> table.Table:
    """Routes that nobody here uses, each of its own host, on a tenth as many Backends."""
    backends = [rig.backend(rig.provider("http://127.0.0.1:1/v1"), name=f"ai/other-{i}") for i in range(count // 10)]
    routes = [
        table.sealed(
            table.Route(
                name=f"ai/other-{i}",
                hostnames=(f"other-{i}.test",),
                forwards=(table.Forward(backend=backends[i % len(backends)].name, policies=rig.REQUIRED),),
            )
        )
        for i in range(count)
    ]
    return table.Table(backends=tuple(backends), routes=tuple(routes), callers=(rig.CALLERS,), secrets=("upstream@1",))


def with_used(rest: table.Table, url: str, generations: list[int]) -> table.Table:
    """Those, and the routes in use, each in its generation."""
    used = [_used(place, url, generation) for place, generation in enumerate(generations)]
    backends = (*(backend for backend, _ in used), *rest.backends)
    return rest.model_copy(update={"backends": backends, "routes": (*(route for _, route in used), *rest.routes)})


def _used(place: int, url: str, generation: int) -> tuple[table.Backend, table.Route]:
    name, target = f"ai/used-{place}", table.Target(provider="openai", model=model_of(generation))
    price = table.Price(input_text=str(generation + 1), output_text=str(generation + 1))
    models = (table.Model(name="voice", targets=(target,), price=price),)
    backend = rig.backend(rig.provider(url, kind="custom"), name=name, models=models)
    header = table.HeaderValue(name="x-generation", value=(str(generation),))
    largest = BIG // 2 if generation % 2 else 2 * BIG
    policies = rig.REQUIRED.model_copy(
        update={
            "transformations": (table.Transformation(policy="ai/p", request=table.HeaderOps(set=(header,))),),
            "session": (table.SessionLimits(policy="ai/p", max_message=largest),),
        }
    )
    forward = table.Forward(backend=name, policies=policies)
    return backend, table.sealed(table.Route(name=name, hostnames=(f"used-{place}.test",), forwards=(forward,)))


def model_of(generation: int) -> str:
    return f"voice-{generation}"


def asked(received: Received) -> tuple[str, str]:
    """The model and the generation that the provider was asked for."""
    model = received.path.partition("model=")[2].partition("&")[0]
    return model, next(value for name, value in received.headers if name.lower() == "x-generation")
