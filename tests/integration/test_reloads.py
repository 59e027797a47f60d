"""What a reload of files does to live sessions, through loader, compiler and data plane: nothing; and what it leaves as
it was, when nothing was changed that matters."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import yaml

from tests.integration.calls import CLIENT_KEY, Objects, Stand, provider, standing
from tests.integration.lives.line import upgrade
from tests.integration.lives.used import Used

SESSIONS = 10
GUARD = {"authentication": {"mode": "Required", "keys": [{"secretRef": {"name": "callers"}}]}}
REQUEST = upgrade("any.test", "/v1/realtime?model=voice", CLIENT_KEY)


def objects(model: str = "gpt-realtime", extra: int = 20) -> Objects:
    """A Backend whose sessions can tell which version of it they have, among others."""
    models = [{"name": "voice", "targets": [{"provider": "one", "model": model}]}]
    providers = [provider("one"), *(provider(f"spare-{i}") for i in range(extra))]
    return Objects({"providers": providers, "models": models}, policies=(GUARD,))


def rewritten(stand: Stand, change: Callable[[list[object]], str]) -> None:
    """Write the file anew, from the documents in it."""
    stand.file.write_text(change(list(yaml.safe_load_all(stand.file.read_text()))))


def shuffled(documents: list[object]) -> str:
    """The same objects in another order, as JSON with other white space, with comments."""
    return "\n---\n".join(f"# the same\n{json.dumps(each, indent=3, sort_keys=True)}" for each in reversed(documents))


def spelt_out(documents: list[object]) -> str:
    """The same objects, with a default said aloud."""
    for each in documents:
        if isinstance(each, dict) and each["kind"] == "Backend":
            for one in each["spec"]["providers"]:
                one["auth"]["secretRef"]["key"] = "Authorization"
    return yaml.safe_dump_all(documents)


async def _nothing(stand: Stand) -> None:
    rewritten(stand, lambda documents: stand.file.read_text())


async def _order(stand: Stand) -> None:
    rewritten(stand, shuffled)


async def _defaults(stand: Stand) -> None:
    rewritten(stand, spelt_out)


async def _of_another(stand: Stand) -> None:
    another = {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "Backend",
        "metadata": {"name": "other", "namespace": "ai"},
        "spec": {"providers": [{"name": "one", "custom": {}, "url": "http://127.0.0.1:1/v1"}]},
    }
    rewritten(stand, lambda documents: yaml.safe_dump_all([*documents, another]))


async def _broken(stand: Stand) -> None:
    stand.file.write_text("kind: [")


async def _own(stand: Stand) -> None:
    await stand.serve(objects("gpt-realtime-2"))


async def _gone(stand: Stand) -> None:
    rewritten(stand, lambda documents: yaml.safe_dump_all([d for d in documents if _kind(d) == "Secret"]))


def _kind(document: object) -> object:
    return document["kind"] if isinstance(document, dict) else None


Change = Callable[[Stand], Awaitable[None]]
SAME: dict[str, Change] = {"byte-equal": _nothing, "order and spelling": _order, "defaults spelt out": _defaults}
OTHER: dict[str, Change] = {"an unrelated Backend": _of_another, "a file that is broken": _broken}


@pytest.mark.parametrize("change", [*SAME, *OTHER, "its own model", "everything is gone"])
async def test_live_sessions_go_on(change: str, tmp_path: Path) -> None:
    made = {**SAME, **OTHER, "its own model": _own, "everything is gone": _gone}[change]
    async with standing(tmp_path, objects()) as stand:
        port = stand.gateway.address.port
        sessions = [await Used.open(port, REQUEST) for _ in range(SESSIONS)]
        await sessions[0].turn()
        versions, backend = stand.gateway.versions, stand.gateway.gateway._snapshot.backends["ai/voice"]
        await made(stand)
        await stand.gateway.reload()
        served = stand.gateway.gateway._snapshot.backends.get("ai/voice")
        assert (stand.gateway.versions == versions) is (change in {*SAME, "a file that is broken"})
        assert (served is backend) is (change in {*SAME, *OTHER}), "what hangs on it (pools, health) stays too"
        for each in sessions:
            await each.turn()
            await each.close()
        assert {turn["model"] for turn in stand.simulator.ledger.turns} == {"gpt-realtime"}
        await _newcomer(stand, change)


async def _newcomer(stand: Stand, change: str) -> None:
    """A new session has what is served now."""
    if change == "everything is gone":
        assert await Used.knock(stand.gateway.address.port, REQUEST) == 404
        return
    used = await Used.open(stand.gateway.address.port, REQUEST)
    await used.turn()
    await used.close()
    assert stand.simulator.ledger.turns[-1]["model"] == (
        "gpt-realtime-2" if change == "its own model" else "gpt-realtime"
    )
