"""How the process writes its log: one JSON object a line on stdout, or short lines for a person at a terminal.

Everything goes the same way, `structlog` loggers (ours) and `logging` ones (aiohttp, asyncio), tracebacks
included, and has what looks like a credential masked at the very end. That is the second line of defence: no
code of ours logs a credential.

Nobody waits for stdout: lines go through an `Outlet`, whose thread writes them. At the end of the process, however it
comes about (but for SIGKILL), what still waits is written, within `FAREWELL` seconds.
"""

from __future__ import annotations

import atexit
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal, cast

import orjson
import structlog
from aiohttp.http_exceptions import HttpProcessingError
from structlog.typing import EventDict, Processor, WrappedLogger

from dataplane.process.outlet import Outlet, Tally

Format = Literal["json", "console"]
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

FAREWELL = 2.0
"""Seconds that the last lines have at the end of the process. In no phase of a drain: whoever kills the process in
them loses what nobody would have read."""

KEY = re.compile(rb"k(?:(?<=sk)-|(?<=ek)_|(?:(?<=apik)|(?<=api[-_]k))ey)")
BEARER = re.compile(rb"b(?=earer)")
XAI = re.compile(rb"x(?=ai-)")
"""In lower case; what matches CREDENTIAL has one of these, or `=`. That search costs 20 µs, these less than one, since
they look for one letter first."""

CREDENTIAL = re.compile(
    # In rendered JSON a line break is a backslash and an n, which must not pass for a letter before the key.
    rb"((?:(?:(?<![a-z0-9])|(?<=\\[nrtbf])|(?<=\\u[0-9a-f]{4}))"
    rb"(?:sk-|ek_|openai-insecure-api-key\.|xai-(?:client-secret\.|(?=[a-z0-9]{32}))|bearer(?:\s|%20|\+)+)"
    rb"|[?&]key=|(?:access|id|refresh)_token="
    # A field of the line itself, or such a thing quoted within one.
    rb"|api[-_]?key(?:\":\"|(?:\\+\"|')?\s*[:=]\s*(?:\\+\"|')?)))"
    rb"[^\s\"'\\,;&#<>]+",
    re.IGNORECASE,
)
CONTROL = re.compile(rb"\\u00[01][0-9a-f]|\\[bf]|\x7f|\xc2[\x80-\x9f]")
"""What could drive a terminal, in rendered JSON."""


def configure(format: Format = "json", level: str = "info") -> None:  # noqa: A002
    """Set up logging for the whole process, to the present `sys.stdout`; may be called again.

    `level` is one of `LEVELS`; KeyError otherwise."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    _outlet.open(sys.stdout.buffer)
    terminal = format == "console"
    render = _console() if terminal else _json
    stamp = structlog.processors.TimeStamper(fmt="%H:%M:%S" if terminal else "iso", utc=not terminal)
    common: list[Processor] = [structlog.processors.add_log_level, stamp]
    structlog.configure(
        processors=[*common, structlog.processors.format_exc_info, render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=Lines,
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*common, structlog.stdlib.add_logger_name],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            lambda logger, name, event: render(logger, name, event).decode(),
        ],
    )
    handler = logging.StreamHandler(_Text())
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    # It prints the subprotocols that a client offered, which is where browsers put their keys.
    logging.getLogger("aiohttp.websocket").disabled = True
    logging.getLogger("aiohttp.server").addFilter(_is_no_bad_request)


def say(line: str) -> None:
    """Write a line to stdout for whoever started the process; as with log lines, nobody waits for a reader."""
    _outlet.open(sys.stdout.buffer)
    _outlet.write(f"{line}\n".encode("utf-8", "replace"))


def writer(name: str, tally: Tally) -> Callable[[str, Mapping[str, object]], None]:
    """What logs events at level `info`, and has `tally` told of them, as logging is configured now. It leaves
    structlog's chain out where the format is JSON: there may be a thousand records a second."""
    logger = structlog.get_logger(name, tally).bind()
    if _json not in structlog.get_config()["processors"] or not logger.is_enabled_for(logging.INFO):
        return lambda event, fields: logger.info(event, **fields)

    def write(event: str, fields: Mapping[str, object]) -> None:
        line = {"event": event, **fields, "level": "info", "timestamp": datetime.now(UTC)}
        _outlet.write(redact(_dump(line, orjson.OPT_UTC_Z)) + b"\n", tally)

    return write


