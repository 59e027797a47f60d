"""The server, with a certificate of the controller's authority and real clients."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
import structlog
from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import CloseCode

from controller import certificates
from controller.push import server as serving
from controller.push import sparing, tls
from controller.push.channel import Answer, Holding
from controller.push.door import Pod
from controller.push.publication import Publication, published
from controller.push.server import Server
from dataplane.table import SCHEMA, delta
from dataplane.table.messages import HealthMessage
from tests.controller.push.tables import SECRET, SECRETS, mark, parsed, publication, table
from tests.controller.push.test_reviews import TOKEN, Api, token_review

NAME = "tidegate-controller"
CLIENT = logging.getLogger("tests.gateway")
CLIENT.setLevel(logging.WARNING)
"""At DEBUG it would log the tokens that the server must not."""
FIRST = publication("a", version=1)
SECOND = publication("a", "b", version=2, before=FIRST)


class Counts:
    """An observer."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.connected = 0
        self.faults: list[bool] = []
        self.characters = 0
        self.answers: list[Answer] = []

    def turned_away(self, status: int) -> None:
        self.statuses.append(status)

    def connections(self, number: int) -> None:
        self.connected = number

    def ended(self, fault: bool) -> None:
        self.faults.append(fault)

    def sent(self, characters: int) -> None:
        self.characters += characters

    def answered(self, answer: Answer) -> None:
        self.answers.append(answer)


@dataclass
class Install:
    """A controller on loopback, with an API server that knows some tokens and a mirror with some pods."""

    api: Api = field(default_factory=Api)
    pods: set[tuple[str, str]] = field(default_factory=lambda: {("dp-0", "u0"), ("dp-1", "u1")})
    authorities: certificates.Authorities = field(
        default_factory=lambda: certificates.kept(None, datetime.now(UTC)),
    )
    counts: Counts = field(default_factory=Counts)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    server: Server = field(init=False)

    def __post_init__(self) -> None:
        self.api.tokens["token-1"] = token_review("dp-1", "u1")
        context = tls.server_context()
        self.server = Server(
            reviews=self.api.reviews(),
            account="tidegate:tidegate-dataplane",
            knows=lambda *pod: pod in self.pods,
            tls=context,
            news=self.news.set,
            observer=self.counts,
        )
        self.rotate()

    def rotate(self) -> None:
        shown = certificates.new_serving(self.authorities.signing, [NAME], [], datetime.now(UTC))
        tls.show(self.server.tls, shown)

    def dial(self, token: str = TOKEN, path: str = "/v1/tables", **headers: str) -> connect:
        trusting = ssl.create_default_context(cadata=self.authorities.config()["ca.crt"])
        trusting.verify_flags |= ssl.VERIFY_X509_STRICT
        fields = {"Authorization": f"Bearer {token}", **headers} if token else headers
        return connect(
            f"wss://127.0.0.1:{self.port}{path}",
            ssl=trusting,
            server_hostname=NAME,
            additional_headers=fields,
            compression=None,
            proxy=None,
            max_size=2**24,
            logger=CLIENT,
        )

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not true():
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def running(newest: Publication | None = FIRST) -> AsyncIterator[Install]:
    install = Install()
    if newest:
        install.server.publish(newest)
    install.port = await install.server.start("127.0.0.1", 0)
    try:
        yield install
    finally:
        await install.server.stop()


