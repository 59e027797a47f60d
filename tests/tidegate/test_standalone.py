"""The composition root in this process: what a load does to the table that is served."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from ipaddress import IPv4Network, ip_network
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from dataplane.snapshot import Snapshot
from simulator.server import Simulator
from tests.tidegate import files
from tidegate.addresses import Address
from tidegate.documents import Documents
from tidegate.loading import NotLoaded
from tidegate.standalone import Options, Standalone

ASK = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hello"}]}
FREE = Address("127.0.0.1", 0)


@asynccontextmanager
async def serving(
    path: Path, listen: Address = FREE, environ: Mapping[str, str] = files.ENVIRONMENT
) -> AsyncIterator[Standalone]:
    served = Standalone(Options([path], listen, FREE), Documents(environ))
    await served.start()
    try:
        yield served
    finally:
        await served.stop()


async def ask(served: Standalone, **headers: str) -> int:
    """The status of a chat completion."""
    async with aiohttp.ClientSession() as http:
        url = f"http://{served.address.reachable}/v1/chat/completions"
        async with http.post(url, json=ASK, headers=headers) as reply:
            return reply.status


WITH_A_MISTAKE = """\
---
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {name: budget, namespace: ai}
spec:
  targetRefs: [{group: tidegate.dev, kind: Backend, name: voice}]
  limits: {sesions: 2}
