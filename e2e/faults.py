"""What goes wrong between a controller and its gateways, and who notices: a line that can be cut, a gateway that is
none, a user who talks all the while."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from dataplane.sources.transfer import Delivery, Transfer
from dataplane.table import messages
from dataplane.table.messages import FromDataPlane, Hello, Holds, Offer, Refuse

TURN_S = 20.0
PAUSE_S = 0.2


class Talk(threading.Thread):
    """A realtime session with one turn after the other, until `end`."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.turns = 0
        self._open = ExitStack()
        self._socket = self._open.enter_context(connect(url, open_timeout=TURN_S, proxy=None))
        self._over = threading.Event()
        self._failure = ""
        self.start()

    def run(self) -> None:
        try:
            while not self._over.is_set():
                self._socket.send(json.dumps({"type": "response.create"}))
                while json.loads(self._socket.recv(TURN_S))["type"] != "response.done":
                    pass
                self.turns += 1
                self._over.wait(PAUSE_S)
            self._open.close()
        except (ConnectionClosed, TimeoutError) as error:
            self._failure = f"the session was cut after {self.turns} turns: {error!r}"

    def check(self) -> None:
        """Fails where it was cut."""
        assert not self._failure, self._failure

    def end(self) -> int:
        """The number of its turns. Fails where it was cut."""
        self._over.set()
        self.join(2 * TURN_S)
        self.check()
        return self.turns


class Relay:
    """A way to an address, that can be cut as networks are: nothing comes through, and nobody is told."""

    def __init__(self, to: str) -> None:
        host, _, port = to.rpartition(":")
        self._to = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._open = threading.Event()
        self._open.set()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._open.clear()

    def mend(self) -> None:
        """New connections come through; those of before are lost."""
        self._hang_up()
        self._open.set()

    def close(self) -> None:
        self._listener.close()
        self._open.set()
        self._hang_up()

    def _hang_up(self) -> None:
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._sockets.clear()

    def _accept(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._carry_both, args=(near,), daemon=True).start()

    def _carry_both(self, near: socket.socket) -> None:
        self._sockets.append(near)
        self._open.wait()
        try:
            far = socket.create_connection(self._to)
        except OSError:
            near.close()
            return
        self._sockets.append(far)
        threading.Thread(target=self._carry, args=(far, near), daemon=True).start()
        self._carry(near, far)

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                self._open.wait()
                other.sendall(data)
        for each in (one, other):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class Double(threading.Thread):
    """A gateway that is none: it speaks the protocol, takes tables or refuses them, and serves nothing."""

    def __init__(
        self, address: str, ca: Path, token: Path, *, schemas: Sequence[int] = (2, 1), refuses: Sequence[str] = ()
    ) -> None:
        """`refuses`: every table, for these reasons."""
        super().__init__(daemon=True)
        self.delivery: Delivery | None = None
        """The last table that it took."""
        self.offer: Offer | None = None
        """The last one."""
        self.ended = ""
        """How the connection did."""
        self._schemas, self._refuses = schemas, refuses
        self._transfer: Transfer | None = None
        context = ssl.create_default_context(cafile=str(ca))
        headers = {"Authorization": f"Bearer {token.read_text()}"}
        self._open = ExitStack()
        self._socket = self._open.enter_context(
            connect(
                f"wss://{address}{messages.PATH}", ssl=context, additional_headers=headers, compression=None, proxy=None
            )
        )
        self.start()

    def run(self) -> None:
        self._say(Hello(schemas=tuple(self._schemas), pod="double", version="0"))
        try:
            for text in self._socket:
                self._hear(text)
        except ConnectionClosed as closed:
            self.ended = str(closed)

    def close(self) -> None:
        self._open.close()
        self.join(TURN_S)

    def _hear(self, text: str | bytes) -> None:
        message = messages.read_by_data_plane(text)
        if not isinstance(message, Offer):
            assert self._transfer
            if self._transfer.take(message):
                self._ask()
            return
        self.offer = message
        if self._refuses:
            self._say(Refuse.because(message.table, self._refuses))
        elif message.outline is None:
            self._say(Holds(table=message.table, watermark=message.watermark))
        else:
            self._transfer = Transfer(message, (), ())
            self._ask()

    def _ask(self) -> None:
        assert self._transfer
        assert self.offer
        if want := self._transfer.want():
            self._say(want)
        else:
            self.delivery = self._transfer.delivery()
            self._say(Holds(table=self.offer.table, watermark=self.offer.watermark))

    def _say(self, message: FromDataPlane) -> None:
        with suppress(ConnectionClosed):
            self._socket.send(messages.encode(message))


class Repeating(threading.Thread):
    """Does something again and again until the block ends. A failure of it fails the block."""

    def __init__(self, what: Callable[[], None], pause: float = 0.02) -> None:
        super().__init__(daemon=True)
        self._what, self._pause = what, pause
        self._over = threading.Event()
        self._failure: BaseException | None = None

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join(60)
        if self._failure:
            raise self._failure

    def run(self) -> None:
        try:
            while not self._over.wait(self._pause):
                self._what()
        except BaseException as failure:
            self._failure = failure
