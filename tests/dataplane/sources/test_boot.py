"""The snapshot as the kubelet mounts it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataplane.sources import boot
from dataplane.table.delta import Unreadable
from tests.dataplane.rig import SECRETS, backend, provider, table
from tests.dataplane.sources.double import published, saved

PUBLISHED = published(table(backend(provider("https://a.test/v1"))), SECRETS, 5)


def mounted(folder: Path, *names: str) -> None:
    """Some of the snapshot's files, through links, as one Secret has them."""
    saved(folder / "..2026_11_22", PUBLISHED)
    (folder / "..data").symlink_to("..2026_11_22", target_is_directory=True)
    for name in names:
        (folder / name).symlink_to(f"..data/{name}")


def test_one_secret(tmp_path: Path) -> None:
    (tmp_path / "boot").mkdir()
    mounted(tmp_path / "boot", "index-2.json", "shard-2-0.gz")
    assert boot.read(tmp_path / "boot").table == PUBLISHED.table


def test_several_secrets_and_one_that_is_not_there(tmp_path: Path) -> None:
    for number, name in enumerate(("index-2.json", "shard-2-0.gz")):
        (tmp_path / str(number)).mkdir()
        mounted(tmp_path / str(number), name)
    (tmp_path / "2").mkdir()
    assert boot.read(tmp_path).table == PUBLISHED.table


def test_nothing_is_mounted(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match=rf"{tmp_path}: index-2\.json is not there"):
        boot.read(tmp_path)
    with pytest.raises(Unreadable, match="nowhere: No such file or directory"):
        boot.read(tmp_path / "nowhere")
