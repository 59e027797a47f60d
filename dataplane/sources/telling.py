"""What controllers are told of how providers are doing: it may stand in the status of a Backend, for whoever reads
that. So what looks like a credential is masked, as in the log; the gateway's own key is in no word of a provider
before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dataplane.process.gently import gently
from dataplane.process.logs import redact
from dataplane.slices import SLICE, Slices
from dataplane.table.messages import BACKENDS, Failing, HealthMessage
from dataplane.upstreams.health import Standing
from dataplane.upstreams.pools import Pools

EVERY: Final = 2.0
"""Seconds between two of them at least."""


async def health(pools: Pools) -> HealthMessage:
    """As it is now."""
    report = await gently(pools.report())
    return HealthMessage.of(await gently(_worded(report.unhealthy)), report.healthy)


def _worded(unhealthy: Mapping[str, Mapping[str, Standing]]) -> Slices[Mapping[str, Mapping[str, Failing]]]:
    found = {}
    for count, backend in enumerate(sorted(unhealthy)[:BACKENDS], 1):
        found[backend] = {name: _failing(standing) for name, standing in unhealthy[backend].items()}
        if count % SLICE == 0:
            yield
    return found


def _failing(standing: Standing) -> Failing:
    return Failing.because(standing.reason, redact(standing.why.encode(errors="replace")).decode())
