"""TLS towards providers, on real sockets: which servers are trusted, what they are shown, and what is said where that
does not fit. The certificates are made here, by authorities that nobody knows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import pytest
import yaml

from tests.dataplane.certificates import Authority, pair
from tests.dataplane.upstreams.far import Far, answering, serving
from tests.integration.calls import FREE, WAYS, Call, Objects, Stand, provider, standing
from tidegate.documents import Documents
from tidegate.standalone import Options, Standalone

SERVERS, CLIENTS = Authority("Servers"), Authority("Clients")
HOST = "llm.internal"
OTHER = pair("other.test")[0]
ENTRIES = {"ca.crt": OTHER, "bundle.pem": f"# Another\n{OTHER}# Ours\n{SERVERS.pem}"}
OURS = {"ca": {"ca.crt": SERVERS.pem}, "bundle": ENTRIES, "other": {"ca.crt": OTHER}}


def tls(**fields: object) -> Objects:
    """With a provider that has this TLS."""
    chain, key = CLIENTS.issue("gateway")
    secrets = {**OURS, "me": {"tls.crt": chain, "tls.key": key}}
    return Objects({"providers": [provider("one", tls=fields)]}, secrets=secrets)


async def seen(stand: Stand, objects: Objects) -> dict[str, tuple[int, str]]:
    """What comes of every kind of call."""
    await stand.serve(objects)
    answers = {way: await stand.call(way, Call()) for way in WAYS}
    return {way: (each.status, each.message) for way, each in answers.items()}


def all_served(answers: dict[str, tuple[int, str]]) -> bool:
    return answers == {"chat": (200, ""), "realtime": (101, ""), "passthrough": (200, ""), "tunnel": (101, "")}


def all_refused(answers: dict[str, tuple[int, str]], words: Sequence[str]) -> bool:
    return all(status == 502 and all(word in message for word in words) for status, message in answers.values())


TRUSTED = {"caSecretRef": {"name": "ca"}}
UNKNOWN = ["certificate is not trusted", "tls.caSecretRef"]


@pytest.mark.parametrize(
    ("unlike", "words", "like"),
    [
        ({"serverName": HOST}, UNKNOWN, TRUSTED),
        ({"caSecretRef": {"name": "other"}}, UNKNOWN, TRUSTED),
        ({"caSecretRef": {"name": "bundle"}}, UNKNOWN, {"caSecretRef": {"name": "bundle", "key": "bundle.pem"}}),
        ({**TRUSTED, "serverName": "llm"}, ["not valid for 'llm'", "tls.serverName"], TRUSTED),
    ],
)
async def test_a_server_is_called_whose_certificate_is_trusted_and_for_the_name(
    unlike: dict[str, object], words: list[str], like: dict[str, object], tmp_path: Path
) -> None:
    async with standing(tmp_path, tls(serverName=HOST), SERVERS.server(tmp_path, HOST)) as stand:
        refused = await seen(stand, tls(**{"serverName": HOST, **unlike}))
        assert all_refused(refused, words), refused
        served = await seen(stand, tls(**{"serverName": HOST, **like}))
        assert all_served(served), served


async def test_the_host_of_the_url_is_the_name_unless_another_is_said(tmp_path: Path) -> None:
    async with standing(tmp_path, tls(**TRUSTED), SERVERS.server(tmp_path, HOST)) as stand:
        refused = await seen(stand, tls(**TRUSTED))
        assert all_refused(refused, ["not valid for '127.0.0.1'", "tls.serverName"]), refused
        assert all_served(await seen(stand, tls(**TRUSTED, serverName=HOST)))


async def test_a_server_that_wants_a_certificate_is_shown_one(tmp_path: Path) -> None:
    objects = tls(**TRUSTED, serverName=HOST)
    async with standing(tmp_path, objects, SERVERS.server(tmp_path, HOST, clients=CLIENTS.pem)) as stand:
        answers = await seen(stand, objects)
        assert {status for status, _ in answers.values()} == {502}, answers
        answers = await seen(stand, tls(**TRUSTED, serverName=HOST, clientSecretRef={"name": "me"}))
        assert all_served(answers), answers


async def test_a_certificate_that_does_not_fit_its_key_is_not_used(tmp_path: Path) -> None:
    objects = tls(**TRUSTED, serverName=HOST, clientSecretRef={"name": "mixed"})
    chain, key = CLIENTS.issue("gateway")[0], CLIENTS.issue("gateway")[1]
    mixed = Objects(objects.backend, secrets={**objects.secrets, "mixed": {"tls.crt": chain, "tls.key": key}})
    async with standing(tmp_path, mixed, SERVERS.server(tmp_path, HOST)) as stand:
        answers = await seen(stand, mixed)
        for status, message in answers.values():
            assert status == 500
            assert 'Secret ai/mixed: entry "tls.key" is not the key of the first certificate in "tls.crt"' in message
            assert "PRIVATE" not in message
        assert not stand.simulator.requests


def documents(url: str, clients: dict[str, str]) -> list[dict[str, object]]:
    """A Backend for each client, which shows its own certificate to the one server."""
    made = [_secret("ca", {"ca.crt": SERVERS.pem})]
    for name, pem in clients.items():
        begin = "-----BEGIN PRIVATE KEY-----"
        chain, _, key = pem.partition(begin)
        made.append(_secret(name, {"tls.crt": chain, "tls.key": begin + key}))
        way = {**TRUSTED, "serverName": HOST, "clientSecretRef": {"name": name}}
        spec = {
            "providers": [{"name": "p", "custom": {}, "url": url, "tls": way}],
            "expose": {"pathPrefix": f"/{name}"},
        }
        meta = {"name": name, "namespace": "ai"}
        made.append({"apiVersion": "tidegate.dev/v1alpha1", "kind": "Backend", "metadata": meta, "spec": spec})
    return made


def _secret(name: str, entries: dict[str, str]) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "ai"}, "stringData": entries}


def shown(far: Far) -> str:
    """Whose certificate the server was shown."""
    subject = far.writer.get_extra_info("peercert")["subject"]
    return str(dict(part for parts in subject for part in parts)["commonName"])


REPLY = json.dumps({"id": "c", "model": "m", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})
ANSWER = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(REPLY)}\r\n\r\n{REPLY}".encode()
ASK = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


class Asking:
    """Clients of a gateway that serves `documents`."""

    def __init__(self, file: Path, http: aiohttp.ClientSession) -> None:
        self.file, self.http = file, http
        self.gateway = Standalone(Options([file], FREE, FREE), Documents({}))

    def write(self, url: str, **clients: tuple[str, str]) -> None:
        made = documents(url, {name: "".join(pem) for name, pem in clients.items()})
        self.file.write_text(yaml.safe_dump_all(made))

    def ask(self, name: str) -> aiohttp.client._RequestContextManager:
        return self.http.post(f"http://{self.gateway.address}/{name}/v1/chat/completions", json=ASK)

    async def asked(self, name: str) -> int:
        async with self.ask(name) as reply:
            await reply.read()
            return reply.status


async def test_those_who_show_different_certificates_never_share_a_connection(tmp_path: Path) -> None:
    peers: list[str] = []
    answer = answering(ANSWER)

    async def script(far: Far) -> None:
        peers.append(shown(far))
        await answer(far)

    async with serving(script, SERVERS.server(tmp_path, HOST, CLIENTS.pem)) as server, aiohttp.ClientSession() as http:
        it = Asking(tmp_path / "objects.yaml", http)
        it.write(server.url, red=CLIENTS.issue("red"), blue=CLIENTS.issue("blue"))
        await it.gateway.start()
        try:
            assert [await it.asked(name) for name in ("red", "blue", "blue", "red", "red")] == [200] * 5
        finally:
            await it.gateway.stop()
    assert peers == ["red", "blue"]


async def test_a_rotated_certificate_is_shown_from_then_on_and_what_is_under_way_goes_on(tmp_path: Path) -> None:
    peers: list[str] = []
    begun, more = asyncio.Event(), asyncio.Event()
    answer = answering(ANSWER)

    async def script(far: Far) -> None:
        peers.append(shown(far))
        if len(peers) == 1:
            await far.request()
            begun.set()
            await far.says(ANSWER[:-5])
            await more.wait()
            await far.says(ANSWER[-5:])
        await answer(far)

    async with serving(script, SERVERS.server(tmp_path, HOST, CLIENTS.pem)) as server, aiohttp.ClientSession() as http:
        it = Asking(tmp_path / "objects.yaml", http)
        it.write(server.url, red=CLIENTS.issue("old"))
        await it.gateway.start()
        try:
            slow = asyncio.create_task(it.asked("red"))
            async with asyncio.timeout(10):
                await begun.wait()
            assert await it.asked("red") == 200  # on a second connection, which waits for more then
            it.write(server.url, red=CLIENTS.issue("new"))
            await it.gateway.load()
            assert await it.asked("red") == 200
            more.set()
            assert await slow == 200
            assert await it.asked("red") == 200
        finally:
            await it.gateway.stop()
    assert peers == ["old", "old", "new"]
