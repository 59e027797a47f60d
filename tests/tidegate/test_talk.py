"""`tidegate talk` at the end of a pipe, against a simulator that behaves, and one that does not."""

from __future__ import annotations

import socket
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from websockets.asyncio.server import ServerConnection, serve

from simulator.server import Simulator
from tests.tidegate.files import UPSTREAM_KEY
from tests.tidegate.processes import Result, run
from tidegate.client import address
from tidegate.tokens import shown, tokens

KEY = {"TIDEGATE_KEY": UPSTREAM_KEY}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as started:
        yield started


async def talk(simulator: Simulator, *arguments: str, stdin: str = "", query: str = "") -> Result:
    url = f"ws://127.0.0.1:{simulator.port}/v1/realtime{query}"
    done = await run("talk", url, "--model", "gpt-realtime", *arguments, stdin=stdin, **KEY)
    assert "Traceback" not in done.out + done.err
    assert UPSTREAM_KEY not in done.out + done.err
    return done


async def test_each_line_is_a_turn(simulator: Simulator) -> None:
    done = await talk(simulator, stdin="Hello\n\nI am well.\nAre you?")
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        "Hello! It is good to hear from you. How can I help?",
        "You said “I am well.”. Thank you, I have noted it.",
        "You asked “Are you?”. A good question, and this is a simulated answer to it.",
    ]
    assert done.err.count("usage: ") == 3
    totals = simulator.ledger.totals
    assert f"in all 3 turns: {totals['input_tokens']:.0f} tokens in" in done.err
    assert f"{totals['output_tokens']:.0f} out" in done.err.splitlines()[-1]


async def test_texts_as_options(simulator: Simulator) -> None:
    done = await talk(simulator, "--text", "Hello", "--text", "Who?")
    assert done.code == 0
    assert len(done.out.splitlines()) == 2


async def test_a_recording(simulator: Simulator, tmp_path: Path) -> None:
    path = tmp_path / "voice.wav"
    write_wav(path, rate=24_000)
    done = await talk(simulator, "--voice-file", str(path))
    assert done.code == 0
    assert done.out == "I can hear you well. What would you like to know?\n"
    assert "10 audio" in done.err


@pytest.mark.parametrize(("content", "hint"), [(b"", "cannot be read as WAV"), (None, "not 16-bit mono at 24000 Hz")])
async def test_a_recording_of_another_kind(
    simulator: Simulator, tmp_path: Path, content: bytes | None, hint: str
) -> None:
    path = tmp_path / "voice.wav"
    if content is None:
        write_wav(path, rate=8_000)
    else:
        path.write_bytes(content)
    done = await talk(simulator, "--voice-file", str(path))
    assert done.code == 1
    assert hint in done.err
    assert "ffmpeg -i" in done.err


async def test_raw_events(simulator: Simulator) -> None:
    done = await talk(simulator, "--raw", "--text", "Hello")
    assert done.code == 0
    kinds = [orjson.loads(line)["type"] for line in done.out.splitlines()]
    assert kinds[0] == "session.created"
    assert kinds[-1] == "response.done"


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("?scenario=fail", "the answer ended as failed: The simulated model failed."),
        ("?scenario=incomplete", "the answer ended as incomplete: max_output_tokens"),
        ("?scenario=drop", "without a Close frame: the connection was lost (close code 1006)"),
        ("?scenario=expire:150,stall", "error: Your session hit the maximum duration"),
        ("?scenario=no-upgrade:429", "refused with 429"),
    ],
)
async def test_what_goes_wrong_is_said_in_words(simulator: Simulator, query: str, hint: str) -> None:
    done = await talk(simulator, "--text", "Hello", query=query)
    assert done.code == 1
    assert hint in done.err


async def test_a_key_that_is_not_accepted(simulator: Simulator) -> None:
    done = await run("talk", f"127.0.0.1:{simulator.port}", "--model", "m", stdin="Hello\n", TIDEGATE_KEY="sk-wrong-1")
    assert done.code == 1
    assert "since the key was not accepted (close code 3000" in done.err
    assert "sk-wrong-1" not in done.out + done.err


async def test_a_key_that_is_not_there_is_asked_for(simulator: Simulator) -> None:
    done = await run("talk", f"ws://127.0.0.1:{simulator.port}/v1/realtime?scenario=no-upgrade:401", stdin="Hello\n")
    assert done.code == 1
    assert "refused with 401" in done.err
    assert "Set TIDEGATE_KEY to a key." in done.err


async def test_tls_where_there_is_none(simulator: Simulator) -> None:
    done = await run("talk", f"wss://127.0.0.1:{simulator.port}", stdin="Hello\n")
    assert done.code == 3
    assert "write ws:// instead of wss://" in done.err


