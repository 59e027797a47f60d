"""The HTTP sink against a real receiver that fails in every way: what arrives, how often, and what is said of it."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, MutableMapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from dataplane.metering.batches import Bounds, Reason
from dataplane.metering.instruments import Instruments
from dataplane.metering.meter import Meter
from dataplane.metering.prices import PriceBook
from dataplane.metering.records import FanOut
from dataplane.metering.sink import HttpSink
from tests.dataplane.certificates import certificate
from tests.dataplane.metering.cases import spoken_turn
from tests.dataplane.metering.receiver import PATIENCE, Answer, Receiver

TOKEN = "ut-4f6a2c99-no-log-may-hold-this"
QUICK = Bounds(age=0.0, first_retry=0.002, longest_retry=0.01)
"""Everything at once."""
TOGETHER = Bounds(age=3600.0, batch_records=3, first_retry=0.002, longest_retry=0.01)
"""Three records to a batch."""

Lines = Sequence[MutableMapping[str, Any]]


class Rig:
    """A sink that was started, and what it counts."""

    def __init__(self, url: str, bounds: Bounds, timeout: float = PATIENCE, **options: Any) -> None:
        self.instruments = Instruments()
        self.sink = HttpSink(
            url, self.instruments, token=SecretStr(TOKEN), bounds=bounds, timeout=timeout, rand=lambda: 0.5, **options
        )

    def write(self, *ids: str) -> None:
        for each in ids:
            self.sink.write({"kind": "turn", "id": each, "tokens": {"input_text": 7}})

    @property
    def counted(self) -> dict[tuple[str, str], float]:
        """Records by result and reason, without zeros."""
        every = self.instruments.usage_records.values
        return {(labels[1], labels[2]): number for labels, number in every.items() if number}

    @property
    def retries(self) -> dict[str, float]:
        return {labels[1]: number for labels, number in self.instruments.usage_retries.values.items()}

    @property
    def waiting(self) -> float:
        return self.instruments.usage_queue.values[("http",)]

    async def settled(self) -> None:
        """Wait until nothing is queued."""
        async with asyncio.timeout(PATIENCE):
            while self.waiting:
                await asyncio.sleep(0.001)


@asynccontextmanager
async def running(url: str, bounds: Bounds = QUICK, **options: Any) -> AsyncIterator[Rig]:
    rig = Rig(url, bounds, **options)
    rig.sink.start()
    try:
        yield rig
    finally:
        await rig.sink.close(0.0)


@asynccontextmanager
async def both(*answers: Answer, bounds: Bounds = QUICK, **options: Any) -> AsyncIterator[tuple[Receiver, Rig]]:
    async with Receiver(deque(answers)).open() as receiver, running(receiver.url, bounds, **options) as rig:
        yield receiver, rig


async def test_a_batch_as_the_receiver_sees_it() -> None:
    async with both(bounds=TOGETHER) as (receiver, rig):
        rig.write("a", "b", "c")
        [got] = await receiver.requests(1)
        await rig.settled()
    assert json.loads(got.body) == {
        "records": [{"kind": "turn", "id": each, "tokens": {"input_text": 7}} for each in "abc"]
    }
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["Content-Length"] == str(len(got.body))
    assert got.headers["Authorization"] == f"Bearer {TOKEN}"
    assert got.headers["Idempotency-Key"].strip('"').isalnum()
    assert rig.counted == {("delivered", ""): 3}
    dropped = {reason for _, result, reason in rig.instruments.usage_records.values if result == "dropped"}
    assert dropped == set(get_args(Reason)), "0, and there from the beginning"
    assert rig.retries == {}


@pytest.mark.parametrize("answer", [500, 503, 529, 408, 425, 429, "cut"])
async def test_what_may_go_better_is_tried_again(answer: Answer) -> None:
    async with both(answer, answer, bounds=TOGETHER) as (receiver, rig):
        rig.write("a", "b", "c", "d", "e", "f")
        first, second, third, *others = await receiver.requests(4)
        await rig.settled()
    assert first.body == second.body == third.body, "the same batch with the same ids"
    assert len({each.headers["Idempotency-Key"] for each in (first, second, third)}) == 1
    assert [each.ids for each in others] == [["d", "e", "f"]], "in order, and each once"
    assert others[0].headers["Idempotency-Key"] != first.headers["Idempotency-Key"]
    assert rig.counted == {("delivered", ""): 6}
    assert rig.retries == {"connection" if answer == "cut" else str(answer): 2}


async def test_a_receiver_that_hangs_is_left_and_tried_again() -> None:
    async with both("hang", timeout=0.2) as (receiver, rig):
        rig.write("a")
        await receiver.requests(2)
        await rig.settled()
        assert {each.body for each in receiver.got} == {receiver.got[0].body}
        assert rig.counted == {("delivered", ""): 1}
        assert rig.retries.keys() == {"timeout"}


async def test_one_that_is_not_there_yet_gets_everything_later() -> None:
    receiver = Receiver()
    async with receiver.open():
        port, url = receiver.port, receiver.url
    async with running(url, TOGETHER) as rig:
        rig.write("a", "b", "c")
        async with asyncio.timeout(PATIENCE):
            while not rig.retries:
                await asyncio.sleep(0.001)
        async with receiver.open(port):
            await rig.settled()
    assert receiver.ids == ["a", "b", "c"]
    assert rig.counted == {("delivered", ""): 3}
    assert rig.retries.keys() == {"connection"}


async def test_it_is_left_alone_for_as_long_as_it_asks() -> None:
    """Longer than a batch is kept trying; without Retry-After the next try would follow at once."""
    bounds = Bounds(age=0.0, first_retry=0.002, longest_wait=3600.0, patience=900.0)
    async with both((429, {"Retry-After": "3600"}), bounds=bounds) as (receiver, rig):
        rig.write("a")
        await receiver.requests(1)
        await rig.settled()
        assert rig.counted == {("dropped", "expired"): 1}
        assert rig.retries == {}
        rig.write("b")
        assert (await receiver.requests(2))[1].ids == ["b"]


async def test_the_end_does_not_wait_for_that() -> None:
    async with both((503, {"Retry-After": "300"})) as (receiver, rig):
        rig.write("a")
        await receiver.requests(1)
        async with asyncio.timeout(PATIENCE):
            while not rig.retries:
                await asyncio.sleep(0.001)
        rig.write("b")
        await rig.sink.close(PATIENCE)
        assert [each.ids for each in receiver.got] == [["a"], ["a"], ["b"]]
        assert rig.counted == {("delivered", ""): 2}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
async def test_what_is_refused_is_dropped_and_told_once(status: int) -> None:
    with capture_logs() as lines:
        async with both(status, status) as (receiver, rig):
            rig.write("a")
            await receiver.requests(1)
            await rig.settled()
            rig.write("b")
            await receiver.requests(2)
            await rig.settled()
            rig.write("c")
            await rig.settled()
    assert receiver.ids == ["a", "b", "c"], "each was sent once"
    assert rig.counted == {("dropped", "refused"): 2, ("delivered", ""): 1}
    assert rig.retries == {}
    refused, again = lines
    assert (refused["log_level"], refused["status"], refused["sink"]) == ("error", status, receiver.url)
    assert "delivered again" in again["event"]


async def test_the_token_goes_nowhere_else() -> None:
    async with Receiver().open() as other, both((307, {"Location": other.url})) as (receiver, rig):
        rig.write("a")
        await receiver.requests(1)
        await rig.settled()
        assert other.got == []
        assert rig.counted == {("dropped", "refused"): 1}


async def test_what_does_not_fit_is_dropped_and_told_once() -> None:
    bounds = Bounds(age=0.0, queue_records=3, batch_records=1, first_retry=0.002)
    with capture_logs() as lines:
        async with both("hang", bounds=bounds, timeout=0.2) as (receiver, rig):
            rig.write("a", "b", "c", "d", "e")
            assert rig.waiting == 3
            assert rig.counted == {("dropped", "queue_full"): 2}
            await rig.settled()
            assert list(dict.fromkeys(receiver.ids)) == ["a", "b", "c"]
            assert rig.counted == {("dropped", "queue_full"): 2, ("delivered", ""): 3}
    assert len([line for line in lines if "too many wait" in line["event"]]) == 1


async def test_the_end_sends_what_waits() -> None:
    async with both(bounds=TOGETHER) as (receiver, rig):
        rig.write("a", "b")
        await rig.sink.close(PATIENCE)
        assert receiver.ids == ["a", "b"]
        assert rig.counted == {("delivered", ""): 2}


async def test_the_end_has_an_end() -> None:
    """A receiver that hangs keeps nobody from leaving; what it did not confirm is counted."""
    with capture_logs() as lines:
        async with both("hang", bounds=TOGETHER) as (receiver, rig):
            rig.write("a", "b", "c", "d")
            await receiver.requests(1)
            await rig.sink.close(0.05)
            rig.write("e")
            assert rig.counted == {("dropped", "closed"): 5}
            assert rig.waiting == 0
    [line] = lines
    assert (line["log_level"], line["records"]) == ("error", 4)


async def test_closing_what_never_began() -> None:
    rig = Rig("http://127.0.0.1:1/usage", QUICK)
    rig.write("a")
    await rig.sink.close(PATIENCE)
    assert rig.counted == {("dropped", "closed"): 1}


async def test_a_dead_receiver_is_nobody_else_s_trouble() -> None:
    """A thousand turns are metered while it hangs, within one turn of the loop."""
    async with both("hang", bounds=Bounds(age=0.0)) as (receiver, rig):
        meter = Meter(rig.instruments, PriceBook(), FanOut(rig.sink))
        meter.turn(spoken_turn())
        await receiver.requests(1)
        for _ in range(1000):
            meter.turn(spoken_turn())
        assert sum(rig.instruments.turns.values.values()) == 1001
        assert rig.waiting == 1001
        assert len(receiver.got) == 1


async def test_nobody_is_trusted_whose_certificate_is_not(tmp_path: Path) -> None:
    server, client = certificate(tmp_path, "localhost")
    receiver = Receiver()
    async with receiver.open(tls=server):
        url = f"https://localhost:{receiver.port}/usage"
        with capture_logs() as lines:
            async with running(url) as rig:
                rig.write("a")
                async with asyncio.timeout(PATIENCE):
                    while not rig.retries:
                        await asyncio.sleep(0.001)
        assert receiver.got == []
        assert "certificate" in lines[0]["error"]
        async with running(url, tls=client) as rig:
            rig.write("b")
            await receiver.requests(1)
            await rig.settled()
    assert receiver.ids == ["b"]


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what comes, which is no answer and holds the token."""
    writer.write(await reader.readuntil(b"\r\n\r\n"))
    writer.close()


