"""The loads: what the generator does, which relays take it, and which figures it yields.

The shapes are those that gateways are sized by: voice sessions that send and receive ten messages a second, sessions
that do nothing, sessions that are set up, and chat completions, whole and streamed.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.peers import AGENTGATEWAY, LITELLM, PORTKEY, SMG
from bench.relays import (
    C_RELAY,
    DIRECT,
    NAIVE,
    NGINX,
    TIDEGATE,
    TIDEGATE_GUARDED,
    TIDEGATE_POOL,
    TIDEGATE_TEXT,
    TIDEGATE_WEBHOOK,
)

QUERY = "/v1/realtime?model=gpt-realtime"
CHAT_MODEL = "gpt-4.1-mini"
REALTIME = (DIRECT, C_RELAY, NGINX, TIDEGATE, AGENTGATEWAY, SMG, NAIVE, LITELLM)
OVER_TLS = (DIRECT, NGINX, TIDEGATE, NAIVE)
"""The direct way stays plain: the generator speaks no TLS."""
CHAT = (DIRECT, C_RELAY, NGINX, TIDEGATE, AGENTGATEWAY, SMG, NAIVE, PORTKEY, LITELLM)


@dataclass(frozen=True)
class Figure:
    """A number that the generator reports under `key`, times `scale`. `added`: the direct way's is taken off."""

    key: str
    title: str
    unit: str
    digits: int = 1
    scale: float = 1.0
    added: bool = False
    more_is_better: bool = False

    @property
    def heading(self) -> str:
        """With its unit, if it has one."""
        return f"{self.title}, {self.unit}" if self.unit else self.title


CPU_MESSAGE = Figure("cpu_us_msg", "CPU per message", "µs")
CPU_REQUEST = Figure("cpu_us_req", "CPU per request", "µs")
CPU_EVENT = Figure("cpu_us_event", "CPU per event", "µs")
ADDED_P50 = Figure("down_lat_us.p50", "added latency, p50", "µs", 0, added=True)
ADDED_P99 = Figure("down_lat_us.p99", "added latency, p99", "µs", 0, added=True)
AUDIO_P50 = Figure("audio_lat_us.p50", "added latency of audio, p50", "µs", 0, added=True)
AUDIO_P99 = Figure("audio_lat_us.p99", "added latency of audio, p99", "µs", 0, added=True)
CHAT_P50 = Figure("lat_us.p50", "added latency, p50", "µs", 0, added=True)
CHAT_P99 = Figure("lat_us.p99", "added latency, p99", "µs", 0, added=True)
MEMORY = Figure("rss_kb_session", "memory per idle session", "KB")
SETUP_CPU = Figure("setup_cpu_ms", "set-up CPU", "ms", 2)
MESSAGES = Figure("msgs_s", "messages a second", "", 0, more_is_better=True)
REQUESTS = Figure("rps", "requests a second", "", 0, more_is_better=True)
SETUPS = Figure("setups_s", "set-ups a second", "", 0, more_is_better=True)


@dataclass(frozen=True)
class Load:
    """One shape of load. `settings` are the upstream's, `arguments` the generator's; `expected`: what it should have
    relayed, as a figure's key and a number; `fresh`: a new process for each run, which has seen nothing yet."""

    key: str
    title: str
    about: str
    contenders: tuple[str, ...]
    figures: tuple[Figure, ...]
    settings: dict[str, str]
    arguments: tuple[str, ...]
    tls: bool = False
    fresh: bool = False
    expected: tuple[str, float] | None = None


@dataclass(frozen=True)
class Size:
    """How large the loads are: seconds of each window and of what comes before it, sessions."""

    seconds: float = 5.0
    warmup: float = 1.0
    idle: int = 2000
    many: int = 1000
    ramp: int = 200


FULL = Size()
QUICK = Size(seconds=1.5, warmup=0.5, idle=500, ramp=400)


def _ws(sessions: int, size: Size, *more: str) -> tuple[str, ...]:
    times = ("--ramp", str(size.ramp), "--warmup", str(size.warmup), "--duration", str(size.seconds))
    return ("ws", "--settle", "--path", QUERY, "--up-bytes", "5120", *times, "--sessions", str(sessions), *more)


def _silent(sessions: int, ramp: int) -> tuple[str, ...]:
    """So many a second are opened, and say nothing."""
    return _ws(sessions, Size(seconds=1, warmup=0.5, ramp=ramp), "--mode", "idle", "--timeout", "60")


def _http(size: Size, *more: str) -> tuple[str, ...]:
    times = ("--warmup", str(size.warmup), "--duration", str(size.seconds * 0.7))
    return ("http", "--model", CHAT_MODEL, "--conns", "32", *times, *more)


def _paced(
    key: str,
    title: str,
    about: str,
    size: Size,
    *,
    sessions: int = 200,
    tls: bool = False,
    contenders: tuple[str, ...] = REALTIME,
) -> Load:
    """4,000 messages a second, whatever the number of sessions."""
    rate = 2000 / sessions
    return Load(
        key,
        title,
        about,
        contenders,
        (CPU_MESSAGE, ADDED_P50, ADDED_P99),
        {"mode": "paced", "down_rate": str(rate), "text_every": "0", "done_every": "50"},
        _ws(sessions, size, "--up-rate", str(rate)),
        tls=tls,
        expected=("msgs_s", 4000),
    )


def _idle(key: str, title: str, about: str, size: Size, *, tls: bool = False) -> Load:
    return Load(
        key,
        title,
        about,
        (NGINX, TIDEGATE, NAIVE) if tls else tuple(name for name in REALTIME if name != DIRECT),
        (MEMORY, SETUP_CPU),
        {"mode": "idle"},
        _silent(size.idle, 250),
        tls=tls,
        fresh=True,
    )


