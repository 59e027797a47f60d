"""All ports of a data plane: its own, and those that Gateways want, which open and close with the tables."""

from __future__ import annotations

import asyncio
import errno
import ssl as tls
from collections.abc import Callable, Mapping

from dataplane.http.listener import Place, places
from dataplane.http.port import Port


class Ports:
    """`make` makes one of a Gateway, by its number."""

    def __init__(self, own: Port, make: Callable[[int], Port]) -> None:
        self.own = own
        self._make = make
        self._of_gateways: dict[int, Port] = {}
        self._gone: list[Port] = []
        """Those that no table wants any more, and that have connections yet."""
        self._places: list[Place] = []
        self._reuse = False
        self._lasting = True

    @property
    def open(self) -> bool:
        """Whether new connections are accepted."""
        return self.own.open

    @property
    def requests(self) -> int:
        """How many are under way, or about to be; see `Port.requests`."""
        return sum(port.requests for port in self._all())

    @property
    def connections(self) -> int:
        """How many there are that nobody has taken over."""
        return sum(port.connections for port in self._all())

    async def start(self, host: str, port: int, ssl: tls.SSLContext | None, *, reuse_port: bool = False) -> None:
        """Open the own port; 0 takes a free one. Raises OSError if the address is taken."""
        self._places, self._reuse = await places(host), reuse_port
        self.own.start(self._places, port, ssl, reuse_port=reuse_port)

    def follow(self, wanted: Mapping[int, bool], context: Callable[[int], tls.SSLContext]) -> None:
        """Have these ports open beside the own, by number: are they with TLS? It is not waited for. Those that are not
        wanted any more accept nothing, and what is under way there goes on; once `open` is over, none is opened.

        Raises OSError where one cannot be had; then all is as before."""
        if not self.open:
            return
        opened: dict[int, Port] = {}
        try:
            for number in sorted(wanted.keys() - self._of_gateways.keys()):
                opened[number] = self._opened(number)
        except OSError:
            for port in opened.values():
                port.close()
            raise
        self._of_gateways.update(opened)
        for number, with_tls in wanted.items():
            port = self._of_gateways[number]
            if with_tls != port.secure:
                port.speak(context(number) if with_tls else None)
        for number in self._of_gateways.keys() - wanted.keys():
            port = self._of_gateways.pop(number)
            port.lasting = False
            port.close()
            self._gone.append(port)
        self._gone = [port for port in self._gone if port.connections or port.requests]

    def _opened(self, number: int) -> Port:
        if number == self.own.number:
            raise OSError(errno.EADDRINUSE, f"{number} is the data plane's own port")
        port = self._make(number)
        port.start(self._places, number, None, reuse_port=self._reuse)
        port.lasting = self._lasting
        return port

    def last(self) -> None:
        """Let no connection be used for another request, from now on."""
        self._lasting = False
        for port in self._all():
            port.lasting = False

    def close(self) -> None:
        """Accept nothing more; connections that are open stay."""
        for port in self._all():
            port.close()

    async def stop(self, grace: float) -> None:
        """Close all ports and all connections; see `Port.stop`."""
        async with asyncio.TaskGroup() as stopping:
            for port in self._all():
                stopping.create_task(port.stop(grace))

    async def closed(self) -> None:
        """Wait until all ports are closed, and all connections that nobody has taken over."""
        for port in self._all():
            await port.closed()

    def _all(self) -> list[Port]:
        return [self.own, *self._of_gateways.values(), *self._gone]