async def test_no_line_of_the_log_holds_the_token() -> None:
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with capture_logs() as lines:
        async with server, running(f"http://127.0.0.1:{port}/usage?key={TOKEN}") as rig:
            rig.write("a")
            async with asyncio.timeout(PATIENCE):
                while not rig.retries:
                    await asyncio.sleep(0.001)
            assert TOKEN not in repr(rig.sink)
        async with both(401) as (receiver, rig):
            rig.write("b")
            await receiver.requests(1)
            await rig.settled()
    assert len(lines) >= 3
    assert TOKEN not in str(lines)


@pytest.mark.parametrize(
    "url",
    ["", "usage", "ftp://host/", "https://", "https:///usage", "http://host:port/", "http://[::1/", "http://u@host/"],
)
def test_an_address_that_cannot_be_used(url: str) -> None:
    with pytest.raises(ValueError, match="usage sink"):
        HttpSink(url, Instruments())


def test_credentials_in_the_address_are_not_quoted() -> None:
    with pytest.raises(ValueError, match="Give a token instead") as raised:
        HttpSink(f"https://user:{TOKEN}@host/usage", Instruments())
    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize("token", [f"{TOKEN}\nx", f"{TOKEN}\0", f"{TOKEN}é"])
def test_a_token_that_no_header_may_hold(token: str) -> None:
    with pytest.raises(ValueError, match="token of the usage sink") as raised:
        HttpSink("http://host/usage", Instruments(), token=SecretStr(token))
    assert TOKEN not in str(raised.value)


