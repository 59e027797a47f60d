"""What is imported answers as what somebody writes by hand: both served in front of the simulator, asked the same."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from simulator.server import Simulator
from tests.importing.cases import case, text_of
from tidegate import client
from tidegate.addresses import Address
from tidegate.documents import Documents
from tidegate.importing import reading, writing
from tidegate.standalone import Options, Standalone

KEY = "sk-1234-of-the-callers"
ENVIRONMENT = {"OPENAI_API_KEY": "sk-simulator", "LITELLM_MASTER_KEY": KEY}
BY_HAND = """\
apiVersion: tidegate.dev/v1alpha1
kind: Backend
metadata: {{name: by-hand}}
spec:
  providers: [{{name: openai, openai: {{}}, url: "{url}/v1", auth: {{secretRef: {{name: openai}}}}}}]
  models: [{models}]
---
apiVersion: v1
kind: Secret
metadata: {{name: openai}}
stringData: {{Authorization: "${{OPENAI_API_KEY}}"}}
---
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {{name: by-hand}}
spec:
  targetRefs: [{{group: tidegate.dev, kind: Backend, name: by-hand}}]
  authentication: {{keys: [{{secretRef: {{name: callers}}}}]}}
---
apiVersion: v1
kind: Secret
metadata: {{name: callers}}
stringData: {{master: "${{LITELLM_MASTER_KEY}}"}}
"""


@asynccontextmanager
async def serving(text: str, folder: Path) -> AsyncIterator[Standalone]:
    path = folder / "gateway.yaml"
    path.write_text(text)
    free = Address("127.0.0.1", 0)
    served = Standalone(Options([path], free, free), Documents(ENVIRONMENT))
    await served.start()
    try:
        assert served.problems() == []
        yield served
    finally:
        await served.stop()


async def answers(address: object, model: str) -> list[object]:
    """To requests that cover what a client sees: models, a refusal, a completion, a realtime turn."""
    found: list[object] = []
    async with aiohttp.ClientSession(headers={"api-key": KEY}) as http:
        for key in ("wrong", KEY):
            async with http.get(f"http://{address}/v1/models", headers={"api-key": key}) as reply:
                found.append((reply.status, same(await reply.text())))
        for asked in (model, "no-such-model"):
            body = {"model": asked, "messages": [{"role": "user", "content": "Hello!"}]}
            async with http.post(f"http://{address}/v1/chat/completions", json=body) as reply:
                found.append((reply.status, same(await reply.text())))
        async with http.get(f"http://{address}/v1/files") as reply:
            found.append((reply.status, same(await reply.text())))
    async with client.session(client.address(f"ws://{address}", model), KEY) as session:
        await session.say("Hello!")
        await session.respond()
        event: Mapping[str, object] = {}
        while event.get("type") != "response.done":
            event = await session.receive()
            found.append(event["type"])
    return found


def same(text: str) -> str:
    """Without what differs from one request to the next, and the Backends' names."""
    text = re.sub(r"\b(chatcmpl-|[0-9a-f]{8})[0-9a-zA-Z-]*|\b1[0-9]{9}\b", "…", text)
    return re.sub(r"default/(by-hand|litellm|openai)|by-hand|litellm", "…", text)


def from_litellm(name: str, url: str) -> str:
    """As somebody would import it whose provider is elsewhere, and whose callers have a key."""
    params = f"    api_base: {url}/v1\n    api_key: os.environ/OPENAI_API_KEY"
    text = text_of(name).replace("    api_key: os.environ/OPENAI_API_KEY", params)
    text += "\ngeneral_settings: {master_key: os.environ/LITELLM_MASTER_KEY}\n"
    return writing.text(reading.imported({"config.yaml": text}, None, {}, "default").objects)


@pytest.mark.parametrize(
    ("name", "model", "target"),
    [
        ("litellm-seed", "openai-gpt-4o-realtime-audio", "gpt-4o-realtime-preview-2024-10-01"),
        ("litellm-seed-all-events", "gpt-4o-realtime", "gpt-4o-realtime-preview-2024-12-17"),
    ],
)
async def test_litellm(name: str, model: str, target: str, tmp_path: Path) -> None:
    found: list[list[object]] = []
    turns: list[list[tuple[object, object]]] = []
    for by_hand in (True, False):
        async with Simulator() as simulator:
            models = f"{{name: {model}, targets: [{{provider: openai, model: {target}}}]}}"
            text = BY_HAND.format(url=simulator.url, models=models) if by_hand else from_litellm(name, simulator.url)
            async with serving(text, tmp_path) as served:
                found.append(await answers(served.address, model))
            turns.append([(turn["model"], turn["usage"]) for turn in simulator.ledger.turns])
    assert found[0] == found[1]
    assert turns[0] == turns[1]
    assert [asked for asked, _ in turns[0]] == [target, target]


