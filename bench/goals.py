"""The goals: what relaying may cost. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.loads import ADDED_P50, ADDED_P99, AUDIO_P99, CPU_EVENT, CPU_MESSAGE, CPU_REQUEST, MEMORY, SETUP_CPU, Figure
from bench.peers import AGENTGATEWAY, LITELLM
from bench.relays import C_RELAY, DIRECT, NGINX, TIDEGATE, TIDEGATE_GUARDED, TIDEGATE_POOL, TIDEGATE_WEBHOOK
from bench.series import Series, Spread, absolute, ratio

SMALL = 0.1
"""A ratio below it is written as 1/10."""


@dataclass(frozen=True)
class Goal:
    """Tidegate's figure under a load, or that of another way to run it, may be so much: a ratio to another relay's, or
    by itself. `stretch`: what would be better still."""

    work: str
    load: str
    figure: Figure
    most: float
    against: str = ""
    stretch: float | None = None
    of: str = TIDEGATE

    def measured(self, results: Mapping[str, Series]) -> Spread | None:
        series = results.get(self.load)
        if series is None:
            return None
        return ratio(series, self.of, self.against, self.figure) if self.relative else self._alone(series)

    @property
    def shown(self) -> str:
        if self.most < SMALL:
            return f"≤ 1/{1 / self.most:.0f}"
        unit = "" if self.relative else f" {self.figure.unit}"
        return f"≤ {self.most:g}{unit}" + (f" (stretch {self.stretch:g})" if self.stretch else "")

    @property
    def relative(self) -> bool:
        return bool(self.against) and not self.figure.added

    def _alone(self, series: Series) -> Spread | None:
        return absolute(series, self.of, self.figure)

    def verdict(self, results: Mapping[str, Series]) -> str:
        found = self.measured(results)
        if found is None:
            return "not measured"
        if self.stretch and found.median <= self.stretch:
            return "met, and the stretch"
        return "met" if found.median <= self.most else "**missed**"


MESSAGE = "relayed realtime message, 200 sessions"
GOALS = (
    Goal(MESSAGE, "paced", CPU_MESSAGE, 1.5, C_RELAY, 1.25),
    Goal(MESSAGE, "paced", CPU_MESSAGE, 1.1, NGINX),
    Goal(MESSAGE, "paced", CPU_MESSAGE, 0.9, AGENTGATEWAY),
    Goal("the same, 1,000 sessions", "paced-1000", CPU_MESSAGE, 0.55, AGENTGATEWAY),
    Goal("the same over a TLS upstream, 200 sessions", "paced-tls", CPU_MESSAGE, 1.5, NGINX, 1.2),
    Goal("added one-way latency, 200 sessions, p50", "paced", ADDED_P50, 60, DIRECT),
    Goal("added one-way latency, 200 sessions, p99", "paced", ADDED_P99, 1000, DIRECT),
    Goal("idle session", "idle", MEMORY, 32),
    Goal("idle session over a TLS upstream", "idle-tls", MEMORY, 75),
    Goal("session set-up, CPU", "idle", SETUP_CPU, 1.0),
    Goal("chat completion", "chat", CPU_REQUEST, 1 / 150, LITELLM),
    Goal("chat completion", "chat", CPU_REQUEST, 0.75, AGENTGATEWAY, 0.5),
    Goal("chat completion", "chat", CPU_REQUEST, 4, NGINX),
    Goal("streamed event, usage read", "sse", CPU_EVENT, 1.5, NGINX),
    Goal("streamed event, usage read", "sse", CPU_EVENT, 0.8, AGENTGATEWAY),
    Goal("relayed message, with guardrails", "guarded", CPU_MESSAGE, 1.4, TIDEGATE, of=TIDEGATE_GUARDED),
    Goal("the same, a quarter of all text", "text", CPU_MESSAGE, 1.4, TIDEGATE, of=TIDEGATE_GUARDED),
    Goal(
        "audio beside a webhook of 50 ms, added latency, p99", "webhook", AUDIO_P99, 5000, DIRECT, of=TIDEGATE_WEBHOOK
    ),
    Goal("relayed message of a pool of ten providers", "pool", CPU_MESSAGE, 1.05, TIDEGATE, of=TIDEGATE_POOL),
    Goal("chat completion of a pool of ten providers", "pool-chat", CPU_REQUEST, 1.05, TIDEGATE, of=TIDEGATE_POOL),
)
