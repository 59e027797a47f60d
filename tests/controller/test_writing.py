"""Statuses on their way into an API server that is a double: what its answers tell, and what becomes of slow ones."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from controller import election, writing
from controller.api import Api, ApiError
from controller.compile import Condition, Parent, Status
from controller.kinds import BACKEND, EVENT, HTTP_ROUTE, Kind
from controller.mirror import Mirror
from controller.writing import Wanted, Writer
from tests.controller.cluster import thing

OURS = "tidegate.dev/controller"
ACCEPTED = Condition("Accepted", "True", "Accepted", "The spec is valid.")


@dataclass
class Double:
    """An API server with one object, which others may change, too."""

    stored: dict[str, Any]
    hangs: bool = False
    answers: list[Exception] = field(default_factory=list)
    """Instead of what a call would get."""
    statuses: list[Mapping[str, Any]] = field(default_factory=list)
    events: int = 0

    def change(self, version: int, **spec: object) -> None:
        """By somebody else; whoever watches is told later."""
        metadata = {**self.stored["metadata"], "generation": version, "resourceVersion": str(version)}
        self.stored = {**self.stored, "metadata": metadata, "spec": spec}

    async def apply(self, _kind: Kind, body: dict[str, Any], _part: str) -> dict[str, Any]:
        return await self._keep(body)

    async def merge(self, _kind: Kind, _namespace: str, _name: str, body: dict[str, Any], _part: str) -> dict[str, Any]:
        version = self.stored["metadata"]["resourceVersion"]
        if body["metadata"]["resourceVersion"] != version:
            raise ApiError(409, "PATCH: the object has been modified")
        return await self._keep(body)

    async def get(self, *_: object) -> dict[str, Any]:
        await self._answer()
        return self.stored

    async def create(self, kind: Kind, _body: object) -> None:
        assert kind is EVENT
        self.events += 1

    async def _keep(self, body: dict[str, Any]) -> dict[str, Any]:
        await self._answer()
        self.statuses.append(body["status"])
        version = int(self.stored["metadata"]["resourceVersion"]) + 1
        metadata = {**self.stored["metadata"], "resourceVersion": str(version)}
        self.stored = {**self.stored, "metadata": metadata, "status": body["status"]}
        return self.stored

    async def _answer(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.answers:
            raise self.answers.pop(0)


@dataclass
class Written:
    kind: Kind
    double: Double = field(init=False)
    mirror: Mirror = field(default_factory=Mirror)
    changes: list[int] = field(default_factory=list)
    writer: Writer = field(init=False)

    def __post_init__(self) -> None:
        body = thing(self.kind, "voice", 1, spec={"n": 1}, metadata={"generation": 1})
        self.double = Double(body)
        self.mirror.see(self.kind, body)
        api, changed = cast("Api", self.double), lambda: self.changes.append(1)
        self.writer = Writer(api, self.mirror, OURS, "me", lambda: True, changed)

    async def write(self, uid: str = "") -> None:
        status = Status(self.kind.name, "ai", "voice", (ACCEPTED,), parents=(Parent({"name": "edge"}, (ACCEPTED,)),))
        await self.writer.write([Wanted(status, uid or f"{self.kind.name}-voice", 1)])


async def test_an_answer_that_holds_a_change_of_somebody_else_is_told() -> None:
    """The watch tells it later, and the mirror has it by then."""
    found = Written(BACKEND)
    found.double.change(7, n=2)
    await found.write()
    assert found.changes == [1]
    assert not found.mirror.see(BACKEND, found.double.stored)
    assert [document["spec"] for document in found.mirror.documents()] == [{"n": 2}]


async def test_one_that_holds_nothing_new_is_not() -> None:
    found = Written(BACKEND)
    await found.write()
    assert (found.writer.written, found.changes) == (1, [])


async def test_so_is_what_is_read_after_a_conflict() -> None:
    found = Written(HTTP_ROUTE)
    found.double.change(7, n=2)
    await found.write()
    assert found.changes == [1]
    assert found.writer.written == 1


async def test_an_answer_that_does_not_come_is_not_waited_for_until_another_leads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert election.DEADLINE + writing.CALL_S <= election.DURATION
    monkeypatch.setattr(writing, "CALL_S", 0.01)
    found = Written(BACKEND)
    found.double.hangs = True
    async with asyncio.timeout(20):
        await found.write()
    assert (found.writer.written, found.writer.failed) == (0, 1)


async def test_what_cannot_be_read_after_a_conflict_is_due_in_the_next_pass() -> None:
    found = Written(HTTP_ROUTE)
    found.double.change(7, n=2)
    found.double.answers = [ApiError(0, "GET: nobody is there")]
    await found.write()
    assert (found.writer.written, found.writer.failed) == (0, 1)
    await found.write()
    assert (found.writer.written, found.writer.failed) == (1, 1)


async def test_another_of_the_same_name_gets_no_status_of_the_one_before() -> None:
    found = Written(BACKEND)
    await found.write(uid="of the one before")
    assert found.double.statuses == []
