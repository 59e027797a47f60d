"""Every file of examples/ is valid, and does what its comment says: served against a simulator, with real calls."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import yaml

from simulator.server import Simulator
from tidegate import client
from tidegate.addresses import Address
from tidegate.documents import Documents
from tidegate.exits import Stop
from tidegate.standalone import Options, Standalone
from tidegate.validate import check

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.name for path in EXAMPLES.glob("*.yaml"))
CALLER_KEY = "caller-4f1d"
VISITOR_KEY = "visitor-9c3b"
ENVIRONMENT = {
    "OPENAI_API_KEY": "sk-simulator",
    "OPENAI_EU_API_KEY": "sk-simulator",
    "AZURE_OPENAI_API_KEY": "sk-simulator",
    "XAI_API_KEY": "sk-simulator",
    "SUPPORT_KEY": CALLER_KEY,
    "TEAM_KEY": CALLER_KEY,
    "VISITOR_KEY": VISITOR_KEY,
}
MODELS = {"models.yaml": ("gpt-5-mini", "voice"), "local-vllm.yaml": ("qwen", "qwen")}


@asynccontextmanager
async def example(name: str, folder: Path, rule: str = "") -> AsyncIterator[tuple[Standalone, Simulator]]:
    """The example as it is written, but for the addresses of its providers. `rule`: what its Policy targets."""
    async with Simulator() as simulator, Simulator(kind="azure") as azure, Simulator(kind="xai") as xai:
        documents = list(yaml.safe_load_all((EXAMPLES / name).read_text()))
        for document in documents if rule else ():
            for target in document["spec"].get("targetRefs", ()) if document["kind"] == "Policy" else ():
                target["sectionName"] = rule
        for document in documents:
            for provider in document["spec"].get("providers", ()) if document["kind"] == "Backend" else ():
                if "azure" in provider:
                    provider |= {"azure": {}, "url": azure.url}
                    continue
                provider["url"] = f"{(xai if 'xai' in provider else simulator).url}/v1"
                if provider["name"] == "vllm":  # the simulator wants a key, vLLM does not
                    provider["auth"] = {"passthrough": {}}
        path = folder / name
        path.write_text(yaml.safe_dump_all(documents))
        free = Address("127.0.0.1", 0)
        served = Standalone(Options([path], free, free), Documents(ENVIRONMENT))
        await served.start()
        try:
            yield served, simulator
        finally:
            await served.stop()


def headers(name: str) -> dict[str, str]:
    key = "sk-simulator" if name == "local-vllm.yaml" else CALLER_KEY
    return {"Authorization": f"Bearer {key}", "X-Session": "42"}


def ask(model: str) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": "Hello!"}]}


def test_the_readme_lists_them_all() -> None:
    listed = re.findall(r"^\| \[([\w-]+\.yaml)\]", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_is_valid(name: str) -> None:
    report = check([EXAMPLES / name], Documents(ENVIRONMENT))
    assert report.ok, report.text()
    assert report.notes == ()


def test_all_of_them_together_are_valid() -> None:
    report = check([EXAMPLES], Documents(ENVIRONMENT))
    assert report.ok, report.text()


@pytest.mark.parametrize("name", NAMES)
async def test_it_serves_a_completion(name: str, tmp_path: Path) -> None:
    model, _ = MODELS.get(name, ("gpt-5-mini", ""))
    async with example(name, tmp_path) as (served, simulator), aiohttp.ClientSession(headers=headers(name)) as http:
        assert served.problems() == []
        async with http.post(f"http://{served.address}/v1/chat/completions", json=ask(model)) as reply:
            assert reply.status == 200, await reply.text()
        assert simulator.ledger.totals["turns"] == 1


@pytest.mark.parametrize("name", NAMES)
async def test_it_serves_a_realtime_turn(name: str, tmp_path: Path) -> None:
    _, model = MODELS.get(name, ("", "gpt-realtime"))
    async with example(name, tmp_path) as (served, simulator):
        url = client.address(f"ws://{served.address}", model)
        async with client.session(url, headers(name)["Authorization"].removeprefix("Bearer ")) as session:
            await session.say("Hello!")
            await session.respond()
            while (await session.receive())["type"] != "response.done":
                pass
        assert simulator.ledger.totals["turns"] == 1


async def test_openai_passes_the_rest_through(tmp_path: Path) -> None:
    async with example("openai.yaml", tmp_path) as (served, _), aiohttp.ClientSession() as http:
        async with http.get(f"http://{served.address}/v1/models") as reply:
            assert reply.status == 200
        async with http.post(f"http://{served.address}/v1/realtime/client_secrets", json={}) as reply:
            assert reply.status == 403


async def test_access_shows_and_serves_each_caller_its_own_models(tmp_path: Path) -> None:
    async with example("access.yaml", tmp_path) as (served, _), aiohttp.ClientSession() as http:
        seen = {}
        for key in (CALLER_KEY, VISITOR_KEY):
            http.headers["Authorization"] = f"Bearer {key}"
            async with http.get(f"http://{served.address}/v1/models") as reply:
                seen[key] = [model["id"] for model in (await reply.json())["data"]]
            async with http.post(f"http://{served.address}/v1/chat/completions", json=ask("gpt-5")) as reply:
                assert reply.status == 403
        assert seen == {
            CALLER_KEY: ["gpt-5-mini", "gpt-realtime", "gpt-realtime-2", "gpt-4o-mini-transcribe", "whisper-1"],
            VISITOR_KEY: ["gpt-5-mini"],
        }


async def test_keys_are_asked_for(tmp_path: Path) -> None:
    async with example("keys.yaml", tmp_path) as (served, _), aiohttp.ClientSession() as http:
        async with http.post(f"http://{served.address}/v1/chat/completions", json=ask("gpt-5-mini")) as reply:
            assert reply.status == 401
        with pytest.raises(Stop, match="401"):
            async with client.session(client.address(f"ws://{served.address}", "gpt-realtime"), "wrong"):
                pass


async def test_models_have_names_of_their_own(tmp_path: Path) -> None:
    async with example("models.yaml", tmp_path) as (served, simulator), aiohttp.ClientSession() as http:
        url = f"http://{served.address}/v1/chat/completions"
        async with http.post(url, json=ask("eu/gpt-5-mini")) as reply:
            assert reply.status == 200
        async with http.post(url, json=ask("claude")) as reply:
            assert reply.status == 404
        assert [turn["model"] for turn in simulator.ledger.turns] == ["gpt-5-mini"]


async def test_a_pool_serves_every_kind(tmp_path: Path) -> None:
    async with example("pool.yaml", tmp_path) as (served, _):
        for model, shown in (("voice", "voice"), ("grok", "grok")):
            url = client.address(f"ws://{served.address}", model)
            async with client.session(url, CALLER_KEY) as session:
                created = await session.receive()
                assert isinstance(created["session"], dict)
                assert created["session"]["model"] == shown


async def test_headers_are_transformed(tmp_path: Path) -> None:
    async with (
        example("transform.yaml", tmp_path) as (served, simulator),
        aiohttp.ClientSession(headers=headers("transform.yaml")) as http,
        http.post(f"http://{served.address}/v1/chat/completions", json=ask("gpt-5-mini")) as reply,
    ):
        assert reply.headers["x-served-by"] == "openai, gpt-5-mini"
        assert "openai-processing-ms" not in reply.headers
        received = {name.lower(): value for name, value in simulator.requests[-1].headers}
        assert received["x-team"] == "support"
        assert received["x-request-of"] == "helpdesk/42"
        assert "user-agent" not in received


@pytest.mark.parametrize(("key", "too_big"), [(CALLER_KEY, False), (VISITOR_KEY, True)])
async def test_limits_of_sessions_are_by_team(tmp_path: Path, key: str, *, too_big: bool) -> None:
    async with example("sessions.yaml", tmp_path) as (served, _):
        url = client.address(f"ws://{served.address}", "gpt-realtime")
        async with client.session(url, key) as session:
            await session.say("Hello! " * 50_000)
            while (event := await session.receive())["type"] in ("session.created", "conversation.item.added"):
                pass
        assert event["type"] == ("error" if too_big else "conversation.item.done"), event


@pytest.mark.parametrize(("rule", "offered"), [("openai-realtime", True), ("openai", False)])
async def test_the_policy_holds_for_its_rule_alone(tmp_path: Path, rule: str, offered: bool) -> None:
    """A relayed WebSocket on the other rule keeps its extensions, unless the Policy is moved there. (On a Realtime
    path the gateway negotiates none, whatever a Policy says.)"""
    async with example("httproute.yaml", tmp_path, rule=rule) as (served, simulator), aiohttp.ClientSession() as http:
        base = f"http://{served.address}"
        async with http.ws_connect(f"{base}/v1/realtime?model=gpt-realtime", compress=15) as socket:
            await socket.receive()
        async with http.ws_connect(f"{base}/v1/echo/ws", compress=15) as socket:
            await socket.send_str("hello")
            assert await socket.receive_str() == "hello"
        offers = ["sec-websocket-extensions" in dict(_lower(each.headers)) for each in simulator.requests]
        assert offers == [False, offered]


def _lower(fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in fields]