POOL = """\
credential_list:
- credential_name: azure
  credential_values: {{api_base: "{azure}", api_key: os.environ/OPENAI_API_KEY, api_version: 2024-10-01-preview}}
model_list:
- model_name: deployed
  litellm_params: {{model: azure/my-realtime, litellm_credential_name: azure}}
- model_name: spoken
  litellm_params: {{model: xai/grok-voice-latest, api_base: "{xai}/v1", api_key: os.environ/OPENAI_API_KEY}}
- model_name: voice
  litellm_params: {{model: xai/grok-voice-latest, api_base: "http://127.0.0.1:9", api_key: os.environ/OPENAI_API_KEY}}
- model_name: voice
  litellm_params: {{model: azure/my-realtime, litellm_credential_name: azure}}
general_settings: {{master_key: os.environ/LITELLM_MASTER_KEY}}
"""


async def test_azure_and_xai(tmp_path: Path) -> None:
    """Each is called as its own kind is; where one of two that share a name is away, the other one answers."""
    async with Simulator(kind="azure") as azure, Simulator(kind="xai") as xai:
        config = {"config.yaml": POOL.format(azure=azure.url, xai=xai.url)}
        text = writing.text(reading.imported(config, None, {}, "default").objects)
        async with serving(text, tmp_path) as served:
            for model in ("deployed", "spoken", "voice", "voice", "voice"):
                async with client.session(client.address(f"ws://{served.address}", model), KEY) as session:
                    await session.say("Hello!")
                    await session.respond()
                    while (await session.receive()).get("type") != "response.done":
                        pass
        assert [turn["model"] for turn in azure.ledger.turns] == ["my-realtime"] * 4
        assert {turn["model"] for turn in xai.ledger.turns} == {"grok-voice-latest"}


BY_HAND_ROUTED = """\
apiVersion: tidegate.dev/v1alpha1
kind: Backend
metadata: {{name: by-hand}}
spec:
  providers:
  - {{name: openai, openai: {{}}, url: "{url}/v1", modelOverride: gpt-4, auth: {{secretRef: {{name: openai}}}}}}
  routes: {{/v1/chat/completions: Completions, /v1/realtime: Realtime, "*": Passthrough}}
---
apiVersion: v1
kind: Secret
metadata: {{name: openai}}
stringData: {{Authorization: "${{OPENAI_API_KEY}}"}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: by-hand}}
spec:
  parentRefs: [{{name: any}}]
  rules:
  - name: realtime
    matches: [{{path: {{type: PathPrefix, value: /v1/realtime}}}}]
    backendRefs: [{{group: tidegate.dev, kind: Backend, name: by-hand}}]
  - backendRefs: [{{group: tidegate.dev, kind: Backend, name: by-hand}}]
---
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {{name: by-hand}}
spec:
  targetRefs: [{{group: gateway.networking.k8s.io, kind: HTTPRoute, name: by-hand, sectionName: realtime}}]
  transformation: {{request: {{remove: [sec-websocket-extensions]}}}}
"""


async def test_agentgateway(tmp_path: Path) -> None:
    """The model that its Backend names is sent whatever a client asks for."""
    found: list[list[object]] = []
    turns: list[list[tuple[object, object]]] = []
    for by_hand in (True, False):
        async with Simulator() as simulator:
            text = BY_HAND_ROUTED.format(url=simulator.url)
            if not by_hand:
                text = writing.text(case("agentgateway-seed").objects)
                text = text.replace("openai: {}\n", f"openai: {{}}\n    url: {simulator.url}/v1\n", 1)
            async with serving(text, tmp_path) as served:
                found.append(await answers(served.address, "gpt-realtime"))
            turns.append([(turn["model"], turn["usage"]) for turn in simulator.ledger.turns])
    assert found[0] == found[1]
    assert turns[0] == turns[1]
    assert {asked for asked, _ in turns[0]} == {"gpt-4"}
