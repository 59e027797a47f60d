"""Spoken answers over HTTP: nothing is heard before what it says was judged, unless the guardrail lets it pass."""

from __future__ import annotations

from typing import Any

import aiohttp
import orjson
import pytest

from dataplane.guardrails.judge import Answer
from dataplane.http import speech
from dataplane.table import Guardrail
from tests.dataplane.http.guarding import asked, guardrail
from tests.dataplane.http.test_guarded_chat import CHAT, OUT, said, sse, standing
from tests.dataplane.http.test_guarded_responses import shown_of
from tests.dataplane.rig import BEARER
from tests.dataplane.upstream import says, upstream_of

Json = dict[str, Any]
AUDIO = {"id": "audio_1", "expires_at": 1}


def chunk(index: int = 0, finish: str | None = None, **audio: object) -> Json:
    return {"id": "c", "choices": [{"index": index, "delta": {"audio": audio}, "finish_reason": finish}]}


def spoken(*words: str) -> bytes:
    """A stream that says each word, first aloud."""
    pieces = [each for at, word in enumerate(words) for each in (chunk(data=f"AU{at}="), chunk(transcript=word))]
    return sse(chunk(id="audio_1"), *pieces, chunk(expires_at=1), chunk(finish="stop"), b"[DONE]")


def whole(**audio: object) -> bytes:
    message = {"role": "assistant", "content": None, "audio": {**AUDIO, **audio}}
    body = orjson.dumps({"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def heard(answer: bytes, *guardrails: Guardrail, said_of: Answer | None = None) -> tuple[str, Any]:
    """What is shown, and what was missed."""
    async with (
        upstream_of(says(answer)) as url,
        standing(url, *guardrails, says=lambda _: said_of or Answer()) as (rig, bench, _),
        aiohttp.ClientSession() as client,
        client.post(rig.url + CHAT, json={"model": "m", "messages": said("x")}, headers=BEARER) as got,
    ):
        return await got.text(), bench.missed


def audio_of(shown: str) -> list[tuple[str, str]]:
    """What comes of a spoken answer, in order."""
    chunks = [orjson.loads(line[5:]) for line in shown.splitlines() if line.startswith("data: {")]
    pairs = [
        (name, str(text))
        for each in chunks
        for choice in each["choices"]
        for name, text in [*choice["delta"].get("audio", {}).items(), ("finish", choice["finish_reason"])]
        if text
    ]
    return [pair for pair in pairs if pair[0] in ("transcript", "data", "finish")]


@pytest.mark.parametrize("how", ["cancel", "hold"])
@pytest.mark.parametrize("remote", [False, True])
async def test_audio_comes_when_its_transcript_was_judged(how: str, remote: bool) -> None:
    guard = (asked if remote else guardrail)(audio=how, **OUT)
    shown, _ = await heard(spoken("a word ", "and more"), guard)
    found = audio_of(shown)
    assert "".join(text for name, text in found if name == "transcript") == "a word and more"
    assert [text for name, text in found if name == "data"] == ["AU0=", "AU1="]
    assert found[-1] == ("finish", "stop")
    assert shown.index("AU0=") > shown.index("a word" if remote else "a ")


@pytest.mark.parametrize("how", ["cancel", "hold"])
@pytest.mark.parametrize("remote", [False, True])
async def test_nothing_is_heard_of_what_is_blocked(how: str, remote: bool) -> None:
    guard = (asked if remote else guardrail)(audio=how, **OUT)
    shown, _ = await heard(spoken("a swordfish ", "and more"), guard, said_of=Answer(rule="fish"))
    assert "AU0=" not in shown
    assert "guardrail_blocked" in shown
    shown, _ = await heard(whole(data="AU0=", transcript="a swordfish"), guard, said_of=Answer(rule="fish"))
    assert "AU0=" not in shown


@pytest.mark.parametrize("remote", [False, True])
async def test_what_is_masked_is_not_heard(remote: bool) -> None:
    guard = (asked if remote else guardrail)("mask", **OUT)
    masks = Answer(rule="fish", text="a [no-secrets]")
    shown, _ = await heard(spoken("a sword", "fish"), guard, said_of=masks)
    assert "".join(text for name, text in audio_of(shown) if name == "transcript") == "a [no-secrets]"
    assert "AU" not in shown
    shown, _ = await heard(whole(data="AU0=", transcript="a swordfish"), guard, said_of=masks)
    assert orjson.loads(shown)["choices"][0]["message"]["audio"] == {
        **AUDIO,
        "data": "",
        "transcript": "a [no-secrets]",
    }


async def test_what_may_pass_passes_at_once() -> None:
    guard = guardrail("mask", audio="pass", **OUT)
    shown, _ = await heard(spoken("a swordfish"), guard)
    assert audio_of(shown)[0] == ("data", "AU0=")
    shown, _ = await heard(whole(data="AU0=", transcript="a swordfish"), guard)
    assert "AU0=" in shown
    assert "swordfish" not in shown


@pytest.mark.parametrize(
    "answer",
    [
        sse(chunk(data="AU0="), chunk(finish="stop")),
        sse(chunk(data="AU0=", transcript=" "), chunk(finish="stop")),
        whole(data="AU0="),
        whole(data="AU0=", transcript=""),
    ],
)
async def test_what_nobody_wrote_down_is_as_the_policy_says(answer: bytes) -> None:
    shown, _ = await heard(answer, guardrail(**OUT))
    assert "AU0=" not in shown
    assert "nobody transcribed" in shown
    shown, missed = await heard(answer, guardrail(open=True, **OUT))
    assert "AU0=" in shown
    assert missed == [("no-secrets", "not_transcribed")]


async def test_so_much_waits_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "LARGEST", 7)
    shown, _ = await heard(spoken("a", "b"), guardrail(**OUT))
    assert "aloud" in shown
    assert "AU" not in shown


async def test_a_stream_that_does_not_finish_is_heard_at_its_end() -> None:
    shown, _ = await heard(sse(chunk(1, data="AU0="), chunk(1, transcript="a word")), guardrail(**OUT))
    assert [name for name, _ in audio_of(shown)][-1] == "data"


async def test_responses_say_nothing_aloud() -> None:
    shown = await shown_of(sse({"type": "response.audio.delta", "delta": "AU0="}), guardrail(**OUT))
    assert "AU0=" not in str(shown)
    assert "nobody transcribed" in str(shown)
