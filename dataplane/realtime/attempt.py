"""What is told of a request for a session once it is answered: a metric, and a span."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from dataplane.exchange import Exchange
from dataplane.realtime.entry import Entry
from dataplane.services import Services
from dataplane.tracing import Handshake
from dataplane.upstreams.pools import Tries

_TLS = ("https", "wss")


def loop_time() -> float:
    return asyncio.get_running_loop().time()


def epoch() -> float:
    """What to add to a moment of the loop's clock to have seconds since the epoch."""
    return time.time() - loop_time()


@dataclass(slots=True)
class Attempt:
    """One request: as much of it as was found out."""

    exchange: Exchange
    services: Services
    client: str = ""
    """Address of who asks."""
    began: float = field(default_factory=loop_time)
    entry: Entry | None = None
    """Of the provider that was asked last."""
    tries: Tries | None = None
    told: bool = False
    """Was it counted? An answer that is on its way is not taken back."""

    def answered(self, status: int, code: str = "") -> object | None:
        """Count the first answer; `code` is the refusal's. A reference to its span, for the turns that follow."""
        if self.told:
            return None
        self.told = True
        exchange, services, now = self.exchange, self.services, loop_time()
        with services.guard:
            services.meter.handshake(exchange.route.name, exchange.backend.name, status, now - self.began)
        with services.guard:
            return services.tracer.handshake(self._handshake(now, status, code))
        return None

    def _handshake(self, now: float, status: int, code: str) -> Handshake:
        exchange = self.exchange
        destination = self.entry.lease.destination if self.entry else None
        provider = destination.provider if destination else None
        dialled, since = self.entry.live.dialled if self.entry else None, epoch()
        return Handshake(
            session=exchange.id,
            route=exchange.route.name,
            backend=exchange.backend.name,
            caller=exchange.caller,
            began=self.began + since,
            ended=now + since,
            status=status,
            code=code,
            provider=provider.name if provider else "",
            provider_kind=provider.kind if provider else "",
            model=destination.upstream_model if destination else "",
            upstream=_address(provider.url) if provider else "",
            dialled=None if dialled is None else dialled + since,
            client=self.client,
            attempts=self.tries.count if self.tries else 0,
            traceparent=exchange.headers.first.get("traceparent", ""),
        )


def _address(url: str) -> str:
    """`host:port` of a provider's URL."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or (443 if parts.scheme in _TLS else 80)}"
