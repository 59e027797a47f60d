"""The connection to a store, over a server that speaks Redis' protocol."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr

from dataplane.limits.fleet import StoreFailed
from dataplane.limits.store import ValkeyStore, where
from tests.dataplane.limits.double import Memory, serving

NOTHING: list[str | int] = ["me", 1, 15_000, 60_000, 0, 0, 0]
KEY = "s3cr3t-pass"


async def test_the_script_is_sent_once_and_then_named() -> None:
    async with serving() as server:
        store = ValkeyStore(server.url)
        for found in (0, 1, 1):
            answer = await store.run("k", NOTHING)
            assert isinstance(answer, list)
            assert (answer[0], answer[2]) == (b"ok", found)
        await store.close()
        assert server.commands == ["EVALSHA", "EVAL", "EVALSHA", "EVALSHA"]


async def test_a_server_that_was_started_again_is_found_again() -> None:
    async with serving() as server:
        store = ValkeyStore(server.url)
        await store.run("k", NOTHING)
        await server.stop()
        with pytest.raises(StoreFailed):
            await store.run("k", NOTHING)
        await server.start()
        assert await store.run("k", NOTHING)
        await store.close()


@pytest.mark.parametrize("url", ["redis://127.0.0.1:{port}/3", "redis://:{key}@127.0.0.1:{port}"])
async def test_password_and_database(url: str) -> None:
    async with serving(password=KEY) as server:
        address = url.format(port=server.port, key=KEY)
        store = ValkeyStore(address, None if KEY in address else SecretStr(KEY))
        assert await store.run("k", NOTHING)
        await store.close()
        assert server.commands[0] == "AUTH"
        assert ("SELECT" in server.commands) == ("/3" in url)
        assert KEY not in store.where
        assert KEY not in repr(store)


async def test_a_wrong_password_is_told_without_it() -> None:
    async with serving(password="another") as server:
        store = ValkeyStore(server.url, SecretStr(KEY))
        with pytest.raises(StoreFailed, match="invalid username-password pair") as caught:
            await store.run("k", NOTHING)
        assert KEY not in str(caught.value)
        assert "the password is that of TIDEGATE_STATE_PASSWORD" in str(caught.value)
        assert caught.value.__cause__ is None
        await store.close()


async def test_nobody_there() -> None:
    async with serving() as server:
        port = server.port
    store = ValkeyStore(f"redis://127.0.0.1:{port}")
    with pytest.raises(StoreFailed, match=f"redis://127.0.0.1:{port}: "):
        await store.run("k", NOTHING)
    await store.close()


async def test_one_that_says_nothing_is_not_waited_for() -> None:
    async with serving(Memory()) as server:
        server.silent = True
        store = ValkeyStore(server.url, timeout=0.05)
        with pytest.raises(StoreFailed, match=r"did not answer within 0\.05 s"):
            await store.run("k", NOTHING)
        server.silent = False
        assert await store.run("k", NOTHING), "and its late answer is nobody's"
        await store.close()


async def test_many_at_once_share_some_connections() -> None:
    async with serving() as server:
        store = ValkeyStore(server.url, timeout=30)
        answers = await asyncio.gather(*(store.run(f"k{number}", NOTHING) for number in range(100)))
        assert len(answers) == 100
        assert len(server._writers) <= 17
        await store.close()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost", "redis://localhost"),
        (f"rediss://user:{KEY}@redis.example:6380/1?ssl_ca_certs=/ca.pem", "rediss://redis.example:6380/1"),
        (f"unix://:{KEY}@/run/redis.sock?db=2", "unix:///run/redis.sock"),
        ("valkey://[::1]:6379", "valkey://[::1]:6379"),
    ],
)
def test_addresses_are_shown_without_what_is_secret(url: str, shown: str) -> None:
    assert where(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        f"http://:{KEY}@x",
        f"{KEY}",
        f"redis://:{KEY}@",
        f"redis://x:{KEY}",
        f"redis://x/{KEY}",
        f"redis://x?socket_timeout=1&password={KEY}",
        "unix://relative",
        f"redis://user:12#{KEY}@x",
        f"redis://user:12/{KEY}@x",
        f"redis://:{KEY}@x:99999",
        "redis:/127",
        "unix:/run/redis.sock",
    ],
)
def test_what_is_no_address_is_refused_without_a_secret(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        where(url)
    assert KEY not in str(caught.value)
    with pytest.raises(ValueError, match=r"."):
        ValkeyStore(url)
