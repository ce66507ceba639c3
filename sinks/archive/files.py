"""The archive's Avro object container files: their schema, the head that describes each, and reading them.

A head holds all the facts of the file's manifest entry, so the manifest can be rebuilt from the files
(docs/decisions/0009-archive.md). sinks/archive/file_writer.py writes files.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, BinaryIO, Literal

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form
from pydantic import TypeAdapter

from schemas import avro
from schemas.avro import Avro
from schemas.errors import HeadraceError
from schemas.tables import Mode, Table
from sinks.archive.manifest import ArchivedFile
from sinks.archive.store import Missing, Store

Codec = Literal["zstandard", "deflate"]
Datum = dict[str, Any]

BLOCK_BYTES = (
    128 << 10
)  # of a block before compression: larger ones compress little better, and each open file buffers one
ORIGIN = ("_topic", "_partition", "_offset", "_epoch")  # where an event was captured
HEAD = "headrace"  # the name of our description in a file's metadata
CHUNK = 1 << 20


class FileDamaged(HeadraceError):
    """A file of the archive is not what its manifest entry says. See docs/runbook.md#file-damaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """The facts shared by all files of one commit.

    `files` is their number, `replaces` names the files that they replace, and `offsets` are the manifest's offsets once
    the commit is done: (topic id, first offset that is not archived) by `topic/partition`.
    """

    id: str
    files: int
    replaces: tuple[str, ...] = ()
    offsets: dict[str, tuple[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A file's description of itself: its manifest entry, with size and SHA-256 of the body alone, and its commit."""

    file: ArchivedFile
    commit: Commit


HEAD_TYPE: TypeAdapter[Head] = TypeAdapter(Head)


@lru_cache
def schema(table: Table) -> Avro:
    """Return the Avro schema of a table's files: its columns, and for events the columns of ORIGIN."""
    fields = avro.fields(table.columns)
    if table.mode is Mode.EVENT:
        types = ("string", "int", "long", "int")
        fields += [{"name": name, "type": type_} for name, type_ in zip(ORIGIN, types, strict=True)]
    return {"type": "record", "name": table.name, "namespace": "headrace.archive", "fields": fields}


@lru_cache
def schema_fingerprint(table: Table) -> str:
    """Return the SHA-256 of the schema's canonical form.

    https://avro.apache.org/docs/1.12.0/specification/#parsing-canonical-form-for-schemas
    """
    return str(fingerprint(to_parsing_canonical_form(schema(table)), "SHA-256"))


def read(store: Store, file: ArchivedFile | str) -> Iterator[Datum]:
    """Yield the records of a file, in its order. Raises FileDamaged, Unavailable."""
    name = file if isinstance(file, str) else file.name
    with _opened(store, name) as stream:
        try:
            yield from fastavro.reader(stream)  # type: ignore[misc]  # a record's schema gives mappings
        except HeadraceError:
            raise
        except Exception as error:  # any error of a codec or schema means that the content is damaged
            raise FileDamaged(f"{store.url}/{name} can't be read: {error}. {_RUNBOOK}") from None


def verify_file(store: Store, file: ArchivedFile) -> None:
    """Compare size and SHA-256 of a file with its manifest entry. Raises FileDamaged where they differ, Unavailable."""
    found, size = hashlib.sha256(), 0
    with _opened(store, file.name) as stream:
        while chunk := stream.read(CHUNK):
            found.update(chunk)
            size += len(chunk)
    if (size, found.hexdigest()) != (file.size, file.sha256):
        raise FileDamaged(f"{store.url}/{file.name} is not what was written: {size} bytes of {file.size}. {_RUNBOOK}")


def read_head(store: Store, name: str, size: int) -> Head:
    """Read the head of a file of `size` bytes, and complete its `file` to a whole manifest entry.

    Raises FileDamaged where the body doesn't match the head, Unavailable.
    """
    with _opened(store, name) as stream:
        try:
            head = HEAD_TYPE.validate_json(fastavro.reader(stream).metadata[HEAD])
        except HeadraceError:
            raise
        except Exception as error:  # as `read` does
            raise FileDamaged(f"{store.url}/{name} has no readable head: {error}. {_RUNBOOK}") from None
    whole, body = hashlib.sha256(), hashlib.sha256()
    with _opened(store, name) as stream:
        whole.update(stream.read(size - head.file.size))
        while chunk := stream.read(CHUNK):
            whole.update(chunk)
            body.update(chunk)
    if body.hexdigest() != head.file.sha256:
        raise FileDamaged(f"{store.url}/{name} is not what was written. {_RUNBOOK}")
    return replace(head, file=replace(head.file, name=name, size=size, sha256=whole.hexdigest()))


_RUNBOOK = "See docs/runbook.md#file-damaged"


@contextmanager
def _opened(store: Store, name: str) -> Iterator[BinaryIO]:
    try:
        with store.open(name) as stream:
            yield stream
    except Missing:  # an object may be deleted while it is read
        raise FileDamaged(f"{store.url}/{name} is gone. {_RUNBOOK}") from None