async def test_a_token_from_a_file_ends_with_a_line_break() -> None:
    async with Receiver().open() as receiver:
        sink = HttpSink(receiver.url, Instruments(), token=SecretStr(f"{TOKEN}\n"), bounds=QUICK)
        sink.start()
        sink.write({"kind": "turn", "id": "a"})
        await sink.close(PATIENCE)
        assert receiver.got[0].headers["Authorization"] == f"Bearer {TOKEN}"


async def test_without_a_token_none_is_sent() -> None:
    async with Receiver().open() as receiver:
        sink = HttpSink(receiver.url, Instruments(), bounds=QUICK)
        sink.start()
        sink.write({"kind": "turn", "id": "a"})
        await sink.close(PATIENCE)
        assert "Authorization" not in receiver.got[0].headers


async def test_a_fault_of_ours_loses_one_batch_and_not_the_sink(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = HttpSink._send
    faults = deque([RuntimeError("unforeseen")])

    async def send(sink: HttpSink, *details: Any) -> None:
        if faults:
            raise faults.popleft()
        await whole(sink, *details)

    monkeypatch.setattr(HttpSink, "_send", send)
    with capture_logs() as logs:
        async with both(bounds=TOGETHER) as (receiver, rig):
            rig.write("a", "b", "c")
            await rig.settled()
            rig.write("d", "e", "f")
            await receiver.requests(1)
            await rig.settled()
            assert rig.counted == {("dropped", "failed"): 3, ("delivered", ""): 3}
    assert receiver.ids == ["d", "e", "f"]
    [told] = [line for line in logs if line["log_level"] == "error"]
    assert (told["records"], told["exc_info"]) == (3, True)
