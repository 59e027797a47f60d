"""A key is taken out of a file: its sessions end within a second and no other, and the books of all are whole."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
import structlog

from dataplane.callers import refresh
from dataplane.slices import at_once
from tests.dataplane.callers.issuers import AUDIENCE, ISSUER, claims, jwk, key_set, token
from tests.dataplane.callers.publisher import Publisher
from tests.integration.calls import Objects, standing
from tests.integration.lives.line import Gone, Line, upgrade
from tests.integration.lives.used import Used

EACH = 20
WITHIN = 5.0
"""Seconds for this machine; whether it is less than one is for a benchmark to say."""
GUARD = {"authentication": {"mode": "Required", "keys": [{"secretRef": {"name": "callers"}}]}}
ENDS = {"session": {"onRevoke": "EndSession"}}
BOTH = {"one": "key-one", "two": "key-two"}


def objects(keys: dict[str, str], *more: dict[str, object]) -> Objects:
    return Objects(policies=(GUARD, ENDS, *more), keys=keys)


async def opened(port: int, key: str) -> list[Used]:
    request = upgrade("any.test", "/v1/realtime?model=gpt-realtime", key)
    return [await Used.open(port, request) for _ in range(EACH)]


async def test_one_of_two_keys_is_revoked(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as lines:
        async with standing(tmp_path, objects(BOTH)) as stand:
            port = stand.gateway.address.port
            gone, stays = await opened(port, BOTH["one"]), await opened(port, BOTH["two"])
            for used in (*gone, *stays):
                await used.turn()
            stand.write(objects({"two": BOTH["two"]}))
            await stand.gateway.reload()
            async with asyncio.timeout(WITHIN):
                for used in gone:
                    error = (await used.event("error"))["error"]
                    assert isinstance(error, dict)
                    assert error["code"] == "access_revoked"
                    assert await used.line.gone() == 1008
            for used in stays:
                await used.turn()
            assert await Used.knock(port, upgrade("any.test", "/v1/realtime?model=gpt-realtime", BOTH["one"])) == 401
            for used in stays:
                await used.close()
            billed = Counter[str]()
            for turn in stand.simulator.ledger.turns:
                billed["turns"] += 1
                usage = turn["usage"]
                assert isinstance(usage, dict)
                billed["output"] += usage["output_tokens"]
    turns = [line for line in lines if line["event"] == "turn"]
    assert len(turns) == billed["turns"] == 3 * EACH
    assert sum(turn["tokens"]["output_text"] for turn in turns) == billed["output"]
    assert not any(turn["estimated"] for turn in turns)
    sessions = [line for line in lines if line["event"] == "session"]
    assert Counter((each["caller"]["key"], each["reason"], each["turns"]) for each in sessions) == {
        ("one", "revoked", 1): EACH,
        ("two", "client_closed", 2): EACH,
    }


async def test_whoever_comes_while_a_key_goes_and_comes_back_is_gone_when_it_is(tmp_path: Path) -> None:
    """Sessions are opened all the while, and tables are loaded: nobody slips through between the two."""
    request = upgrade("any.test", "/v1/realtime?model=gpt-realtime", BOTH["one"])
    opened_, statuses, over = list[Line](), Counter[int](), asyncio.Event()

    async def come(port: int) -> None:
        for _ in range(60):
            line = await Line.open(port, request)
            statuses[await line.answered()] += 1
            opened_.append(line)
            if over.is_set():
                return

    async with standing(tmp_path, objects(BOTH)) as stand:
        port = stand.gateway.address.port
        stays = await opened(port, BOTH["two"])
        coming = [asyncio.create_task(come(port)) for _ in range(4)]
        without = objects({"two": BOTH["two"]})
        for served in (without, objects(BOTH), without, objects(BOTH), without):
            stand.write(served)
            await stand.gateway.reload()
        over.set()
        await asyncio.gather(*coming)
        async with asyncio.timeout(WITHIN):
            for line in opened_:
                if line.status == 101:
                    assert await line.gone() == 1008
        assert await Used.knock(port, request) == 401
        for used in stays:
            await used.turn()
            await used.close()
        for line in opened_:
            line.reset()
    assert {101, 401} >= set(statuses), statuses


async def test_a_session_ends_with_the_key_that_signed_its_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An issuer is away, then back with another key under the same name."""
    monkeypatch.setattr(refresh, "SOONEST", 0.0)
    first, second = token(claims(department="support")), token(claims(department="support"), number=1)
    async with Publisher(key_set(jwk("P-256", kid="a", alg="ES256"))) as publisher:
        issuer = {"issuer": ISSUER, "audiences": [AUDIENCE], "jwks": {"url": publisher.url}}
        policies = ({"authentication": {"jwt": [issuer]}}, ENDS)
        async with standing(tmp_path, Objects(policies=policies)) as stand:
            port = stand.gateway.address.port

            def asking(shown: str) -> bytes:
                return upgrade("any.test", "/v1/realtime?model=gpt-realtime", shown)

            old = await Used.open(port, asking(first))
            publisher.status = 503
            assert await Used.knock(port, asking(second)) == 401
            at_once(stand.gateway.gateway._running.services.revocations.look())  # type: ignore[union-attr]
            await old.turn()
            publisher.status, publisher.body = 200, key_set(jwk("P-256", 1, kid="a", alg="ES256"))
            new = await Used.open(port, asking(second))
            assert await Used.knock(port, asking(first)) == 401
            async with asyncio.timeout(WITHIN):
                assert await old.line.gone() == 1008
            await new.turn()
            await new.close()


@pytest.mark.parametrize("edit", ["a Policy that cannot be read", "a Backend that cannot be read", "a broken file"])
async def test_a_mistake_ends_nobody(edit: str, tmp_path: Path) -> None:
    async with standing(tmp_path, objects(BOTH)) as stand:
        (used, *others) = await opened(stand.gateway.address.port, BOTH["one"])
        if edit == "a broken file":
            stand.file.write_text("kind: [")
        elif edit == "a Policy that cannot be read":
            stand.write(objects(BOTH, {"session": {"idle": "soon"}}))
        else:
            stand.write(Objects({"providers": []}, policies=(GUARD, ENDS), keys=BOTH))
        await stand.gateway.reload()
        request = upgrade("any.test", "/v1/realtime?model=gpt-realtime", BOTH["one"])
        assert await Used.knock(stand.gateway.address.port, request) == (101 if edit == "a broken file" else 500)
        at_once(stand.gateway.gateway._running.services.revocations.look())  # type: ignore[union-attr]
        await used.turn()
        stand.write(objects({}))
        await stand.gateway.reload()
        with pytest.raises(Gone):
            await used.event("never")
        assert used.line.close == 1008
        for each in others:
            each.line.reset()
