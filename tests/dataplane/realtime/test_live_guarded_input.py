"""Input that somebody else judges, on the wire: what waits goes on, and audio does not wait."""

from __future__ import annotations

import asyncio
import json

import pytest
from structlog.testing import capture_logs

from dataplane.guardrails.judge import Answer
from dataplane.judges.panel import Panel
from dataplane.table import Guardrail
from dataplane.table.guardrails import Keywords, Moderation
from tests.dataplane.realtime.wires import Peer, calm, pair, until
from tests.dataplane.rig import REQUIRED

ASKED = Guardrail(
    policy="ai/few",
    name="asked",
    moderation=Moderation(url="http://127.0.0.1:1/v1", secret="", model="m"),
    action="block",
    output=False,
    refuse_turn=True,
)
WORDS = ASKED.model_copy(update={"moderation": None, "keywords": Keywords(words=("candy",))})
AUDIO = b'{"type":"input_audio_buffer.append","audio":"AAAA"}'
COMMIT = b'{"type":"input_audio_buffer.commit"}'
CREATE = b'{"type":"response.create"}'
COMMITTED = {"type": "input_audio_buffer.committed", "item_id": "i1"}
HEARD = {"type": "conversation.item.input_audio_transcription.completed", "item_id": "i1", "transcript": "hello"}


def item(text: str) -> bytes:
    return json.dumps({"type": "conversation.item.create", "item": {"role": "user", "content": text}}).encode()


async def kinds(peer: Peer, count: int) -> list[object]:
    return [(await peer.event())["type"] for _ in range(count)]