"""


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as started:
        yield started


async def test_callers_need_no_key_on_loopback_and_a_policy_elsewhere(tmp_path: Path, simulator: Simulator) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice(simulator.url))
    async with serving(path) as served:
        assert await ask(served) == 200
        assert served.problems() == []
    async with serving(path, Address("0.0.0.0", 0)) as served:
        assert await ask(served) == 401
        assert "NoPolicy" in served.problems()[0]
        path.write_text(files.voice(simulator.url, files.KEYS))
        await served.reload()
        assert await ask(served) == 401
        assert await ask(served, Authorization=f"Bearer {files.CALLER_KEY}") == 200
        assert served.problems() == []


async def test_a_policy_with_a_mistake_closes_its_backend_and_the_log_says_so(
    tmp_path: Path, simulator: Simulator
) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice(simulator.url, files.KEYS + WITH_A_MISTAKE))
    async with serving(path) as served:
        assert await ask(served, Authorization=f"Bearer {files.CALLER_KEY}") == 500
        (told,) = [each for each in served.problems() if each.startswith("Backend ")]
        assert "Closed: Requests are answered 500: Policy ai/budget is not accepted" in told


@pytest.mark.parametrize("bad", ["kind: [", "kind: Backend\n", "apiVersion: tidegate.dev/v9\nkind: Backend\n"])
async def test_a_file_that_cannot_be_read_changes_nothing(tmp_path: Path, simulator: Simulator, bad: str) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice(simulator.url))
    async with serving(tmp_path) as served:
        before = served.gateway.table()
        (tmp_path / "bad.yaml").write_text(bad)
        with pytest.raises(NotLoaded, match=r"bad\.yaml"):
            await served.load()
        assert served.gateway.table() is before
        assert await ask(served) == 200


async def test_an_object_that_is_not_valid_costs_only_itself(tmp_path: Path, simulator: Simulator) -> None:
    path = tmp_path / "voice.yaml"
    good = files.voice(simulator.url)
    path.write_text(good)
    async with serving(path) as served:
        path.write_text(good + "---\n" + files.voice(simulator.url, name="other").replace("openai: {}", "opnai: {}"))
        await served.reload()
        assert any(
            "spec.providers[0].opnai" in problem and "Backend ai/other" in problem for problem in served.problems()
        )
        async with aiohttp.ClientSession() as http:
            base = f"http://{served.address}/ai"
            async with http.post(f"{base}/voice/v1/chat/completions", json=ASK) as reply:
                assert reply.status == 200
            async with http.post(f"{base}/other/v1/chat/completions", json=ASK) as reply:
                assert reply.status == 500


@pytest.mark.parametrize(("networks", "status"), [((), 502), ((ip_network("0.0.0.0/32"),), 200)])
async def test_upstreams_outside_loopback_have_to_be_allowed(
    tmp_path: Path, simulator: Simulator, networks: tuple[IPv4Network, ...], status: int
) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice(f"http://0.0.0.0:{simulator.port}"))
    served = Standalone(Options([path], FREE, FREE, upstreams_allow=networks), Documents(files.ENVIRONMENT))
    await served.start()
    try:
        assert await ask(served) == status
    finally:
        await served.stop()


async def test_a_key_that_is_rotated_is_used(tmp_path: Path, simulator: Simulator) -> None:
    path = tmp_path / "voice.yaml"
    environ = {**files.ENVIRONMENT, "OPENAI_API_KEY": "sk-old"}
    path.write_text(files.voice(simulator.url))
    async with serving(path, environ=environ) as served:
        assert await ask(served) == 502
        before = served.gateway.table().versions()
        environ["OPENAI_API_KEY"] = files.UPSTREAM_KEY
        await served.reload()
        assert await ask(served) == 200
        assert served.gateway.table().versions() != before


async def test_a_failure_that_nobody_foresaw_keeps_what_is_served(
    tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice(simulator.url))

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    async with serving(path) as served:
        with monkeypatch.context() as patched:
            patched.setattr(Snapshot, "building", fails)
            await served.reload()
        assert await ask(served) == 200
        await served.reload(asked=True)
    out = "".join(capfd.readouterr())
    assert "the reload failed" in out
    assert "Traceback" in out
    assert "] reloaded " in out, "that all is well again is said"


async def test_a_file_of_0_bytes_is_taken_as_being_written(
    tmp_path: Path, simulator: Simulator, capfd: pytest.CaptureFixture[str]
) -> None:
    """Shells empty a file before they write it (`> voice.yaml`)."""
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice(simulator.url))
    async with serving(path) as served:
        path.write_text("")
        await served.reload()
        await served.reload()
        assert await ask(served) == 200
        path.write_text(files.voice(simulator.url))
        await served.reload()
    out = "".join(capfd.readouterr())
    assert f"{path}: is empty, as if it were just being written; to stop serving what it held, leave only a com" in out
    assert out.count("] reloaded ") == 1, "that it is served again is said, although nothing has changed"


async def test_a_folder_without_files_is_taken_as_being_written(
    tmp_path: Path, simulator: Simulator, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "voice.yaml").write_text(files.voice(simulator.url))
    (tmp_path / "keys.yaml").write_text(files.KEYS)
    async with serving(tmp_path) as served:
        (tmp_path / "keys.yaml").unlink()
        await served.reload()
        assert await ask(served) == 200, "one that is gone, beside others, was removed"
        (tmp_path / "voice.yaml").unlink()
        await served.reload()
        assert await ask(served) == 200
        (tmp_path / "none.yaml").write_text("# nothing\n")
        await served.reload()
        assert await ask(served) == 404
    assert f"{tmp_path}: has no *.yaml, *.yml, *.json file any more, as if it were" in "".join(capfd.readouterr())


@pytest.mark.parametrize("left", ["# nothing\n", "\n", "---\n"])
async def test_a_file_that_holds_nothing_any_more_serves_nothing_and_it_is_said(
    tmp_path: Path, simulator: Simulator, capfd: pytest.CaptureFixture[str], left: str
) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice(simulator.url))
    async with serving(path) as served:
        path.write_text(left)
        await served.reload()
        assert await ask(served) == 404
    assert "nothing is served" in "".join(capfd.readouterr())


async def test_an_empty_file_to_begin_with_is_no_error(tmp_path: Path, simulator: Simulator) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text("")
    async with serving(path) as served:
        assert await ask(served) == 404
        path.write_text(files.voice(simulator.url))
        await served.reload()
        assert await ask(served) == 200


async def test_a_key_that_has_expired_is_named_in_the_log_once(tmp_path: Path) -> None:
    path = tmp_path / "voice.yaml"
    keys = files.KEYS.replace('"${CALLER_KEY}"', '\'{"key": "${CALLER_KEY}", "expires": "2026-01-31T12:00:00Z"}\'')
    with capture_logs() as lines:
        path.write_text(files.voice("http://127.0.0.1:9", keys))
        async with serving(path) as served:
            path.write_text(files.voice("http://127.0.0.1:9", keys, "---\n# another text\n"))
            await served.reload(asked=True)
    told = [line["keys"] for line in lines if line["event"].startswith("keys have expired")]
    assert told == [['Secret ai/callers, entry "laptop" (2026-01-31T12:00:00Z)']]
    assert files.CALLER_KEY not in str(lines)
