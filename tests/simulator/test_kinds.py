"""The doubles of Azure and xAI, where they are not as OpenAI."""

from __future__ import annotations

import aiohttp
import pytest

from simulator.beta import BetaConversation
from simulator.conversation import Conversation
from simulator.kinds import Kind
from simulator.ledger import Ledger
from simulator.scenarios import Options, Scenarios
from simulator.server import Simulator
from simulator.timeline import Audio
from simulator.xai import XaiConversation, refused, served

KEY = {"api-key": "sk-simulator"}
BEARER = {"Authorization": "Bearer sk-simulator"}
ASK = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hello"}]}
V = "api-version=2025-04-01-preview"


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        ("/openai/v1/chat/completions", KEY, 200, ""),
        ("/openai/v1/chat/completions", BEARER, 200, ""),
        ("/openai/v1/chat/completions?api-key=sk-simulator", {}, 200, ""),
        ("/openai/v1/chat/completions", {}, 401, "401"),
        ("/openai/v1/chat/completions", {"api-key": "sk-wrong"}, 401, "401"),
        (f"/openai/v1/chat/completions?{V}", KEY, 401, "401"),
        ("/openai/v1/chat/completions", {**KEY, "OpenAI-Beta": "realtime=v1"}, 400, "BadRequest"),
        (f"/openai/deployments/d/chat/completions?{V}", KEY, 200, ""),
        ("/openai/deployments/d/chat/completions", KEY, 404, "404"),
        ("/openai/deployments/d/chat/completions?api-version=1", KEY, 400, "BadRequest"),
        ("/v1/chat/completions", BEARER, 404, "unknown_url"),
    ],
)
async def test_azures_ways(path: str, headers: dict[str, str], status: int, code: str) -> None:
    async with Simulator(kind="azure") as simulator, aiohttp.ClientSession(headers=headers) as http:
        async with http.post(simulator.url + path, json=ASK) as reply:
            body = await reply.json()
            assert (reply.status, body.get("error", {}).get("code", "")) == (status, code)
        if status == 200:
            assert simulator.ledger.turns[-1]["model"] == ("d" if "/d/" in path else "gpt-5")


@pytest.mark.parametrize(
    ("kind", "path", "headers", "status"),
    [
        ("azure", "/openai/v1/realtime?model=d", KEY, 101),
        ("azure", f"/openai/realtime?deployment=d&{V}", KEY, 101),
        ("azure", f"/openai/realtime?{V}", KEY, 400),
        ("azure", "/openai/v1/realtime?model=missing-d", KEY, 404),
        ("azure", "/openai/v1/realtime?model=chat-d", KEY, 400),
        ("xai", "/v1/realtime?model=none", BEARER, 101),
        ("xai", "/v1/realtime", {"Sec-WebSocket-Protocol": "xai-client-secret.sk-simulator"}, 101),
        ("xai", "/v1/realtime", {"Authorization": "Bearer sk-wrong"}, 400),
        ("xai", "/v1/realtime", {}, 401),
    ],
)
async def test_handshakes(kind: Kind, path: str, headers: dict[str, str], status: int) -> None:
    async with Simulator(kind=kind) as simulator, aiohttp.ClientSession() as http:
        if status != 101:
            with pytest.raises(aiohttp.WSServerHandshakeError) as wrong:
                await http.ws_connect(simulator.url + path, headers=headers)
            assert wrong.value.status == status
            return
        async with http.ws_connect(simulator.url + path, headers=headers) as socket:
            assert (await socket.receive_json())["type"] == "session.created"


def conversation(ledger: Ledger) -> Conversation:
    return Conversation(1, "grok-voice-latest", ledger, Scenarios(), Options())


def said(talk: XaiConversation | BetaConversation, now: float) -> list[object]:
    return [each["type"] if isinstance(each, dict) else type(each) for each in talk.due(now)]


def test_an_xai_session_is_billed_by_time() -> None:
    ledger = Ledger()
    talk = XaiConversation(conversation(ledger), "grok-voice-latest", ledger)
    talk.open(0.0, 7200)
    assert said(talk, 0.0) == ["session.created", "conversation.created", "ping"]
    assert talk.next_due() == 10.0
    talk.receive('{"type":"session.update","session":{"turn_detection":{"type":null}}}', 5.0)
    talk.receive(bytes(48_000), 6.0)
    talk.receive('{"type":"conversation.item.retrieve","item_id":"i"}', 6.0)
    talk.receive("no JSON", 6.0)
    assert said(talk, 6.0) == ["session.updated", "error", "error"]
    talk.end(20.0)
    assert (ledger.totals["session_seconds"], ledger.totals["audio_seconds"]) == (5.0, 1.0)
    assert ledger.turns[-1]["kind"] == "time"


def test_xai_answers_in_its_own_words() -> None:
    talk = XaiConversation(conversation(Ledger()), "grok-voice-latest", Ledger())
    talk.open(0.0, 7200)
    binary = '{"type":"session.update","session":{"audio":{"output":{"transport":"binary"}}}}'
    talk.receive(binary, 0.0)
    assert said(talk, 0.0)[-1] == "ping"
    for begin in ('{"type":"response.create","response":{"modalities":["text"]}}', '{"type":"response.create"}'):
        talk.receive(begin, 1.0)
        events = [*talk.due(1.0), *talk.due(2.0)]
        [done] = [each for each in events if isinstance(each, dict) and each["type"] == "response.done"]
        kinds = [each["type"] for each in events if isinstance(each, dict)]
        assert not {"rate_limits.updated", "conversation.item.done", "response.output_text.delta"} & {*kinds}
        response = done["response"]
        assert isinstance(response, dict)
        usage = done.get("usage") or response.get("usage")
        assert isinstance(usage, dict)
        assert sorted(usage) == ["input_tokens", "output_tokens", "total_tokens"]
    assert "usage" in done
    assert any(isinstance(each, Audio) for each in events)


def test_an_unknown_model_is_the_default() -> None:
    assert (served("none"), served("grok-voice-think-fast-1.0")) == ("grok-voice-latest", "grok-voice-think-fast-1.0")
    assert refused(BEARER, frozenset(["sk-simulator"])) is None


def test_before_ga_events_are_those_of_the_beta() -> None:
    talk = BetaConversation(conversation(Ledger()))
    talk.open(0.0, 3600)
    assert said(talk, 0.0) == ["session.created"]
    assert talk.next_due() is None
    talk.receive('{"type":"session.update","session":{"modalities":["text"],"turn_detection":null}}', 0.0)
    talk.receive('{"type":"session.update","session":{"output_modalities":["text"]}}', 0.0)
    assert said(talk, 0.0) == ["error", "session.updated"]
    talk.receive('{"type":"response.create","response":{"modalities":["text"]}}', 0.0)
    kinds = said(talk, 1.0)
    assert "response.text.delta" in kinds
    assert "conversation.item.created" in kinds
    assert not {"response.output_text.delta", "conversation.item.done"} & {*map(str, kinds)}
    talk.receive("no JSON", 1.0)
    assert said(talk, 1.0) == ["error"]
    talk.close()
    talk.end(2.0)
