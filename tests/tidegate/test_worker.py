"""The process that compiles beside a gateway: what it is told and tells, and that nothing is lost with it."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dataplane.table import delta
from simulator.server import Simulator
from tests.tidegate import files
from tests.tidegate.processes import PATIENCE_S, running
from tests.tidegate.test_standalone import ask, serving
from tidegate import worker as workers
from tidegate.compiling import Batch, Compiler, Job
from tidegate.documents import Documents
from tidegate.worker import Failed, Worker

NEW = pickle.dumps(Documents({}))
OTHER = """
apiVersion: tidegate.dev/v1alpha1
kind: Backend
metadata: {{name: other, namespace: ai}}
spec:
  providers: [{{name: one, openai: {{}}, auth: {{secretRef: {{name: openai}}}}}}]
  models: [{{name: voice, targets: [{{provider: one, model: {model}}}]}}]
"""


def job(folder: Path, base: str = "", key: str = "sk-1") -> Job:
    return Job([folder], {**files.ENVIRONMENT, "OPENAI_API_KEY": key}, open_by_default=True, base=base)


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    made = Worker()
    yield made
    await made.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "voice.yaml").write_text(files.voice("http://127.0.0.1:1"))
    (tmp_path / "other.yaml").write_text(OTHER.format(model="a"))
    return tmp_path


def pid(worker: Worker) -> int:
    assert worker._process
    return worker._process.pid


def names(batches: list[Batch]) -> list[str]:
    return [delta.read(part).name for batch in batches for part in batch.parts if part.kind == "backend"]  # type: ignore[union-attr]


async def test_only_what_differs_from_what_is_served_is_sent(worker: Worker, folder: Path) -> None:
    first, second, third, fourth = ([] for _ in range(4))  # type: ignore[var-annotated]
    one = await worker.run(job(folder), NEW, first.append)
    assert sorted(names(first)) == ["ai/other", "ai/voice"]
    assert [list(batch.secrets) for batch in first if batch.secrets] == [["ai/openai/Authorization@1"]]
    (folder / "other.yaml").write_text(OTHER.format(model="b"))
    two = await worker.run(job(folder, one.id), one.memory, second.append)
    assert names(second) == ["ai/other"]
    assert not any(batch.secrets for batch in second)
    await worker.run(job(folder, one.id), two.memory, third.append)  # the second was refused
    assert sorted(names(third)) == ["ai/other", "ai/voice"]
    assert two.versions != one.versions
    rotated = await worker.run(job(folder, "", key="sk-2"), two.memory, fourth.append)
    assert "ai/openai/Authorization@2" in rotated.outline.secrets


async def test_errors_in_files_are_told_and_nothing_is_sent(worker: Worker, folder: Path) -> None:
    (folder / "bad.yaml").write_text("kind: [")
    batches: list[Batch] = []
    outcome = await worker.run(job(folder), NEW, batches.append)
    assert "bad.yaml:2:1" in outcome.errors[0]
    assert not batches


async def test_another_takes_over_from_one_that_has_died(worker: Worker, folder: Path) -> None:
    outcome = await worker.run(job(folder, key="sk-1"), NEW, lambda _: None)
    outcome = await worker.run(job(folder, key="sk-2"), outcome.memory, lambda _: None)
    died = pid(worker)
    os.kill(died, signal.SIGKILL)
    batches: list[Batch] = []
    again = await worker.run(job(folder, outcome.id, key="sk-2"), outcome.memory, batches.append)
    assert pid(worker) != died
    assert again.versions == outcome.versions, "it knows that this is the second version of the Secret"
    assert sorted(names(batches)) == ["ai/other", "ai/voice"]


async def test_a_failure_that_nobody_foresaw_is_told_and_costs_only_its_job(worker: Worker, folder: Path) -> None:
    impossible = Job([folder], {}, open_by_default=True, base=None)  # type: ignore[arg-type]
    await worker.run(impossible, NEW, lambda _: None)
    with pytest.raises(Failed, match="nobody foresaw") as failed:
        await worker.run(Job(None, {}, open_by_default=True), NEW, lambda _: None)  # type: ignore[arg-type]
    assert "Traceback" in str(failed.value)
    assert (await worker.run(job(folder), NEW, lambda _: None)).versions


async def test_one_that_does_not_answer_is_not_waited_for(
    worker: Worker, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = await worker.run(job(folder), NEW, lambda _: None)
    stuck = pid(worker)
    os.kill(stuck, signal.SIGSTOP)
    monkeypatch.setattr(workers, "PATIENCE", 0.2)
    with pytest.raises(Failed, match="within 0 s"):
        await worker.run(job(folder, outcome.id), outcome.memory, lambda _: None)
    monkeypatch.setattr(workers, "PATIENCE", 60)
    assert (await worker.run(job(folder), outcome.memory, lambda _: None)).versions == outcome.versions
    assert pid(worker) != stuck


async def test_signals_to_the_group_do_not_end_it(worker: Worker, folder: Path) -> None:
    outcome = await worker.run(job(folder), NEW, lambda _: None)
    same = pid(worker)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(same, number)
    await worker.run(job(folder, outcome.id), outcome.memory, lambda _: None)
    assert pid(worker) == same


async def test_a_change_is_used_although_the_process_has_died(tmp_path: Path, simulator: Simulator) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice(simulator.url))
    async with serving(path) as served:
        await served.reload()
        os.kill(pid(served._source._worker), signal.SIGKILL)
        path.write_text("# nothing\n")
        await served.reload()
        assert await ask(served) == 404


async def test_what_was_read_from_a_pipe_stays(tmp_path: Path, simulator: Simulator) -> None:
    """It comes once, and other files change."""
    (tmp_path / "voice.yaml").write_text(files.voice(simulator.url))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "keys.yaml").write_text("# nothing yet\n")
    script = (
        "import subprocess, sys; "
        "p = subprocess.Popen(['cat', sys.argv[1]], stdout=subprocess.PIPE); f = p.stdout.fileno(); "
        "import os; os.set_inheritable(f, True); "
        "os.execv(sys.executable, [sys.executable, '-m', 'tidegate', 'serve', '-f', f'/dev/fd/{f}', '-f', sys.argv[2],"
        " '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--log-format', 'console'])"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path / "voice.yaml"), str(tmp_path / "more"),
        env={**os.environ, **files.ENVIRONMENT}, stdout=-1, stderr=-2,
    )  # fmt: skip
    assert process.stdout
    try:
        async with asyncio.timeout(PATIENCE_S):
            await process.stdout.readuntil(b"serves http://")
            (tmp_path / "more" / "keys.yaml").write_text(OTHER.format(model="a"))
            line = await process.stdout.readuntil(b"reloaded ")
            line += await process.stdout.readline()
        assert b"routes=2" in line
    finally:
        process.kill()
        await process.wait()


async def test_it_ends_with_the_gateway_however_that_ends(tmp_path: Path, simulator: Simulator) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice(simulator.url))
    arguments = ("-f", str(path), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    async with running("serve", *arguments, **files.ENVIRONMENT) as gateway:
        await gateway.until("serves http")
        path.write_text(files.voice(simulator.url, files.KEYS))
        await gateway.until("reloaded ")
        (child,) = Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children").read_text().split()
        gateway.process.kill()
        async with asyncio.timeout(PATIENCE_S):
            while _runs(child):
                await asyncio.sleep(0.01)


def _runs(process: str) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False


def test_a_file_that_is_as_it_was_is_not_read_again(folder: Path) -> None:
    compiler = Compiler(Documents({}))
    outcome, _ = compiler.run(job(folder))
    before = compiler._before
    (folder / "other.yaml").write_text(OTHER.format(model="b"))
    _, batches = compiler.run(job(folder, outcome.id))
    assert names(list(batches)) == ["ai/other"]
    assert before
    assert compiler._before
    assert before.objects
    assert compiler._before.objects
    key = ("ai", "voice")
    assert compiler._before.objects.backends[key] is before.objects.backends[key]
    assert compiler._before.objects.backends["ai", "other"] is not before.objects.backends["ai", "other"]


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as started:
        yield started
