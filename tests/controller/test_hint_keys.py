"""The keys of hints, against an API server that is a double."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import structlog

from controller import compile as compiler
from controller.api import Api, ApiError
from controller.compile import Install
from controller.hint_keys import HintKeys, ordered
from controller.keeping import Keeper
from controller.kinds import Kind
from controller.leader import Leader
from controller.settings import Release, Settings
from dataplane.affinity.hints import Keys

NAME = "gate-affinity"


@dataclass
class Double:
    """An API server with nothing but Secrets. `rival`: what another leader makes in the very moment."""

    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    rival: bytes = b""
    made: int = 0

    async def get(self, _kind: Kind, namespace: str, name: str) -> dict[str, Any] | None:
        assert namespace == "system"
        return self.secrets.get(name)

    async def create(self, _kind: Kind, body: dict[str, Any]) -> dict[str, Any]:
        self.made += 1
        if self.rival:
            self.write(self.rival)
            raise ApiError(409, "POST: AlreadyExists")
        self.secrets[body["metadata"]["name"]] = body
        return body

    def write(self, current: bytes, **others: bytes) -> None:
        entries = {"current": current, **others}
        self.secrets[NAME] = {"data": {name: base64.b64encode(key).decode() for name, key in entries.items()}}


def keys(server: Double, changed: Callable[[], None] = lambda: None) -> HintKeys:
    settings = Settings(install=Release(name="gate", namespace="system", instance="gate"))
    leader = cast("Leader", type("Leading", (), {"name": "gate-controller", "uid": "u"}))
    api = cast("Api", server)
    return HintKeys(Keeper(api, settings, leader), api, settings, changed)


def told(of: HintKeys) -> list[str]:
    return [key.get_secret_value() for key in of.found]


async def test_the_leader_makes_one_and_all_hand_it_out() -> None:
    server, changes = Double(), list[str]()
    leading, following = keys(server, lambda: changes.append("l")), keys(server, lambda: changes.append("f"))
    await following.tend(leads=False)
    assert following.found == ()
    await leading.tend(leads=True)
    await leading.tend(leads=True)
    await following.tend(leads=False)
    assert changes == ["l", "f"]
    assert told(leading) == told(following)
    assert len(told(leading)[0]) == 64
    assert server.made == 1
    assert server.secrets[NAME]["metadata"]["ownerReferences"]


async def test_whoever_is_first_wins() -> None:
    server = Double(rival=b"r" * 32)
    late = keys(server)
    await late.tend(leads=True)
    assert told(late) == ["r" * 32]


async def test_who_may_not_make_one_says_so() -> None:
    class Forbidding(Double):
        async def create(self, _kind: Kind, body: dict[str, Any]) -> dict[str, Any]:
            raise ApiError(403, "POST: Forbidden")

    with pytest.raises(ApiError, match="Forbidden"):
        await keys(Forbidding()).tend(leads=True)


async def test_the_current_one_signs_and_the_others_are_read() -> None:
    server = Double()
    server.write(b"n" * 32, before=b"o" * 32, a=b"short", z=b"z" * 40 + b"\n")
    found = keys(server)
    await found.tend(leads=False)
    assert told(found) == ["n" * 32, "o" * 32, "z" * 40]


async def test_a_secret_without_a_usable_key_changes_nothing_and_is_told_of_once() -> None:
    server = Double()
    server.write(b"n" * 32)
    found = keys(server)
    await found.tend(leads=True)
    server.write(b"short")
    with structlog.testing.capture_logs() as lines:
        await found.tend(leads=True)
        await found.tend(leads=True)
    assert told(found) == ["n" * 32]
    assert [line["secret"] for line in lines] == [NAME]
    assert "short" not in str(lines)


def test_they_are_secrets_of_the_table() -> None:
    found = ordered({"current": b"n" * 32, "before": b"o" * 32})
    compiled = compiler.compile([], install=Install(hint_keys=found))
    assert [compiled.secrets[each] for each in compiled.table.hints] == list(found)
    assert set(compiled.table.hints) == set(compiled.table.secrets)
    assert "nnnn" not in repr(compiled)
    assert Keys(*(key.get_secret_value().encode() for key in found))
    assert compiler.compile([], install=Install()).table.hints == ()
