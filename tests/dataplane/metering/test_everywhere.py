"""One turn, seen in the log, on /metrics and by a receiver; and ids that no two records share."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from random import Random

import aiohttp
import orjson
import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect

from dataplane.metering.batches import Bounds
from dataplane.metering.instruments import Instruments
from dataplane.metering.meter import Meter
from dataplane.metering.prices import UNREPORTED, PriceBook
from dataplane.metering.records import FanOut, Log, Record, session_record, turn_record
from dataplane.metering.sink import HttpSink
from dataplane.telemetry.facade import Telemetry
from simulator.server import Simulator
from tests.dataplane import rig
from tests.dataplane.metering.cases import NOW, cut_session, estimated_turn, spoken_turn
from tests.dataplane.metering.receiver import PATIENCE, Receiver
from tests.integration.talker import Talker, complete

Json = dict[str, object]


@pytest.fixture
def log() -> Iterator[io.BytesIO]:
    """What is logged, as JSON lines."""
    written = io.BytesIO()
    structlog.configure(
        processors=[lambda _logger, _name, event: orjson.dumps(event)],
        logger_factory=structlog.BytesLoggerFactory(written),
    )
    yield written
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def prometheus_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")


async def test_log_metrics_and_receiver_say_the_same(log: io.BytesIO) -> None:
    instruments = Instruments()
    async with Receiver().open() as receiver:
        sink = HttpSink(receiver.url, instruments, bounds=Bounds(age=0.0))
        sink.start()
        meter = Meter(instruments, PriceBook(now=lambda: NOW), FanOut(Log(instruments), sink))
        meter.turn(spoken_turn())
        meter.turn(estimated_turn())
        meter.session_closed(cut_session())
        await sink.close(PATIENCE)
        received = [record for request in receiver.got for record in orjson.loads(request.body)["records"]]
    lines = [orjson.loads(line) for line in log.getvalue().splitlines()]
    assert lines == [{"event": record["kind"], **record} for record in received]

    assert [record["id"] for record in received] == ["turn-1", "turn-2", "session-1"]
    reported, estimated, session = received
    assert (session["cost_usd"], session["estimated_cost_usd"]) == (reported["cost_usd"], estimated["cost_usd"])
    assert (session["tokens"], session["estimated_tokens"]) == (reported["tokens"], estimated["tokens"])
    assert scraped(instruments, r"gen_ai_client_inference_usage_(input|output)_tokens_total") == parts(reported)
    assert scraped(instruments, r"tidegate_estimated_tokens_total()") == parts(estimated)
    assert scraped(instruments, r"tidegate_gen_ai_cost_USD_total()") == {"": float(reported["cost_usd"])}
    assert scraped(instruments, r"tidegate_estimated_cost_USD_total()") == {"": float(estimated["cost_usd"])}
    assert scraped(instruments, r"tidegate_usage_records_(total)") == {"total": 3}


def parts(record: Record) -> Json:
    """A record's tokens by direction and modality."""
    tokens = record["tokens"]
    assert isinstance(tokens, dict)
    return {kind: amount for kind, amount in tokens.items() if kind.startswith(("input", "output"))}


def scraped(instruments: Instruments, name: str) -> Json:
    """The samples of a metric, by what its name or its labels say of direction and modality."""
    telemetry = Telemetry(instruments)
    found: Json = {}
    for family in text_string_to_metric_families(telemetry.exposition().decode()):
        for sample in family.samples:
            if sample.value and (match := re.fullmatch(name, sample.name)):
                direction = match[1] or sample.labels.get("gen_ai_token_type", "")
                modality = sample.labels.get("gen_ai_token_modality", "")
                found["_".join(filter(None, [direction, modality]))] = sample.value
    telemetry.shutdown()
    return found


async def test_no_two_records_share_an_id() -> None:
    """Whatever they are of, and whichever process made them."""
    records: list[Record] = []
    async with Simulator() as simulator:
        for seed in range(2):
            async with rig.running(rig.table(rig.backend(rig.provider(f"{simulator.url}/v1")))) as it:
                await _busy(it, Random(seed))
            records += [turn_record(usage, UNREPORTED, None, NOW) for usage in it.meter.turns]
            records += [session_record(summary, NOW) for summary in it.meter.closed]
    kinds = {(record["kind"], record.get("operation")) for record in records}
    assert kinds == {
        ("turn", "chat"),
        ("turn", "realtime_inference"),
        ("turn", "transcription"),
        ("session", None),
    }
    assert len({record["id"] for record in records}) == len(records) >= 2 * (2 * 3 + 2)


async def _busy(it: rig.Rig, rng: Random) -> None:
    """Two sessions with a spoken and a written turn each, and two completions."""
    url = it.url.replace("http", "ws") + "/v1/realtime?model=gpt-realtime"
    for _ in range(2):
        async with connect(url, additional_headers=rig.BEARER, max_size=None) as socket:
            talker = Talker(socket, rng)
            await talker.vad()
            await talker.text()
        async with aiohttp.ClientSession(it.url, headers=rig.BEARER) as http:
            await complete(http, rng, streamed=False)
