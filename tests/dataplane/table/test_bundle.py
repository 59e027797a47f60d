"""The snapshot that a data plane starts from, and what may be wrong with it."""

from __future__ import annotations

import hashlib
import random
import zlib
from collections.abc import Callable

import orjson
import pytest
from pydantic import SecretStr

from dataplane.table import CallerKey, CallerSet, Table, bundle, delta, schemas
from dataplane.table.delta import Unreadable
from dataplane.table.watermark import Watermark
from tests.dataplane.rig import SECRETS, backend, provider, table

SERVED = table(backend(provider("https://a.test/v1")))
AT = Watermark(epoch=2, versions={"backends": 7})


def packed(served: Table = SERVED) -> dict[str, bytes]:
    outline, parts = delta.outlined(served)
    return bundle.packed(outline, delta.written(parts), {**SECRETS, "other": SecretStr("x")}, AT)


def unpacked(files: dict[str, bytes]) -> Table:
    found = bundle.unpacked(files)
    assert delta.table_hash(found.outline) == found.table
    return delta.assembled(found.outline, {part.hash: delta.read(part) for part in found.parts})


def test_it_is_what_it_was() -> None:
    assert unpacked(packed()) == SERVED
    found = bundle.unpacked(packed())
    assert found.watermark == AT
    assert found.secrets == SECRETS, "those that the table uses"
    assert packed() == packed()


def test_a_large_one_has_shards() -> None:
    keys = (CallerKey(name=f"key-{n}", sha256=random.randbytes(32).hex()) for n in range(30_000))
    callers = CallerSet(id="large", namespace="ai", keys=tuple(keys))
    large = SERVED.model_copy(update={"callers": (*SERVED.callers, callers)})
    files = packed(large)
    assert len(files) > 2
    assert all(len(data) <= bundle.SHARD for data in files.values())
    assert unpacked(files) == large
    del files["shard-2-1.gz"]
    with pytest.raises(Unreadable, match=r"shard-2-1\.gz of 2 shards: not there"):
        bundle.unpacked(files)


def test_the_best_schema_that_can_be_read() -> None:
    lowered = schemas.lowered(SERVED, 1)
    assert unpacked({**packed(), **packed(lowered)}).schema_number == 2
    assert unpacked({**packed(), **packed(lowered), "index-2.json": b""}).schema_number == 1


def rewritten(change: Callable[[bytes], bytes]) -> dict[str, bytes]:
    """With other content, and the checksum of that."""
    plain = zlib.decompress(packed()["shard-2-0.gz"], wbits=31)
    packer = zlib.compressobj(wbits=31)
    return signed(packer.compress(change(plain)) + packer.flush())


def signed(data: bytes) -> dict[str, bytes]:
    index = {"schema": 2, "shards": 1, "sha256": hashlib.sha256(data).hexdigest()}
    return {"index-2.json": orjson.dumps(index), "shard-2-0.gz": data}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, r"index-2\.json is not there; index-1\.json is not there"),
        ({"index-2.json": b"{"}, r"index-2\.json: it: Invalid JSON"),
        ({"index-2.json": b'{"schema":2}'}, r"index-2\.json: shards: Field required"),
        ({**packed(), "shard-2-0.gz": b"other"}, "the shards are not those of index-2"),
        (signed(b"no gzip"), "the shards are no gzip"),
        (rewritten(lambda plain: plain[:-1]), "the table is no JSON"),
        (rewritten(lambda plain: plain.replace(b'"outline"', b'"sk-1"')), "the table: outline: Field required"),
        (rewritten(lambda plain: plain.replace(b'"schema":2', b'"schema":1')), "is of schema 1"),
        (rewritten(lambda plain: plain.replace(b'"Bearer sk-simulator"', b'["sk-1"]')), "should be a valid string"),
    ],
)
def test_what_cannot_be_read(files: dict[str, bytes], words: str) -> None:
    with pytest.raises(Unreadable, match=words) as raised:
        bundle.unpacked(files)
    assert "sk-" not in str(raised.value)


def test_more_than_a_table_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "LARGEST", 10)
    with pytest.raises(Unreadable, match="more than 10 bytes"):
        bundle.unpacked(packed())
