"""What is written to the log: records as JSON lines, and never a credential."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Iterator

import orjson
import pytest
import structlog
from aiohttp.http_exceptions import BadHttpMessage
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.metering.instruments import Instruments
from dataplane.metering.labels import Labels
from dataplane.metering.records import Log
from dataplane.process import logs

PATIENCE_S = 20.0
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging as it was before the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    muted = logging.getLogger("aiohttp.websocket")
    yield
    assert logs.flush(PATIENCE_S)
    root.handlers[:] = handlers
    root.setLevel(level)
    muted.disabled = False
    logging.getLogger("aiohttp.server").filters.clear()
    structlog.reset_defaults()


def output(capture: Capture) -> str:
    assert logs.flush(PATIENCE_S)
    return capture.readouterr().out


def lines(capture: Capture) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in output(capture).splitlines()]


def counted(instruments: Instruments) -> dict[Labels, float]:
    """What became of records."""
    return {labels: number for labels, number in instruments.usage_records.values.items() if number}


def test_a_record_is_one_line(capsys: Capture) -> None:
    logs.configure()
    instruments = Instruments()
    Log(instruments).write({"kind": "turn", "id": "turn-1", "caller": {"team": "support"}, "cost_usd": None})
    [line] = lines(capsys)
    assert counted(instruments) == {("log", "delivered", ""): 1}
    assert str(line.pop("timestamp")).endswith("Z")
    expected = {"kind": "turn", "id": "turn-1", "caller": {"team": "support"}, "cost_usd": None}
    assert line == {"event": "turn", "level": "info", **expected}


def test_a_record_s_line_is_written_as_any_other(capsys: Capture) -> None:
    logs.configure()
    record = {"kind": "turn", "id": "t", "caller": {"key": "Bearer S3CRET"}, "tokens": {}, "duration": 0.5}
    Log(Instruments()).write(record)
    structlog.get_logger().info("turn", **record)
    straight, usual = (line.rpartition('"timestamp"') for line in output(capsys).splitlines())
    assert straight[0] == usual[0]
    assert len(straight[2]) == len(usual[2])
    assert "S3CRET" not in straight[0]


def test_other_libraries_log_in_the_same_shape(capsys: Capture) -> None:
    logs.configure()
    logging.getLogger("asyncio").warning("slow by %d ms", 7)
    [line] = lines(capsys)
    assert (line["event"], line["level"], line["logger"]) == ("slow by 7 ms", "warning", "asyncio")


def test_the_level_holds_for_both(capsys: Capture) -> None:
    logs.configure(level="warning")
    structlog.get_logger().info("quiet")
    logging.getLogger("asyncio").info("quiet")
    structlog.get_logger().error("loud")
    assert [line["event"] for line in lines(capsys)] == ["loud"]


def test_aiohttp_s_websocket_logger_is_muted(capsys: Capture) -> None:
    logs.configure()
    logging.getLogger("aiohttp.websocket").warning("protocols: openai-insecure-api-key.sk-secret")
    assert lines(capsys) == []


SECRETS = [
    "sk-proj-S3CRET_x-y",
    "ek_S3CRETS3CRET",
    "Bearer S3CRET.abc/def+g=",
    "bearer  S3CRET",
    "Bearer%20S3CRET",
    "realtime, openai-insecure-api-key.S3CRET, openai-beta.realtime-v1",
    "realtime, xai-client-secret.S3CRET",
    "xai-S3CRETS3CRETS3CRETS3CRETS3CRETS3CRETS3CRET",
    "wss://h/v1/realtime?model=m&key=S3CRET&x=1",
    "https://h/?key=S3CRET",
    "{'api-key': 'S3CRET'}",
    '{"x-api-key": "S3CRET"}',
    "api_key=S3CRET",
    "?access_token=S3CRET",
    "line\nsk-S3CRET",
    "tab\tek_S3CRET",
    "\x00sk-S3CRET",
    "ключ:sk-S3CRET",
    "\ud800sk-S3CRET",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("format_", ["json", "console"])
def test_credentials_are_masked_wherever_they_stand(capsys: Capture, format_: logs.Format, secret: str) -> None:
    logs.configure(format_)
    structlog.get_logger().info(secret, field=secret, nested={"list": [secret], secret: 1})
    logging.getLogger("asyncio").warning("from %s", secret)
    try:
        raise ValueError(secret)
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("asyncio").exception("failed")
    written = output(capsys)
    assert "ValueError" in written
    assert "S3CRET" not in written
    assert written.count("***") >= 6


@pytest.mark.parametrize(
    "harmless",
    ["task-force", "desk-support", "week_1", "monkey=1", "the api keys: see docs", "gpt-4o", "provider xai-us-east-1"],
)
def test_other_words_stay(harmless: str) -> None:
    line = orjson.dumps({"event": harmless})
    assert logs.redact(line) == line


@settings(deadline=None)
@given(st.from_regex(logs.CREDENTIAL))
def test_whatever_may_be_a_credential_is_looked_at(line: bytes) -> None:
    assert b"***" in logs.redact(line)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=9) | st.sampled_from(["api_key", "APIKEY", "x-api-key", "?key="]),
        st.text() | st.sampled_from([*SECRETS[:-1], "", "}", 5, True, [], ["x"]]),
        max_size=4,
    )
)
def test_a_masked_line_is_still_json(event: dict[str, object]) -> None:
    masked = orjson.loads(logs.redact(orjson.dumps(event)))
    assert len(masked) == len(event)


def test_a_field_named_after_a_key_is_masked(capsys: Capture) -> None:
    logs.configure()
    structlog.get_logger().info("odd", api_key="S3CRET", nested={"api-key": "S3CRET", "apikey": ""})
    [line] = lines(capsys)
    assert (line["api_key"], line["nested"]) == ("***", {"api-key": "***", "apikey": ""})


@pytest.mark.parametrize("format_", ["json", "console"])
def test_a_line_never_fails(capsys: Capture, format_: logs.Format) -> None:
    logs.configure(format_)
    circle: list[object] = []
    circle.append(circle)
    structlog.get_logger().info("odd", big=2**80, circle=circle, surrogate="\udcff", key={(1, 2): object()})
    assert "odd" in output(capsys)


def test_the_console_is_short_and_cannot_be_driven_by_what_is_logged(capsys: Capture) -> None:
    logs.configure("console")
    structlog.get_logger().info("hello\x1b[2J", name="\x9b2J\x07", plain="yes")
    written = output(capsys)
    assert not any(control in written for control in "\x1b\x9b\x07")
    assert written.endswith("[info] hello?[2J name=?2J? plain=yes\n")
    assert sys.stdout.isatty() is False


@pytest.mark.parametrize(("wished", "coloured"), [("", True), ("1", False)])
def test_a_terminal_has_colours_unless_nobody_wants_them(
    wished: str, coloured: bool, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", wished)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    logs.configure("console")
    structlog.get_logger().info("hello")
    assert ("\x1b[" in output(capsys)) is coloured


def test_the_console_leaves_out_what_is_empty(capsys: Capture) -> None:
    logs.configure("console")
    structlog.get_logger().info("turn", session="", tokens=None, caller={"key": "", "team": ""}, turns=0, cost="0")
    assert output(capsys).endswith("[info] turn turns=0 cost=0\n")


def test_the_console_shows_no_python(capsys: Capture) -> None:
    logs.configure("console")
    tokens = {"input": {"text": 3, "audio": 0}}
    structlog.get_logger().info("turn", tokens=tokens, keys=["a", "b"], more=[{"c": True}], new=False)
    written = output(capsys).partition("[info] ")[2]
    assert written == "turn tokens.input.text=3 tokens.input.audio=0 keys='a, b' more='{\"c\":true}' new=false\n"


def test_what_is_no_http_is_not_quoted(capsys: Capture) -> None:
    logs.configure()
    for error in (BadHttpMessage("Authorization : hunter2"), ValueError("a bug")):
        logging.getLogger("aiohttp.server").error("Error handling request", exc_info=error)
    [line] = lines(capsys)
    assert "a bug" in str(line["exception"])


def test_all_ways_to_write_keep_their_order(capsys: Capture) -> None:
    logs.configure()
    logs.say("banner")
    for number in range(3):
        structlog.get_logger().info(f"ours {number}")
        logging.getLogger("aiohttp").warning("theirs %d", number)
    banner, *rest = output(capsys).splitlines()
    assert banner == "banner"
    assert [orjson.loads(line)["event"] for line in rest] == [
        f"{whose} {number}" for number in range(3) for whose in ("ours", "theirs")
    ]


class Broken(io.BytesIO):
    """A stdout that nobody reads any more, or whose disk is full."""

    broken = True

    def write(self, data: object) -> int:
        if self.broken:
            raise BrokenPipeError
        return super().write(data)  # type: ignore[arg-type]


def test_a_log_that_cannot_be_written_fails_nobody_and_is_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    stdout = Broken()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(stdout))
    instruments = Instruments()
    logs.configure()
    Log(instruments).write({"kind": "turn", "id": "turn-1"})
    logging.getLogger("aiohttp").error("lost")
    logs.say("Tidegate serves")
    assert logs.flush(PATIENCE_S)
    assert counted(instruments) == {("log", "dropped", "failed"): 1}
    stdout.broken = False
    structlog.get_logger().info("the disk has room again")
    assert logs.flush(PATIENCE_S)
    assert logs.flush(PATIENCE_S), "the thread that wrote that line then tells what was lost"
    found = [orjson.loads(line) for line in stdout.getvalue().splitlines()]
    assert [line["event"][:18] for line in found] == ["the disk has room ", "log lines were los"]
    assert found[1]["lines"] == 3
    assert capsys.readouterr().err == ""


CRASH = """
import structlog
from dataplane.process import logs
logs.configure()
for number in range(500):
    structlog.get_logger().info("line", number=number)
raise SystemError("crash")
"""


def test_the_end_of_the_process_writes_what_waits_also_after_a_crash() -> None:
    ended = subprocess.run([sys.executable, "-c", CRASH], capture_output=True, timeout=PATIENCE_S, check=False)
    assert b"SystemError: crash" in ended.stderr
    assert [orjson.loads(line)["number"] for line in ended.stdout.splitlines()] == list(range(500))
