"""Request smuggling behind proxies that nobody here wrote: the table of tests/dataplane/payloads.py through nginx and
HAProxy, which keep one connection to the gateway for all of their clients.

After each payload other clients ask for something of their own. The gateway must never see more requests than the
proxy sent, nothing may reach the provider that the proxy did not see as a request, and everybody gets their own answer.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import processes
import pytest
from conftest import ROOT
from fronts import FRONTS, Front
from processes import Process

from tests.dataplane.marker import Marker
from tests.dataplane.payloads import HOST, KEY, ONE, TABLE

PATIENCE = 10.0
VICTIMS = 2
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
CODE = re.compile(rb'"error":\{"message":.*?"code":"(\w+)"\}')
COUNTED = re.compile(r"^tidegate_http_requests_total\{.*\} (\S+)$", re.MULTILINE)
DOCUMENTED = set(
    re.findall(r"^\| (\d{3}) \| `(\w+)` \|", (ROOT / "docs/reference/errors.md").read_text(), re.MULTILINE)
)


async def send(port: int, data: bytes) -> bytes:
    """Everything that is answered, until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        writer.write(data)
        async with asyncio.timeout(PATIENCE):
            while more := await reader.read(65536):
                answer += more
    except ConnectionError:  # refused before all of it was read
        pass
    finally:
        writer.transport.abort()
    return answer


@dataclass
class Stand:
    front: Front
    gateway: Process
    marker: Marker
    counted: int = 0
    victims: int = 0
    passed: int = 0
    """Requests of payloads that the front sent on."""

    async def complaints(self, data: bytes) -> list[str]:
        """What is wrong after this payload."""
        answer = await send(self.front.port, data)
        wrong = [
            f"undocumented: {status} {code}" for status, code in refusals(answer) if (status, code) not in DOCUMENTED
        ]
        wrong += [complaint for _ in range(VICTIMS) if (complaint := await self._victim())]
        forwarded = self.front.forwarded()
        self.passed += len(forwarded) - VICTIMS
        seen, self.marker.seen = self.marker.seen, []
        if more := Counter(seen) - Counter(map(plain, forwarded)):
            wrong.append(f"the provider saw {more}, the front {forwarded}")
        if (requests := await self._requests()) > len(forwarded):
            wrong.append(f"the gateway saw {requests} requests, the front {forwarded}")
        if self.marker.faults:
            wrong.append(f"the provider got {self.marker.faults}")
            self.marker.faults = []
        return wrong

    async def _victim(self) -> str:
        """Somebody else's request; a complaint where it is not answered as it should be."""
        self.victims += 1
        target = f"/v1/echo/victim-{self.victims}"
        answer = await send(self.front.port, f"GET {target} HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n".encode())
        head, _, body = answer.partition(b"\r\n\r\n")
        sound = STATUS.findall(answer) == [b"200"] and body == target.encode()
        return "" if sound else f"victim {self.victims} got {head!r} {body!r}"

    async def _requests(self) -> int:
        """How many requests the gateway counted since the last call."""
        exposition = await asyncio.to_thread(processes.fetch, f"http://{self.gateway.ports['admin']}/metrics")
        before, self.counted = self.counted, sum(int(float(value)) for value in COUNTED.findall(exposition))
        return self.counted - before


def plain(target: str) -> str:
    """A target in origin form."""
    rest = re.sub(r"^[a-z]+://[^/?]*", "", target)
    return rest if rest.startswith("/") else f"/{rest}"


def refusals(answer: bytes) -> list[tuple[str, str]]:
    """Status and code of the gateway's own refusals."""
    codes = [code.decode() for code in CODE.findall(answer)]
    statuses = [status.decode() for status in STATUS.findall(answer) if status >= b"400"]
    return list(zip(statuses[: len(codes)], codes, strict=False))


@pytest.mark.parametrize("name", FRONTS)
async def test_no_request_is_seen_twice_or_by_another(name: str, tmp_path: Path) -> None:
    async with Marker() as marker:
        with ExitStack() as ends:
            gateway = processes.start_gateway(tmp_path, {"MARKER": marker.url}, config="hygiene.yaml", key=KEY)
            ends.callback(gateway.stop)
            front = FRONTS[name](tmp_path, gateway.ports["url"])
            ends.callback(front.stop)
            stand = Stand(front, gateway, marker)
            assert await stand.complaints(f"GET {ONE} HTTP/1.1\r\n{HOST}\r\n".encode()) == []
            complaints = {each: await stand.complaints(payload.data) for each, payload in TABLE.items()}
    assert {each: wrong for each, wrong in complaints.items() if wrong} == {}
    assert stand.passed >= 100, "the front lets too little through for this to mean anything"
    assert gateway.popen.returncode == 0
    processes.assert_quiet(gateway.text(), "the log of the gateway")
    assert KEY not in gateway.text()
