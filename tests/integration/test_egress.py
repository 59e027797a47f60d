"""A gateway behind a proxy that leads out of its network: every kind of call goes through it, what is to be called
directly does not, and what the proxy says is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dataplane.upstreams.egress import egress_proxy
from tests.dataplane.certificates import Authority
from tests.dataplane.upstreams.proxies import Proxy, Script, proxying, saying
from tests.integration.calls import WAYS, Call, Objects, Stand, provider, standing

HOST = "voice.example.com"
SERVED = {"chat": 200, "realtime": 101, "passthrough": 200, "tunnel": 101}


@asynccontextmanager
async def behind(
    folder: Path, *, script: Script | None = None, tls: bool = False, user: str = "", direct: tuple[str, ...] = ()
) -> AsyncIterator[tuple[Stand, Proxy]]:
    """A gateway that calls its provider by a name that nobody but the proxy knows."""
    authority = Authority()
    async with proxying(script) as proxy:
        egress, server = proxy.egress(user, user and "pass", direct), authority.server(folder, HOST) if tls else None
        async with standing(folder, Objects(), server, egress) as stand:
            port = stand.simulator.port
            proxy.names[f"{HOST}:{port}"] = port
            trust = {"tls": {"caSecretRef": {"name": "ca"}}} if tls else {}
            made = provider("one", url=f"http{'s' * tls}://{HOST}:{port}/v1", **trust)
            timeouts = {"connect": "500ms"} if script else {}
            backend = {"providers": [made], **({"timeouts": timeouts} if timeouts else {})}
            await stand.serve(Objects(backend, secrets={"ca": {"ca.crt": authority.pem}}))
            yield stand, proxy


@pytest.mark.parametrize("tls", [False, True])
async def test_every_kind_of_call_goes_through_it(tls: bool, tmp_path: Path) -> None:
    async with behind(tmp_path, tls=tls, user="tide@gate") as (stand, proxy):
        answers = {way: await stand.call(way, Call()) for way in WAYS}
        assert {way: each.status for way, each in answers.items()} == SERVED, answers
        assert set(proxy.asked) == {f"{HOST}:{stand.simulator.port}"}
        assert {head.partition("Proxy-Authorization: ")[2] for head in proxy.heads} == {
            "Basic dGlkZUBnYXRlOnBhc3M=\r\n\r\n"
        }
        for seen in answers.values():  # what the provider gets has nothing of it
            assert not seen.sent("proxy-authorization")
            assert seen.sent("host") == [f"{HOST}:{stand.simulator.port}"]


async def test_connections_through_it_are_used_again(tmp_path: Path) -> None:
    async with behind(tmp_path, tls=True) as (stand, proxy):
        for _ in range(3):
            assert (await stand.call("chat", Call())).status == 200
        assert len(proxy.heads) == 1


async def test_what_is_to_be_called_directly_is(tmp_path: Path) -> None:
    async with behind(tmp_path, direct=("example.com",)) as (stand, proxy):
        refused = await stand.call("chat", Call())
        assert refused.status == 502
        assert "its name cannot be resolved" in refused.message
        await stand.serve(Objects())  # at 127.0.0.1, which always is
        assert (await stand.call("chat", Call())).status == 200
        assert not proxy.heads


PATIENT = "took more than 0.5 s"
REFUSED = [
    (saying(b"HTTP/1.1 403 Forbidden\r\n\r\n"), 502, "the egress proxy answered 403 (Forbidden)"),
    (saying(b"HTTP/1.1 407 No\r\n\r\n"), 502, "the egress proxy wants a credential (407)"),
    (saying(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), 502, "the egress proxy sent something before"),
    (saying(b"SSH-2.0-x\r\n"), 502, "the egress proxy answered something that is not HTTP/1.1"),
    (saying(b"HTTP/1.1 200 OK\r\n"), 504, f"through the egress proxy {PATIENT}"),
    (saying(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000), 502, "a head of more than 16384 bytes"),
]


@pytest.mark.parametrize("way", ["chat", "realtime", "tunnel"])
@pytest.mark.parametrize(("script", "status", "said"), REFUSED)
async def test_what_the_proxy_says_is_told(script: Script, status: int, said: str, way: str, tmp_path: Path) -> None:
    async with behind(tmp_path, script=script) as (stand, proxy):
        seen = await stand.call(way, Call())
        assert (seen.status, seen.code) == (status, {502: "upstream_unreachable", 504: "upstream_timeout"}[status])
        assert f"{HOST}:{stand.simulator.port}" in seen.message
        assert said in seen.message
        assert str(proxy.port) not in seen.message.replace(str(stand.simulator.port), "")
        assert not stand.simulator.requests


async def test_one_that_hangs_up_or_is_not_there(tmp_path: Path) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with behind(tmp_path, script=hang_up) as (stand, _):
        assert "the egress proxy closed the connection without" in (await stand.call("chat", Call())).message
    unreachable = egress_proxy("http://127.0.0.1:1")
    async with standing(tmp_path, Objects(), egress=unreachable) as stand:
        await stand.serve(Objects({"providers": [provider("one", url="https://voice.example.com/v1")]}))
        seen = await stand.call("chat", Call())
        assert seen.message.endswith("the egress proxy cannot be reached: connection refused.")


@pytest.mark.parametrize("host", ["169.254.169.254", "10.0.0.1", "0.0.0.0", "[fd00::1]", "0xA9FEA9FE", "10.1"])
async def test_an_address_that_may_not_be_called_is_not_by_the_proxy_either(host: str, tmp_path: Path) -> None:
    async with behind(tmp_path) as (stand, proxy):
        await stand.serve(Objects({"providers": [provider("one", url=f"http://{host}/v1")]}))
        seen = await stand.call("chat", Call())
        assert (seen.status, seen.code) == (502, "upstream_address_refused")
        assert not proxy.heads


async def test_a_wrong_certificate_is_none_behind_a_proxy_either(tmp_path: Path) -> None:
    async with behind(tmp_path, tls=True) as (stand, proxy):
        url = f"https://other.example.com:{stand.simulator.port}/v1"
        proxy.names[f"other.example.com:{stand.simulator.port}"] = stand.simulator.port
        ca = {"ca": {"ca.crt": Authority().pem}}
        trust = {"caSecretRef": {"name": "ca"}}
        await stand.serve(Objects({"providers": [provider("one", url=url, tls=trust)]}, secrets=ca))
        assert "its certificate is not trusted" in (await stand.call("chat", Call())).message
