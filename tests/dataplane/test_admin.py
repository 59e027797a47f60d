"""Who may see what on the admin port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from decimal import Decimal

import aiohttp
import pytest
from pydantic import SecretStr

from dataplane import admin, table
from dataplane.admin import Admin
from dataplane.slices import Slices

TABLE = table.Table(
    backends=(
        table.Backend(
            name="ai/voice",
            hash="h1",
            providers=(
                table.Provider(
                    name="openai",
                    kind="openai",
                    url="https://user:S3CRET@api.openai.com/v1?key=S3CRET",
                    credential=table.Credential(kind="secret", secret="ai/key@7#S3CRET"),
                    transformations=(
                        table.Transformation(
                            policy="ai/p",
                            request=table.HeaderOps(set=(table.HeaderValue(name="x-key", value=("S3CRET",)),)),
                        ),
                    ),
                ),
            ),
            models=(table.Model(name="voice", targets=(table.Target(provider="openai"),)),),
            paths=(table.PathType(suffix="/v1/realtime", type=table.RouteType.REALTIME),),
        ),
    ),
    routes=(
        table.Route(
            name="ai/voice",
            hash="h2",
            hostnames=("voice.example.com",),
            forwards=(table.Forward(backend="ai/voice"),),
        ),
    ),
    callers=(table.CallerSet(id="c", namespace="ai", keys=(table.CallerKey(name="bot", sha256="S3CRET"),)),),
    secrets=("ai/key@7#S3CRET",),
)


class Gateway:
    """A gateway of two sessions."""

    def __init__(self) -> None:
        self.loaded: table.Table | None = TABLE
        self.is_ready = True
        self.live = {"s1", "s2/odd id"}
        self.note = ""

    def ready(self) -> bool:
        return self.is_ready

    def table(self) -> table.Table | None:
        return self.loaded

    def listing(self) -> Slices[list[dict[str, object]]]:
        yield
        return [{"id": name, "cost_usd": Decimal("0.01"), "tokens": {"input_text": 3}} for name in sorted(self.live)]

    async def refresh_limits(self) -> str:
        return self.note

    def limits(self) -> Slices[list[dict[str, object]]]:
        yield
        return [{"policy": "ai/p", "limit": "tokens/Day", "subject": "caller:ai/bot", "used": 5}]

    def doing(self, backend: str, provider: str) -> Mapping[str, object]:
        return {"state": "healthy"} if provider == "openai" else {}

    def end_session(self, session_id: str) -> bool:
        found = session_id in self.live
        self.live.discard(session_id)
        return found


class Metrics:
    def exposition(self) -> bytes:
        return b"# HELP x y\n"


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session


@pytest.fixture
async def url(gateway: Gateway) -> AsyncIterator[str]:
    served = Admin(Metrics(), gateway, SecretStr("t0ken"))
    await served.start("127.0.0.1", 0)
    yield f"http://127.0.0.1:{served.port}"
    await served.stop()


PRIVATE = [("GET", "/table"), ("GET", "/sessions"), ("GET", "/limits"), ("DELETE", "/sessions/s1")]


async def test_health(http: aiohttp.ClientSession, url: str) -> None:
    async with http.get(f"{url}/healthz") as response:
        assert (response.status, await response.text()) == (200, "ok\n")


async def test_readiness_says_why_not(http: aiohttp.ClientSession, url: str, gateway: Gateway) -> None:
    async with http.get(f"{url}/readyz") as response:
        assert response.status == 200
    gateway.is_ready = False
    async with http.get(f"{url}/readyz") as response:
        assert (response.status, await response.text()) == (
            503,
            "not ready: it is about to stop, or not listening yet\n",
        )
    gateway.loaded = None
    async with http.get(f"{url}/readyz") as response:
        assert (response.status, await response.text()) == (503, "not ready: no table is loaded yet\n")
    async with http.get(f"{url}/table") as response:
        assert response.status == 503


async def test_metrics(http: aiohttp.ClientSession, url: str) -> None:
    async with http.get(f"{url}/metrics") as response:
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert await response.read() == b"# HELP x y\n"


async def test_the_table_without_secrets(http: aiohttp.ClientSession, url: str) -> None:
    async with http.get(f"{url}/table") as response:
        text = await response.text()
        shown = await response.json()
    assert "S3CRET" not in text
    assert shown["versions"] == TABLE.versions()
    assert shown["routes"] == [
        {
            "name": "ai/voice",
            "hash": "h2",
            "error": "",
            "hostnames": ["voice.example.com"],
            "paths": [{"kind": "prefix", "path": "/"}],
            "forwards": [{"backend": "ai/voice", "weight": 1, "error": ""}],
        }
    ]
    assert shown["backends"] == [
        {
            "name": "ai/voice",
            "hash": "h1",
            "error": "",
            "providers": [
                {
                    "name": "openai",
                    "kind": "openai",
                    "url": "https://api.openai.com/v1",
                    "error": "",
                    "state": "healthy",
                }
            ],
            "models": ["voice"],
            "paths": {"/v1/realtime": "Realtime"},
        }
    ]


async def test_what_is_counted_is_listed(http: aiohttp.ClientSession, url: str) -> None:
    async with http.get(f"{url}/limits") as response:
        shown = await response.json()
    assert shown == {"limits": [{"policy": "ai/p", "limit": "tokens/Day", "subject": "caller:ai/bot", "used": 5}]}


async def test_what_could_not_be_heard_of_is_said(http: aiohttp.ClientSession, url: str, gateway: Gateway) -> None:
    gateway.note = "This may be old."
    async with http.get(f"{url}/limits") as response:
        assert (await response.json())["note"] == "This may be old."


async def test_sessions_are_listed_and_ended(http: aiohttp.ClientSession, url: str, gateway: Gateway) -> None:
    async with http.get(f"{url}/sessions") as response:
        listed = (await response.json())["sessions"]
    assert listed[0] == {"id": "s1", "cost_usd": "0.01", "tokens": {"input_text": 3}}
    async with http.delete(f"{url}/sessions/s2%2Fodd%20id") as response:
        assert (response.status, await response.json()) == (202, {"ending": "s2/odd id"})
    assert gateway.live == {"s1"}
    async with http.delete(f"{url}/sessions/s2") as response:
        assert response.status == 404
        assert "GET /sessions" in (await response.json())["error"]["message"]


@pytest.mark.parametrize(("method", "path"), PRIVATE)
@pytest.mark.parametrize("host", ["localhost", "localhost:9090", "127.0.0.1:9090", "[::1]:9090", "10.0.0.7"])
async def test_loopback_may_under_a_name_that_nobody_can_fake(
    http: aiohttp.ClientSession, url: str, method: str, path: str, host: str
) -> None:
    async with http.request(method, url + path, headers={"Host": host}) as response:
        assert response.status < 300


@pytest.mark.parametrize(("method", "path"), PRIVATE)
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:9090"},
        {"Host": "localhost.evil.example"},
        {"Host": "[oops"},
        {"Host": ""},
        {"Origin": "https://evil.example"},
        {"Origin": "http://10.0.0.7"},
        {"Origin": "null"},
        {"Host": "evil.example", "Authorization": "Bearer wrong"},
        {"Host": "evil.example", "Authorization": "Basic t0ken"},
    ],
)
async def test_web_pages_that_reach_loopback_may_not(
    http: aiohttp.ClientSession, url: str, gateway: Gateway, method: str, path: str, headers: dict[str, str]
) -> None:
    async with http.request(method, url + path, headers=headers) as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert "Authorization: Bearer TOKEN" in (await response.json())["error"]["message"]
    assert "s1" in gateway.live


async def test_a_page_of_the_admin_port_itself_may(http: aiohttp.ClientSession, url: str) -> None:
    async with http.get(f"{url}/sessions", headers={"Origin": url}) as response:
        assert response.status == 200


@pytest.mark.parametrize(("method", "path"), PRIVATE)
async def test_others_may_with_the_token(http: aiohttp.ClientSession, url: str, method: str, path: str) -> None:
    headers = {"Host": "gateway.example.com", "Authorization": "bearer t0ken"}
    async with http.request(method, url + path, headers=headers) as response:
        assert response.status < 300


@pytest.mark.parametrize("token", [None, SecretStr("")])
async def test_without_a_token_there_is_no_way_in_from_outside(
    http: aiohttp.ClientSession, gateway: Gateway, token: SecretStr | None
) -> None:
    served = Admin(Metrics(), gateway, token)
    await served.start("127.0.0.1", 0)
    for shown in ("Bearer ", "Bearer", ""):
        headers = {"Host": "gateway.example.com", "Authorization": shown}
        async with http.get(f"http://127.0.0.1:{served.port}/table", headers=headers) as response:
            assert response.status == 403
    await served.stop()


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.7", False),
        ("::ffff:10.0.0.7", False),
        ("fe80::1%eth0", False),
        ("", False),
        ("/run/admin.sock", False),
    ],
)
def test_loopback_is_recognised(address: str, local: bool) -> None:
    assert admin._is_loopback(address) is local


async def test_the_port_is_known_while_open(gateway: Gateway) -> None:
    served = Admin(Metrics(), gateway)
    with pytest.raises(RuntimeError, match="not open"):
        _ = served.port
    await served.stop()