def flush(seconds: float = FAREWELL) -> bool:
    """Wait until what was logged so far is written, for so many seconds at most; False: it is not. Blocks."""
    return _outlet.flush(seconds)


def _report(lost: int) -> None:
    message = "log lines were lost: stdout was not read in time, or could not be written"
    structlog.get_logger("dataplane.process.logs").error(message, lines=lost)


_outlet = Outlet(_report)
atexit.register(flush)


def _is_no_bad_request(record: logging.LogRecord) -> bool:
    """What is no HTTP is its sender's business, and aiohttp would quote it, credentials included (the admin port is
    aiohttp's alone)."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


class Lines:
    """What `structlog` writes to. A `Tally` among the arguments of `structlog.get_logger` is told of its lines."""

    def __init__(self, *arguments: object) -> None:
        self._tally = next((cast("Tally", each) for each in arguments if callable(each)), None)

    def msg(self, line: bytes) -> None:
        _outlet.write(line + b"\n", self._tally)

    debug = info = warning = error = critical = exception = msg


class _Text:
    """What `logging` writes to."""

    def write(self, text: str) -> None:
        _outlet.write(text.encode("utf-8", "replace"))

    def flush(self) -> None:
        """There is nothing to wait for."""


def redact(line: bytes) -> bytes:
    """A line of rendered JSON with everything that looks like a credential masked: keys (`sk-…`, `ek_…`,
    `xai-…`), `Bearer …`, `openai-insecure-api-key.…`, `?key=…`, `api-key: …`. It stays valid JSON."""
    lowered = line.lower()
    if b"=" in lowered or KEY.search(lowered) or BEARER.search(lowered) or XAI.search(lowered):
        return CREDENTIAL.sub(rb"\1***", line)
    return line


def _json(_logger: WrappedLogger, _name: str, event: EventDict) -> bytes:
    return redact(_dump({"event": event.pop("event", ""), **event}))


def _console() -> Callable[[WrappedLogger, str, EventDict], bytes]:
    renderer = structlog.dev.ConsoleRenderer(
        colors=sys.stdout.isatty() and not os.environ.get("NO_COLOR"),  # https://no-color.org
        pad_event_to=0,
        pad_level=False,
        sort_keys=False,
        exception_formatter=structlog.dev.plain_traceback,
    )

    def render(logger: WrappedLogger, name: str, event: EventDict) -> bytes:
        clean = orjson.loads(CONTROL.sub(b"?", redact(_dump(event))))
        return renderer(logger, name, {"event": "", **_filled(clean)}).encode("utf-8", "replace")

    return render


def _filled(fields: dict[str, object], path: str = "") -> dict[str, object]:
    """The fields that say something, for a person, those inside of others by their paths; programs get all, in JSON."""
    found: dict[str, object] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            found |= _filled(value, f"{path}{name}.")
        elif value not in ("", None, []):
            found[path + name] = _plain(value)
    return found


def _plain(value: object) -> object:
    if isinstance(value, list):
        return ", ".join(str(_plain(each)) for each in value)
    return orjson.dumps(value).decode() if isinstance(value, dict | bool) else value


def _dump(event: EventDict, option: int = orjson.OPT_NON_STR_KEYS) -> bytes:
    """JSON of anything at all: a log line must never be what fails."""
    try:
        return orjson.dumps(event, default=str, option=option)
    except TypeError:  # lone surrogates, integers over 64 bit, circles
        return orjson.dumps({_text(key): _text(value) for key, value in event.items()})


def _text(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text.encode("utf-8", "replace").decode()
