"""A table with its secrets as files, which a data plane starts from where no controller answers.

A controller keeps them in Secrets of its own namespace, which are mounted. Of each schema there is an index, and the
table in as many shards as it takes: a Secret holds a megabyte. The checksum is there because files of several Secrets
do not change in one moment.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Final, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from dataplane.table import Secrets
from dataplane.table.delta import Hash, Kind, Outline, Unreadable, Written, first_fault, table_hash
from dataplane.table.entry import canonical
from dataplane.table.schemas import SERVED
from dataplane.table.watermark import Watermark

SHARD: Final = 700 * 1024
"""Bytes."""
LARGEST: Final = 512 * 1024 * 1024
"""Bytes of a table that is read; of 5,000 routes it has some 5 million."""
_GZIP: Final = 16 + zlib.MAX_WBITS


class _Index(BaseModel):
    model_config = ConfigDict(frozen=True)

    schema_number: int = Field(alias="schema")
    shards: int = Field(ge=1, le=1000)
    sha256: Hash
    """Of the shards, one after the other."""


class _Content(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    watermark: Watermark
    outline: Outline
    parts: list[tuple[Kind, Hash, dict[str, object]]]
    secrets: Annotated[dict[str, SecretStr], Field(repr=False)]


class Bundle(NamedTuple):
    """What the files hold. Its text shows no secret."""

    table: str
    """The table's hash."""
    watermark: Watermark
    outline: Outline
    parts: list[Written]
    secrets: Secrets


def packed(outline: Outline, parts: Iterable[Written], secrets: Secrets, watermark: Watermark) -> dict[str, bytes]:
    """The files by their names; of equal tables they are equal."""
    content = {
        "watermark": watermark.model_dump(),
        "outline": outline.plain(),
        "parts": sorted((part.kind, part.hash, orjson.Fragment(part.json)) for part in parts),
        "secrets": {name: secrets[name].get_secret_value() for name in outline.secrets},
    }
    packer = zlib.compressobj(wbits=_GZIP)
    data = packer.compress(canonical(content)) + packer.flush()
    shards = [data[start : start + SHARD] for start in range(0, len(data), SHARD)]
    schema = outline.schema_number
    index = {"schema": schema, "shards": len(shards), "sha256": hashlib.sha256(data).hexdigest()}
    return {_index(schema): canonical(index), **{_shard(schema, at): shard for at, shard in enumerate(shards)}}


def unpacked(files: Mapping[str, bytes]) -> Bundle:
    """The table in the best schema that can be read. Raises Unreadable, with the reason for each schema."""
    reasons: list[str] = []
    for schema in SERVED:
        try:
            return _read(files, schema)
        except Unreadable as error:
            reasons.append(str(error))
    raise Unreadable("; ".join(reasons))


def _read(files: Mapping[str, bytes], schema: int) -> Bundle:
    content = _content(_whole(files, schema))
    if content.outline.schema_number != schema:
        raise Unreadable(f"{_index(schema)} is of schema {content.outline.schema_number}")
    return Bundle(
        table_hash(content.outline),
        content.watermark,
        content.outline,
        [Written(kind, name, canonical(value)) for kind, name, value in content.parts],
        content.secrets,
    )


def _whole(files: Mapping[str, bytes], schema: int) -> bytes:
    """The shards, one after the other."""
    name = _index(schema)
    if name not in files:
        raise Unreadable(f"{name} is not there")
    try:
        index = _Index.model_validate_json(files[name])
    except ValidationError as error:
        raise Unreadable(f"{name}: {first_fault(error)}") from None
    names = [_shard(schema, at) for at in range(index.shards)]
    if missing := [each for each in names if each not in files]:
        raise Unreadable(f"{', '.join(missing[:3])} of {len(names)} shards: not there")
    data = b"".join(files[each] for each in names)
    if hashlib.sha256(data).hexdigest() != index.sha256:
        raise Unreadable(f"the shards are not those of {name}: they were changed just now, or damaged")
    return data


def _content(data: bytes) -> _Content:
    unpacker = zlib.decompressobj(wbits=_GZIP)
    try:
        plain = unpacker.decompress(data, LARGEST)
        if unpacker.unconsumed_tail:
            raise Unreadable(f"the table has more than {LARGEST:,} bytes")
        return _Content.model_validate(orjson.loads(plain))
    except zlib.error as error:
        raise Unreadable(f"the shards are no gzip: {error}") from None
    except orjson.JSONDecodeError:
        raise Unreadable("the table is no JSON") from None
    except ValidationError as error:
        raise Unreadable(f"the table: {first_fault(error)}") from None


def _index(schema: int) -> str:
    return f"index-{schema}.json"


def _shard(schema: int, at: int) -> str:
    return f"shard-{schema}-{at}.gz"