async def test_a_reason_for_going_away_is_not_guessed() -> None:
    async def shut_down(socket: ServerConnection) -> None:
        await socket.close(1001, "An operator ended the session.")

    async with serve(shut_down, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        done = await run("talk", f"ws://127.0.0.1:{port}", "--text", "Hello")
    assert done.code == 1
    assert done.err == "tidegate: the session was ended: An operator ended the session (close code 1001).\n"


BLOCKED = "Guardrail blocked this request: no-project: words[0]"


async def guarded(socket: ServerConnection) -> None:
    """As a gateway whose guardrail refuses turns: what is said (no), what is answered (hm), and the session (end)."""
    said = ""
    async for message in socket:
        event = orjson.loads(message)
        if event["type"] == "conversation.item.create":
            said = event["item"]["content"][0]["text"]
            if said in ("no", "end"):
                await socket.send(blocked())
            if said == "end":
                await socket.close(1011, BLOCKED)
        if event["type"] == "response.create" and said == "no":
            await socket.send(blocked(event["event_id"]))
        elif event["type"] == "response.create":
            await answer(socket, said)


async def answer(socket: ServerConnection, said: str) -> None:
    done: dict[str, object] = {"status": "completed"}
    if said == "hm":
        done = {"status": "incomplete", "status_details": {"reason": "content_filter"}}
        await socket.send(blocked())
    else:
        await socket.send(orjson.dumps({"type": "response.output_text.delta", "delta": f"{said}!"}).decode())
    await socket.send(orjson.dumps({"type": "response.done", "response": done}).decode())


def blocked(event_id: str | None = None) -> str:
    error = {"type": "guardrail_error", "code": "guardrail_blocked", "message": BLOCKED, "event_id": event_id}
    return orjson.dumps({"type": "error", "error": error}).decode()


async def test_each_line_has_its_own_answer_where_a_guardrail_refuses_some() -> None:
    async with serve(guarded, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        done = await run("talk", f"ws://127.0.0.1:{port}", stdin="one\nno\ntwo\nhm\nthree\n")
    assert done.code == 1
    assert done.out.splitlines() == ["one!", "two!", "three!"]
    assert done.err.count(f"error: {BLOCKED}") == 3  # of the item, of its question, and of an answer
    assert done.err.count("the answer ended as incomplete: content_filter") == 1


async def test_an_end_by_a_guardrail_is_no_failure_of_the_server() -> None:
    async with serve(guarded, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        done = await run("talk", f"ws://127.0.0.1:{port}", "--text", "end")
    assert done.code == 1
    assert done.err.splitlines() == [
        f"error: {BLOCKED}",
        f"tidegate: the session was ended: {BLOCKED} (close code 1011).",
    ]


async def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        done = await run("talk", f"127.0.0.1:{free.getsockname()[1]}", stdin="Hello\n")
    assert done.code == 3
    assert "Is a gateway running there?" in done.err


@pytest.mark.parametrize(
    ("text", "model", "whole"),
    [
        ("localhost:8080", "", "ws://localhost:8080/v1/realtime"),
        ("http://h", "voice", "ws://h/v1/realtime?model=voice"),
        ("https://h/", "a b", "wss://h/v1/realtime?model=a+b"),
        ("wss://h/ai/voice/v1/realtime?model=x&guardrails=a", "y", "wss://h/ai/voice/v1/realtime?guardrails=a&model=y"),
        ("ws://h/ai/voice/v1", "voice", "ws://h/ai/voice/v1/realtime?model=voice"),
        ("http://h/v1/?gw_key=a", "", "ws://h/v1/realtime?gw_key=a"),
        ("ws://h/ai/voice/", "", "ws://h/ai/voice/v1/realtime"),
        ("ws://h/openai/realtime?api-version=1", "", "ws://h/openai/realtime?api-version=1"),
        ("ws://h/v1/talk/", "", "ws://h/v1/talk/"),
        ("ws://[::1]:80/v1/realtime?model=x", "", "ws://[::1]:80/v1/realtime?model=x"),
    ],
)
def test_addresses_are_made_whole(text: str, model: str, whole: str) -> None:
    assert address(text, model) == whole


def test_tokens_in_words() -> None:
    usage = {
        "input_tokens": 30,
        "output_tokens": 5,
        "input_token_details": {"text_tokens": 10, "audio_tokens": 20, "cached_tokens": 4},
        "output_token_details": {"text_tokens": 5},
    }
    assert shown(tokens(usage)) == "30 tokens in (10 text, 20 audio; 4 of them cached), 5 out (5 text)"
    assert shown(tokens({"input_tokens": 3, "output_tokens": 1})) == "3 tokens in, 1 out"
    assert shown(tokens(None)) == "not reported"


def write_wav(path: Path, rate: int) -> None:
    """One second of silence."""
    with wave.open(str(path), "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(rate)
        recording.writeframes(bytes(2 * rate))
