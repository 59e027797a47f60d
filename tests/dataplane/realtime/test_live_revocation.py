"""Revocation on the wire: who ends, when, and who does not."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from dataplane.callers.tokens import LEEWAY
from dataplane.process.revocations import Revocations
from dataplane.realtime import frames
from dataplane.revocation import EXPIRED, NOT_ADMITTED
from dataplane.slices import at_once
from dataplane.table import Authentication, AuthenticationMode, CallerKey, CallerSet, OnRevoke, SessionLimits, Table
from tests.dataplane.callers import issuers
from tests.dataplane.realtime.wires import CREATED, Peer, Upstream, calm, dial, gateway, handshake, switching, upstreams
from tests.dataplane.rig import REQUIRED, SECRETS, Rig, backend, provider, table

SIGNER = issuers.jwk("P-256", kid="a", alg="ES256")
TRUSTED = Authentication(
    policy="ai/auth", mode=AuthenticationMode.REQUIRED, callers=("ai/keys", issuers.callers(SIGNER).id)
)
ENDS = REQUIRED.model_copy(
    update={"session": (SessionLimits(on_revoke=OnRevoke.END),), "authentication": TRUSTED},
)
ECHO = "/v1/echo/ws"
START = 10_000.0
"""What the clock shows in the beginning."""
DELETED = "Backend ai/voice was deleted."


def keys(**expires: float | None) -> tuple[CallerSet, ...]:
    """Callers whose keys are called as they are."""
    made = [
        CallerKey(name=name, sha256=hashlib.sha256(name.encode()).hexdigest(), expires=until)
        for name, until in expires.items()
    ]
    return (CallerSet(id="ai/keys", namespace="ai", keys=tuple(made)),)


def bearer(**changes: object) -> str:
    return issuers.token(issuers.claims(START, **changes))


@dataclass
class Place:
    rig: Rig
    upstream: Upstream
    time: float = START

    async def asked(self, key: str, path: str = "") -> Peer:
        """A client that has asked for a session."""
        client = await dial(self.rig)
        headers = {"Authorization": f"Bearer {key}"}
        client.write(handshake(path, headers) if path else handshake(headers=headers))
        return client

    async def session(self, key: str) -> tuple[Peer, Peer]:
        client = await self.asked(key)
        far = await self.upstream.opened()
        assert (await client.answer()).status == 101
        assert (await client.event())["type"] == "session.created"
        return client, far

    async def tunnel(self, key: str) -> tuple[Peer, Peer]:
        client = await self.asked(key, ECHO)
        far = await self.upstream.opened(glued=b"")
        assert (await client.answer()).status == 101
        return client, far

    @property
    def revocations(self) -> Revocations:
        assert self.rig.gateway._running is not None
        return self.rig.gateway._running.services.revocations

    def looks(self) -> None:
        """See at once who must go."""
        at_once(self.revocations.look())

    async def looked(self) -> None:
        """The same, behind what is under way."""
        if self.revocations._task is not None:
            await self.revocations._task
        self.looks()

    def serve(self, *, issuer: CallerSet | None = None, **changes: object) -> None:
        """From now on, a table with these changes."""
        if callers := changes.get("callers"):
            changes["callers"] = (*callers, issuer or issuers.callers(SIGNER))  # type: ignore[misc]
        self.rig.gateway.load(self.rig.gateway.table().model_copy(update=changes), SECRETS)


@asynccontextmanager
async def place(served: Table | None = None, **expires: float | None) -> AsyncIterator[Place]:
    async with upstreams() as upstream:
        here: list[Place] = []
        first = served or table(backend(provider(upstream.url)), ENDS)
        own = keys(**(expires or {"one": None, "two": None}))
        with_keys = first.model_copy(update={"callers": (*own, issuers.callers(SIGNER))})
        async with gateway(with_keys, now=lambda: here[0].time if here else START) as rig, calm(rig):
            here.append(Place(rig, upstream))
            yield here[0]


async def told(client: Peer, far: Peer, why: str) -> None:
    """A client is told so, and its upstream left."""
    error = (await client.event())["error"]
    assert error == {**dict(error), "type": "authentication_error", "code": "access_revoked", "message": why}  # type: ignore[call-overload]
    assert await client.closed() == (1008, why)
    assert await far.closed() == (1000, "")
    client.reset()
    far.reset()


async def talks(client: Peer, far: Peer) -> None:
    """A session goes on."""
    client.send(b'{"type":"input_audio_buffer.clear"}')
    assert await far.event() == {"type": "input_audio_buffer.clear"}


async def test_the_sessions_of_a_key_end_and_no_other() -> None:
    async with place() as it:
        gone, stays = [await it.session("one") for _ in range(3)], [await it.session("two") for _ in range(3)]
        it.serve(callers=keys(two=None))
        for pair in gone:
            await told(*pair, NOT_ADMITTED)
        for pair in stays:
            await talks(*pair)
            pair[0].reset()
    assert sorted(summary.reason for summary in it.rig.meter.closed) == ["client_lost"] * 3 + ["revoked"] * 3


async def test_a_key_expires_while_no_table_changes() -> None:
    async with place(one=START + 10, two=None) as it:
        gone, stays = await it.session("one"), await it.session("two")
        it.time = START + 10
        await told(*gone, NOT_ADMITTED)
        await talks(*stays)
        stays[0].reset()


async def test_a_key_that_gets_an_end_later_expires_then() -> None:
    async with place() as it:
        gone = await it.session("one")
        it.serve(callers=keys(one=START + 10, two=None))
        await talks(*gone)
        it.time = START + 10
        await told(*gone, NOT_ADMITTED)


async def test_a_token_expires_while_no_table_changes() -> None:
    """Half a minute later than it says, since clocks differ."""
    async with place() as it:
        gone, stays = await it.session(bearer(exp=START + 10)), await it.session(bearer(sub="bob", exp=START + 100))
        it.time = START + 10 + LEEWAY
        await told(*gone, EXPIRED)
        await talks(*stays)
        stays[0].reset()


@pytest.mark.parametrize(
    "issuer",
    [
        issuers.callers(SIGNER, name="https://other.example.com"),
        issuers.callers(SIGNER, audiences=("others",)),
        issuers.callers(issuers.jwk("P-256", 1, kid="a", alg="ES256")),
        issuers.callers(SIGNER, namespace="others"),
    ],
    ids=["its issuer is gone", "its audience is gone", "its signer is gone", "it is another tenant's"],
)
async def test_a_token_holds_no_more(issuer: CallerSet) -> None:
    async with place() as it:
        gone, stays = await it.session(bearer()), await it.session("two")
        named = issuer.model_copy(update={"id": issuers.callers(SIGNER).id})
        it.serve(callers=keys(two=None), issuer=named)
        await told(*gone, NOT_ADMITTED)
        await talks(*stays)
        stays[0].reset()


async def test_the_backend_is_deleted() -> None:
    async with place() as it:
        gone = await it.session("one")
        it.serve(backends=(), routes=())
        await told(*gone, DELETED)


async def test_what_a_session_began_with_holds() -> None:
    """It does not end though the Policy would have it now, and ends though the Policy would not any more."""
    async with place() as it:
        ends = await it.session("one")
        (route,) = it.rig.gateway.table().routes
        (forward,) = route.forwards
        keeps_now = forward.model_copy(update={"policies": ENDS.model_copy(update={"session": ()})})
        it.serve(routes=(route.model_copy(update={"forwards": (keeps_now,), "hash": ""}),))
        keeps = await it.session("one")
        it.serve(routes=(route,))
        it.serve(callers=keys(two=None))
        await told(*ends, NOT_ADMITTED)
        await talks(*keeps)
        keeps[0].reset()


async def test_a_key_that_is_back_before_anybody_looked_was_never_gone() -> None:
    async with place() as it:
        pair = await it.session("one")
        for _ in range(3):
            it.serve(callers=keys(two=None))
            it.serve(callers=keys(one=None, two=None))
        await it.looked()
        await talks(*pair)
        pair[0].reset()


async def test_a_key_that_comes_back_opens_new_sessions_and_no_old_ones() -> None:
    async with place() as it:
        gone = await it.session("one")
        it.serve(callers=keys(two=None))
        it.looks()
        it.serve(callers=keys(one=None, two=None))
        await told(*gone, NOT_ADMITTED)
        again = await it.session("one")
        await it.looked()
        await talks(*again)
        again[0].reset()


async def test_a_change_while_it_is_looked_who_must_go() -> None:
    """The look goes on, and another follows: who was revoked first is not forgotten, who comes back stays."""
    async with place(**{f"k{number}": None for number in range(3)}) as it:
        first, second, third = [await it.session(f"k{number}") for number in range(3)]
        it.serve(callers=keys(k1=None, k2=None))
        looking = it.revocations.look()
        next(looking, None)
        it.serve(callers=keys(k0=None, k2=None))
        for _ in looking:
            pass
        await told(*second, NOT_ADMITTED)
        await told(*first, NOT_ADMITTED)
        await talks(*third)
        third[0].reset()


async def test_who_closes_while_it_is_revoked_ends_once() -> None:
    async with place() as it:
        client, far = await it.session("one")
        client.close(1000)
        it.serve(callers=keys(two=None))
        assert (await client.closed())[0] in (1000, 1008)
        client.reset()
        far.reset()
    assert len(it.rig.meter.closed) == 1


@pytest.mark.parametrize("stage", ["dialled", "upgrading", "first event"])
async def test_a_session_that_is_being_opened_does_not_slip_through(stage: str) -> None:
    async with place() as it:
        client = await it.asked("one")
        far = await it.upstream.arrival()
        if stage != "dialled":
            request = await far.head()
        if stage == "first event":
            far.write(switching(request))
        it.serve(callers=keys(two=None))
        if stage == "dialled":
            request = await far.head()
        if stage != "first event":
            far.write(switching(request))
        far.send(CREATED, frames.TEXT)
        answer = await client.answer()
        assert (answer.status, answer.error["code"]) == (401, "access_revoked")
        client.reset()
    assert (it.rig.meter.handshakes, it.rig.meter.opened) == ([401], 0)


async def test_a_session_that_is_being_opened_while_something_else_changes_begins() -> None:
    async with place() as it:
        client = await it.asked("one")
        far = await it.upstream.arrival()
        it.serve(callers=keys(one=None))
        far.write(switching(await far.head()) + frames.frame(frames.TEXT, CREATED))
        assert (await client.answer()).status == 101
        client.reset()


async def test_tunnels_are_cut() -> None:
    async with place() as it:
        (client, far), stays = await it.tunnel("one"), await it.tunnel("two")
        it.serve(callers=keys(two=None))
        assert await client.closed() == (1006, "")
        await far.gone()
        await talks(*stays)
        for peer in (client, *stays):
            peer.reset()
    assert it.rig.meter.tunnels == [1, 2, 1, 0]


async def test_a_tunnel_that_is_being_opened_does_not_slip_through() -> None:
    async with place() as it:
        client = await it.asked("one", ECHO)
        far = await it.upstream.arrival()
        it.serve(callers=keys(two=None))
        far.write(switching(await far.head()))
        answer = await client.answer()
        assert (answer.status, answer.error["code"]) == (401, "access_revoked")
        await far.gone()
        client.reset()
    assert it.rig.meter.tunnels == []