def loads(size: Size = FULL) -> dict[str, Load]:
    """All of them, by key, in the order in which they are run and shown."""
    voice = (
        "10 messages a second of 5 KiB up and 10 of 6 KiB down, every 50th of these the end of a turn with its usage"
    )
    text = {"mode": "paced", "down_rate": "10", "text_every": "2", "done_every": "50"}
    every = (
        _paced("paced", "Realtime messages, 200 sessions", f"200 sessions, each {voice}.", size),
        _paced(
            "paced-tls",
            "Realtime messages over a TLS upstream",
            "The same, and the provider is reached by TLS, which is the normal case. Clients connect without it, and "
            "the direct way has none at all, so that the added latency includes what TLS costs.",
            size,
            tls=True,
            contenders=OVER_TLS,
        ),
        _paced(
            "paced-1000",
            "Realtime messages, 1,000 sessions",
            "1,000 sessions that share the same 4,000 messages a second, two up and two down for each.",
            size,
            sessions=size.many,
        ),
        _paced(
            "pool",
            "Realtime messages, a pool of ten providers",
            "The load of 200 sessions, at a Backend of one provider and at one of ten, which share them.",
            size,
            contenders=(DIRECT, TIDEGATE, TIDEGATE_POOL),
        ),
        _paced(
            "guarded",
            "Realtime messages, with guardrails",
            "The load of 200 sessions, where guardrails judge both directions: one looks for personal data of all "
            "kinds, one for words and one for a pattern. Text is what the ends of turns say; audio goes on unread.",
            size,
            contenders=(DIRECT, TIDEGATE, TIDEGATE_GUARDED),
        ),
        Load(
            "saturated",
            "Realtime messages, saturated",
            "64 sessions in lock-step: a message up, one down, and again, as fast as the relay goes. A message costs "
            "less here than at a pace, since one wake-up serves many: never size by this figure.",
            REALTIME,
            (CPU_MESSAGE, MESSAGES),
            {"mode": "lockstep", "text_every": "0", "done_every": "50"},
            _ws(64, size, "--mode", "lockstep"),
        ),
        Load(
            "text",
            "Realtime messages, with text that is read",
            f"200 sessions, each {voice}; every second of the messages down is a piece of a transcript. Where "
            "Tidegate reads text, a Policy logs these events, so each is collected, parsed and written to the log. "
            "With guardrails, all of it is judged, a piece at a time.",
            (C_RELAY, TIDEGATE, TIDEGATE_TEXT, TIDEGATE_GUARDED),
            (CPU_MESSAGE,),
            text,
            _ws(200, size, "--up-rate", "10"),
            expected=("msgs_s", 4000),
        ),
        Load(
            "webhook",
            "Audio beside a webhook of 50 ms",
            "20 sessions, each 50 messages a second up and down, every second of those down a piece of transcript that "
            "a webhook judges, which takes 50 ms to answer. Text waits for it; audio does not.",
            (DIRECT, TIDEGATE, TIDEGATE_WEBHOOK),
            (AUDIO_P99, AUDIO_P50),
            {"mode": "paced", "down_rate": "50", "text_every": "2", "done_every": "1000"},
            _ws(20, size, "--up-rate", "50"),
        ),
        _idle(
            "idle",
            "Idle sessions",
            f"{size.idle:,} sessions, opened at 250 a second, that then say nothing. Memory is what the process has "
            "(RSS) beyond what it had after its first 50 sessions; what the kernel holds in sockets is not in it. "
            "Set-up CPU is what a session costs until it is open.",
            size,
        ),
        _idle(
            "idle-tls",
            "Idle sessions over a TLS upstream",
            "The same, with the provider reached by TLS.",
            size,
            tls=True,
        ),
        Load(
            "setup",
            "Session set-up, all at once",
            "500 clients that connect at once, until every session is open.",
            tuple(name for name in REALTIME if name != DIRECT),
            (SETUPS, SETUP_CPU),
            {"mode": "idle"},
            _silent(500, 1_000_000),
        ),
        Load(
            "chat",
            "Chat completions",
            "A request of 1 KB and a reply of 2 KB, over 32 connections that are kept, one after another, as fast as "
            "the relay goes. Tidegate authenticates each caller and meters each reply.",
            CHAT,
            (CPU_REQUEST, REQUESTS),
            {},
            _http(size),
        ),
        Load(
            "pool-chat",
            "Chat completions, a pool of ten providers",
            "The same, at a Backend of one provider and at one of ten: each request chooses among them.",
            (TIDEGATE, TIDEGATE_POOL),
            (CPU_REQUEST, REQUESTS),
            {},
            _http(size),
        ),
        Load(
            "chat-rate",
            "Chat completions at a rate",
            "Chat completions, 1,000 a second. Peers that cannot do as many are left out.",
            tuple(name for name in CHAT if name not in (LITELLM, PORTKEY)),
            (CHAT_P50, CHAT_P99, CPU_REQUEST),
            {},
            _http(size, "--rate", "1000"),
            expected=("rps", 1000),
        ),
        Load(
            "sse",
            "Streamed chat completions",
            "32 streams at a time, each of 50 chunks of 220 bytes, one a millisecond, and the usage at its end.",
            tuple(name for name in CHAT if name != PORTKEY),
            (CPU_EVENT,),
            {"sse_us": "1000"},
            _http(size, "--stream", "--sse-chunks", "50"),
        ),
    )
    return {load.key: load for load in every}