class Gateway:
    """What a data plane says."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def says(self, type_: str, **fields: object) -> None:
        await self.connection.send(json.dumps({"type": type_, **fields}))

    async def hello(self, table: str = "", schemas: tuple[int, ...] = (2, 1)) -> None:
        await self.says("hello", schemas=schemas, table=table)

    async def hears(self) -> Mapping[str, object]:
        async with asyncio.timeout(10):
            text = await self.connection.recv()
        assert isinstance(text, str)
        return parsed(text)

    async def takes(self) -> Mapping[str, object]:
        """The next offer, with all that belongs to it; returns it."""
        offer = await self.hears()
        assert offer["type"] == "offer"
        if offer["outline"]:
            outline = delta.Outline.model_validate(offer["outline"])
            await self.says("want", table=offer["table"], parts=list(outline.names()), secrets=list(outline.secrets))
            while (await self.hears())["type"] != "done":
                pass
        await self.says("holds", table=offer["table"], watermark=offer["watermark"])
        return offer

    async def closed(self) -> tuple[int, str]:
        """Code and reason of the Close frame that ends the connection."""
        async with asyncio.timeout(10):
            with suppress(ConnectionClosed):
                while True:
                    await self.connection.recv()
        return self.connection.close_code or 0, self.connection.close_reason or ""


async def refused(dialled: connect) -> tuple[int, str, Mapping[str, str]]:
    with pytest.raises(InvalidStatus) as answer:
        await dialled
    response = answer.value.response
    return response.status_code, (response.body or b"").decode(), dict(response.headers.raw_items())


async def test_a_gateway_takes_the_table_and_what_comes_after() -> None:
    async with running() as install, install.dial() as connection:
        gateway = Gateway(connection)
        await gateway.hello()
        assert (await gateway.takes())["table"] == FIRST.offered[SCHEMA].table
        install.server.publish(SECOND)
        assert (await gateway.takes())["table"] == SECOND.offered[SCHEMA].table
        held = Holding(SECOND.offered[SCHEMA].table, mark(2))
        await install.until(lambda: install.server.holdings == {Pod("dp-0", "u0"): held})
        assert [each.kind for each in install.counts.answers] == ["holds", "holds"]
        assert install.counts.connected == 1
    assert install.server.holdings == {}
    assert install.counts.connected == 0
    assert install.counts.faults == [False]


async def test_two_replicas_with_the_same_table_transfer_it_once() -> None:
    async with running() as one, running() as other, one.dial() as first, other.dial() as second:
        await Gateway(first).hello()
        table = str((await Gateway(first).takes())["table"])
        await Gateway(second).hello(table)
        assert (await Gateway(second).takes())["outline"] is None
        assert other.counts.characters < 400


async def test_a_gateway_of_the_version_before() -> None:
    async with running() as install, install.dial() as connection:
        gateway = Gateway(connection)
        await gateway.hello(schemas=(1,))
        offer = await gateway.takes()
        assert offer["schema"] == 1
        assert offer["table"] == FIRST.offered[1].table


async def test_of_a_thousand_publications_a_slow_gateway_is_offered_the_newest() -> None:
    async with running() as install, install.dial() as connection, install.dial("token-1") as other:
        slow, swift = Gateway(connection), Gateway(other)
        await slow.hello()
        await swift.hello()
        await slow.hears()
        await swift.takes()
        newest = FIRST
        for number in range(2, 1002):
            newest = published(table("a", f"b-{number % 3}"), SECRETS, mark(number), newest)
            install.server.publish(newest)
        assert (await swift.takes())["watermark"] == newest.watermark.model_dump()
        await slow.says("refuse", table=FIRST.offered[SCHEMA].table, reasons=["busy"])
        assert (await slow.takes())["watermark"] == newest.watermark.model_dump()
        assert len(install.counts.answers) <= 4


async def test_before_the_cluster_is_read_gateways_are_to_come_again() -> None:
    async with running(None) as install:
        status, body, headers = await refused(install.dial())
        assert (status, headers["Retry-After"]) == (503, "1")
        assert "has not read the whole cluster yet" in body
        assert not install.api.asked
        install.server.publish(FIRST)
        async with install.dial() as connection:
            await Gateway(connection).hello()
            await Gateway(connection).takes()


@pytest.mark.parametrize(
    ("token", "status", "reason"),
    [
        ("", 401, "send the token of the pod"),
        ("of another cluster", 401, "does not accept the token"),
        ("for the API server", 401, "not for the audience tidegate-controller"),
        ("of another account", 403, "not of the ServiceAccount of this install's gateways"),
        ("of a pod that is gone", 403, "the pod dp-9 is not known as a gateway"),
        ("while the API server is away", 503, "did not review the token"),
    ],
)
async def test_who_may_not_come_in(token: str, status: int, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as lines:
        async with running() as install:
            install.api.tokens |= {
                "for the API server": token_review(audience="https://kubernetes.default.svc"),
                "of another account": token_review(user="system:serviceaccount:tidegate:default"),
                "of a pod that is gone": token_review("dp-9", "u9"),
                "while the API server is away": OSError(f"POST {token}"),
            }
            answer, body, headers = await refused(install.dial(token))
            assert (answer, reason in body) == (status, True)
            assert ("Retry-After" in headers) == (status == 503)
            assert install.counts.statuses == [status]
            assert not token or token not in body
    assert len(lines) == 1
    assert not token or token not in f"{caplog.text} {lines}"


async def test_who_dials_without_end_does_not_fill_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparing, "LINES", 2)
    with structlog.testing.capture_logs() as lines:
        async with running() as install:
            for _ in range(5):
                await refused(install.dial("of another cluster"))
            assert install.counts.statuses == [401] * 5
    assert len(lines) == 2


async def test_other_paths_are_not_there() -> None:
    async with running() as install:
        assert (await refused(install.dial(path="/v2/tables")))[0] == 404
        assert not install.api.asked


async def test_no_more_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "CONNECTIONS", 1)
    async with running() as install, install.dial() as connection:
        await Gateway(connection).hello()
        status, body, _ = await refused(install.dial("token-1"))
        assert (status, "which is the most" in body) == (503, True)


async def test_those_who_do_not_say_who_they_are_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "CONNECTIONS", 0)
    monkeypatch.setattr(serving, "KNOCKING", 3)
    async with running() as install:
        trusting = ssl.create_default_context(cadata=install.authorities.config()["ca.crt"])
        silent = [
            await asyncio.open_connection("127.0.0.1", install.port, ssl=trusting, server_hostname=NAME)
            for _ in range(4)
        ]
        async with asyncio.timeout(10):
            with suppress(ConnectionResetError):
                assert await silent[3][0].read() == b""
        assert not silent[0][0].at_eof()
        for _, writer in silent:
            writer.transport.abort()


@pytest.mark.parametrize(
    ("said", "code", "reason"),
    [
        ("nonsense", 1008, "no JSON"),
        (b"\x00", 1008, "binary"),
        ('{"type": "holds", "table": "%s"}' % ("0" * 64), 1008, "out of order"),
        ('{"type": "hello", "schemas": [99]}', 1008, "upgrade the data plane"),
        ("x" * 2_000_000, 1009, ""),
    ],
)
async def test_who_breaks_the_dialogue_is_cut_off_with_a_reason(said: str | bytes, code: int, reason: str) -> None:
    async with running() as install, install.dial() as connection:
        await connection.send(said)
        ended = await Gateway(connection).closed()
        assert ended[0] == code
        assert reason in ended[1]
        await install.until(lambda: install.counts.connected == 0)
        async with install.dial("token-1") as other:
            await Gateway(other).hello()
            await Gateway(other).takes()


async def test_a_pod_that_dials_again_takes_the_place_of_its_old_connection() -> None:
    async with running() as install, install.dial() as old, install.dial() as new:
        await Gateway(new).hello()
        await Gateway(new).takes()
        assert await Gateway(old).closed() == (1008, "the pod has dialled again")
        await install.until(lambda: len(install.server.holdings) == 1)
        install.server.publish(SECOND)
        await Gateway(new).takes()


async def test_a_pod_that_is_none_any_more_gets_no_table() -> None:
    async with running() as install, install.dial() as connection:
        await Gateway(connection).hello()
        await Gateway(connection).takes()
        install.pods.clear()
        install.server.publish(SECOND)
        assert await Gateway(connection).closed() == (1008, "the pod is no gateway of this install any more")


async def test_a_controller_that_stops_says_so() -> None:
    async with running() as install, install.dial() as connection:
        gateway = Gateway(connection)
        await gateway.hello()
        stopping = asyncio.create_task(install.server.stop())
        assert await gateway.closed() == (CloseCode.GOING_AWAY, "the controller stops")
        await stopping
        with pytest.raises(OSError, match=r"Connect|refused"):
            await install.dial()


async def test_a_certificate_is_replaced_while_gateways_are_connected() -> None:
    async with running() as install, install.dial() as connection:
        await Gateway(connection).hello()
        await Gateway(connection).takes()
        install.authorities = certificates.kept(None, datetime.now(UTC))
        with pytest.raises(ssl.SSLCertVerificationError):
            await install.dial("token-1")
        install.rotate()
        async with install.dial("token-1") as other:
            await Gateway(other).hello()
            await Gateway(other).takes()
        install.server.publish(SECOND)
        await Gateway(connection).takes()


async def test_refusals_are_seen_by_whoever_asks() -> None:
    async with running() as install, install.dial() as connection:
        gateway = Gateway(connection)
        await gateway.hello()
        offer = await gateway.hears()
        await gateway.says("refuse", table=offer["table"], reasons=["routes.3: too long"])
        await install.until(lambda: any(each.refused for each in install.server.holdings.values()))
        (holding,) = install.server.holdings.values()
        assert holding.refused
        assert holding.refused.reasons == ("routes.3: too long",)


async def test_what_gateways_say_of_providers_is_seen_and_goes_with_them() -> None:
    async with running() as install:
        async with install.dial() as connection:
            gateway = Gateway(connection)
            await gateway.hello()
            await gateway.takes()
            assert install.server.health == {}
            await gateway.says("health", healthy=["ai/voice"])
            await gateway.says("holds", table=FIRST.offered[SCHEMA].table, watermark=mark(9).model_dump())
            await install.until(lambda: any(each.watermark == mark(9) for each in install.server.holdings.values()))
            assert install.server.health == {Pod("dp-0", "u0"): HealthMessage(healthy=("ai/voice",))}
        await install.until(lambda: not install.server.holdings)
        assert install.server.health == {}


async def test_tokens_and_secrets_are_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with running() as install, install.dial() as connection:
        await Gateway(connection).hello()
        await Gateway(connection).takes()
        assert install.server.holdings
    assert SECRET not in caplog.text
    assert TOKEN not in caplog.text


async def test_a_gateway_that_takes_nothing_is_cut_off_and_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "SENDING", 0.2)
    monkeypatch.setattr(serving, "CLOSING", 0.2)
    large = {f"ai/s{number}@1": SecretStr("x" * 500_000) for number in range(40)}
    big = published(table("a").model_copy(update={"secrets": tuple(large)}), large, mark(1))
    async with running(big) as install, install.dial() as stuck, install.dial("token-1") as other:
        await Gateway(stuck).hello()
        offer = await Gateway(stuck).hears()
        stuck.transport.pause_reading()
        await Gateway(stuck).says("want", table=offer["table"], secrets=list(large))
        await Gateway(other).hello()
        await install.until(lambda: install.counts.faults == [True])
        await Gateway(other).takes()
        stuck.transport.abort()
