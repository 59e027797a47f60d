"""What was known of a provider is about the address and the credentials that it had."""

from __future__ import annotations

import pytest

from dataplane.faults import UNREACHABLE
from dataplane.metering.instruments import Instruments
from dataplane.metering.meter import Meter
from dataplane.metering.prices import PriceBook
from dataplane.metering.records import FanOut
from dataplane.slices import at_once
from dataplane.table import Health, Provider, Tls
from dataplane.upstreams.pools import Pools
from tests.dataplane.upstreams.choosing import backend, provider

HEALTH = Health(eject_after=1, eject_for=60.0, eject_for_most=60.0)
BEFORE = provider("a", tls=Tls(authorities="ca@1"))


@pytest.mark.parametrize(
    ("now", "state"),
    [
        (BEFORE.model_copy(update={"weight": 2}), "ejected"),
        (BEFORE.model_copy(update={"tls": Tls(authorities="ca@2")}), "healthy"),
        (BEFORE.model_copy(update={"tls": Tls(authorities="ca@1", server_name="a.test")}), "healthy"),
        (BEFORE.model_copy(update={"url": "https://other.test/v1"}), "healthy"),
    ],
)
def test_what_changes(now: Provider, state: str) -> None:
    pools = Pools(Meter(Instruments(), PriceBook(), FanOut()), clock=lambda: 100.0)
    before, after = (backend(each).model_copy(update={"health": HEALTH}) for each in (BEFORE, now))
    at_once(pools.following({before.name: before}))
    standing = pools.of(before).standings["a"]
    standing.failed(standing.epoch, UNREACHABLE, "its certificate is not trusted", HEALTH, 100.0, 0.5)
    at_once(pools.following({after.name: after}))
    assert pools.shown(after.name, "a")["state"] == state