class Slow:
    """Whoever is asked answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may = asyncio.Event()
        self.answer = Answer()

    async def ask(self, _panel: Panel, _guardrail: Guardrail, text: str, *_: object) -> Answer:
        self.asked.append(text)
        await self.may.wait()
        return self.answer


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    slow = Slow()
    monkeypatch.setattr(Panel, "ask", lambda *args: slow.ask(*args))
    return slow


GUARDED = REQUIRED.model_copy(update={"guardrails": (ASKED,)})


async def test_what_waits_goes_on_once_it_is_judged_and_audio_before(slow: Slow) -> None:
    async with pair(policies=GUARDED) as it, calm(it.rig):
        client, far = await it.session()
        assert await kinds(far, 1) == ["session.update"], "to have it transcribe"
        for message in (item("hello"), CREATE, AUDIO):
            client.send(message)
        assert await kinds(far, 1) == ["input_audio_buffer.append"]
        await until(lambda: slow.asked == ["hello"], "the other is asked")
        slow.may.set()
        assert await kinds(far, 2) == ["conversation.item.create", "response.create"]
        client.close(1000)


async def test_what_must_wait_behind_it_is_read_again_then(slow: Slow) -> None:
    async with pair(policies=GUARDED) as it, calm(it.rig):
        client, far = await it.session()
        await kinds(far, 1)
        client.send(item("hello"))
        client.send(COMMIT)
        await until(lambda: it.live().relay.client_waits, "all waits")
        client.send(AUDIO)
        slow.may.set()
        assert await kinds(far, 3) == [
            "conversation.item.create",
            "input_audio_buffer.commit",
            "input_audio_buffer.append",
        ]
        client.close(1000)


async def test_what_the_provider_says_last_is_shown_once_it_was_judged(slow: Slow) -> None:
    said = {"type": "response.output_text.done", "response_id": "r1", "item_id": "i1", "text": "hello"}
    judged = REQUIRED.model_copy(update={"guardrails": (ASKED.model_copy(update={"input": False, "output": True}),)})
    async with pair(policies=judged) as it, calm(it.rig):
        client, far = await it.session()
        far.send(json.dumps(said).encode())
        far.close(1000, "Bye")
        await until(lambda: slow.asked == ["hello"], "the other is asked")
        assert await far.closed() == (1000, "Bye")
        slow.may.set()
        assert await client.event() == said
        assert await client.closed() == (1000, "Bye")


async def test_a_session_that_ends_while_somebody_is_asked_leaves_nothing(slow: Slow) -> None:
    async with pair(policies=GUARDED) as it, calm(it.rig):
        client, _ = await it.session()
        client.send(item("hello"))
        await until(lambda: slow.asked, "the other is asked")
        client.close(1000)


async def test_all_that_waits_for_a_transcript_goes_on_with_it() -> None:
    policies = REQUIRED.model_copy(update={"guardrails": (WORDS,)})
    async with pair(policies=policies) as it, calm(it.rig):
        client, far = await it.session()
        await kinds(far, 1)
        for message in (COMMIT, CREATE, COMMIT, AUDIO):
            client.send(message)
        assert await kinds(far, 1) == ["input_audio_buffer.commit"]
        await until(lambda: it.live().relay.client_waits, "all waits for the transcript")
        far.send(json.dumps(COMMITTED).encode())
        far.send(json.dumps(HEARD).encode())
        assert await kinds(far, 3) == ["response.create", "input_audio_buffer.commit", "input_audio_buffer.append"]
        client.close(1000)


async def test_a_transcript_that_never_comes_is_waited_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataplane.realtime.inspection.hearing.PATIENCE", 0.05)
    policies = REQUIRED.model_copy(update={"guardrails": (WORDS,)})
    async with pair(policies=policies) as it, calm(it.rig):
        client, far = await it.session()
        await kinds(far, 1)
        far.send(json.dumps(COMMITTED).encode())
        assert await kinds(client, 2) == ["input_audio_buffer.committed", "error"]
        assert await kinds(far, 1) == ["conversation.item.delete"]
        client.close(1000)


@pytest.mark.parametrize(("open_", "outcome"), [(True, "open"), (False, "closed")])
async def test_speech_that_nobody_transcribes_is_counted(open_: bool, outcome: str) -> None:
    failed = {"type": "conversation.item.input_audio_transcription.failed", "item_id": "i1"}
    policies = REQUIRED.model_copy(update={"guardrails": (WORDS.model_copy(update={"open": open_}),)})
    async with pair(policies=policies) as it, calm(it.rig):
        client, far = await it.session()
        far.send(json.dumps(COMMITTED).encode())
        far.send(json.dumps(failed).encode())
        await until(lambda: it.rig.meter.unjudged, "it is counted")
        client.close(1000)
    assert it.rig.meter.unjudged == [("asked", "not_transcribed", outcome)]


async def test_what_is_found_in_a_session_is_counted_and_logged_without_its_text() -> None:
    policies = REQUIRED.model_copy(update={"guardrails": (WORDS.model_copy(update={"output": True}),)})
    with capture_logs() as logs:
        async with pair(policies=policies) as it, calm(it.rig):
            client, far = await it.session()
            client.send(item("no candy"))
            far.send(json.dumps({"type": "response.created", "response": {"id": "r1"}}).encode())
            said = {"type": "response.output_text.done", "response_id": "r1", "item_id": "i1", "text": "candy"}
            far.send(json.dumps(said).encode())
            heard = [await client.event() for _ in range(3)]
            assert sorted(str(each["type"]) for each in heard) == ["error", "error", "response.created"]
            client.close(1000)
    assert it.rig.meter.findings == {
        ("asked", "input", "block", "enforce"): 1,
        ("asked", "output", "block", "enforce"): 1,
    }
    lines = [line for line in logs if line["event"] == "guardrail"]
    assert {(line["guardrail"], line["rule"], line["place"], line["direction"]) for line in lines} == {
        ("asked", "words[0]", "item.content", "input"),
        ("asked", "words[0]", "text", "output"),
    }
    assert all(line["session"] and line["policy"] == "ai/few" for line in lines)
    assert "candy" not in str(lines)


async def test_questions_of_a_session_that_nobody_answers_are_counted() -> None:
    async with pair(policies=GUARDED) as it, calm(it.rig):
        client, _ = await it.session()
        client.send(item("hello"))
        assert await kinds(client, 1) == ["error"]
        client.close(1000)
    assert it.rig.meter.unjudged == [("asked", "unreachable", "closed")]
    assert it.rig.meter.asked == [("asked", "moderation")]
