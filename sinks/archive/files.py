"""Write Avro object container files to a local spool, add a head that describes them, and read them back.

The head is written last, as the content and the archive's offsets are known only when the file is complete. So a file
holds all the facts of its manifest entry, and the manifest can be rebuilt from the files
(docs/decisions/0009-archive.md).
"""

import contextlib
import hashlib
import io
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, Literal
from uuid import uuid4

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form
from fastavro.write import Writer
from pydantic import TypeAdapter

from schemas import avro
from schemas.avro import Avro
from schemas.change import Key
from schemas.errors import HeadraceError
from schemas.tables import Mode, Table
from sinks.archive.layout import ArchiveFolder, identity, new_name
from sinks.archive.manifest import ArchivedFile, partition
from sinks.archive.store import ArchiveUnavailable, Missing, Store

Codec = Literal["zstandard", "deflate"]
Datum = dict[str, Any]

BLOCK_BYTES = (
    128 << 10
)  # of a block before compression: larger ones compress little better, and each open file buffers one
ORIGIN = ("_topic", "_partition", "_offset", "_epoch")  # where an event was captured
HEAD = "headrace"  # the name of our description in a file's metadata
_CHUNK = 1 << 20


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


_HEAD: TypeAdapter[Head] = TypeAdapter(Head)


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


class FileWriter:
    """One open file of one archive folder, written to the local folder `spool`.

    A record whose identity (`layout.identity`) the file already holds is not written again. After ArchiveUnavailable a
    file can't be used any more: discard it, and write its records again.
    """

    def __init__(self, spool: Path, table: Table, folder: ArchiveFolder, codec: Codec = "zstandard") -> None:
        self.table, self.folder = table, folder
        self.captured: dict[str, list[int]] = {}
        self.erased = 0
        self._codec: Codec = codec
        self._identity, self._key = identity(table), itemgetter(*table.key)
        self._day = datetime.combine(folder.day, time(), UTC)
        self._seen: set[str] = set()
        self._first: datetime | None = None
        self._last: datetime | None = None
        self._sync = os.urandom(16)
        self._path = spool / f"{uuid4()}.spool"
        try:
            self._file = self._path.open("xb")
            self._writer = self._avro(self._file, {})
        except OSError as error:
            raise spool_unavailable(spool, error) from error
        self._skip = self._file.tell()  # the length of this header, which `publish` replaces

    @property
    def rows(self) -> int:
        """The number of records in the file."""
        return len(self._seen)

    @property
    def size(self) -> int:
        """The compressed size so far, in bytes; up to BLOCK_BYTES more are not compressed yet."""
        return self._file.tell() - self._skip

    def write(self, key: Key, datum: Datum, at: datetime) -> bool:
        """Add a record that occurred `at`; return False for a repeat. Raises ArchiveUnavailable for the spool."""
        seen = len(self._seen)
        self._seen.add(self._identity(key))
        if len(self._seen) == seen:
            return False
        try:
            self._writer.write(datum)
        except OSError as error:
            raise spool_unavailable(self._path.parent, error) from error
        if self._last is None or self._first is None:
            self._first = self._last = at
        elif at > self._last:
            self._last = at
        elif at < self._first:
            self._first = at
        return True

    def copy(self, datum: Datum) -> bool:
        """Add a record from another file of the folder, with the offset at which it was captured, in any order.

        Returns False for a repeat. Raises ArchiveUnavailable for the spool.
        """
        event = self.table.mode is Mode.EVENT
        if not self.write(self._key(datum), datum, datum["occurred_at"] if event else self._day):
            return False
        if event and datum["_offset"] >= 0:  # a backfilled event has no offset
            offset = datum["_offset"]
            bounds = self.captured.setdefault(partition(datum["_topic"], datum["_partition"]), [offset, offset])
            bounds[0], bounds[1] = min(bounds[0], offset), max(bounds[1], offset)
        return True

    def note(self, at: str, offset: int) -> None:
        """Note that the file holds the record at `offset` of partition `at`; call it in the order of offsets."""
        try:
            self.captured[at][1] = offset
        except KeyError:
            self.captured[at] = [offset, offset]

    def publish(self, store: Store, commit: Commit) -> ArchivedFile:
        """Complete the file and store it; no entry has added it yet. Raises OSError, Unavailable."""
        self._writer.flush()
        self._file.close()
        body = hashlib.sha256()
        for chunk in self._body():
            body.update(chunk)
        file = self._described(size=self._path.stat().st_size - self._skip, sha256=body.hexdigest())
        head = self._head(Head(file=file, commit=commit))
        whole = hashlib.sha256(head)
        for chunk in self._body():
            whole.update(chunk)
        store.put(file.name, itertools.chain([head], self._body()))
        return replace(file, size=len(head) + file.size, sha256=whole.hexdigest())

    def discard(self) -> None:
        """Delete the spooled file."""
        with contextlib.suppress(OSError):  # flushing fails on a full disk
            self._file.close()
        self._path.unlink(missing_ok=True)

    def _described(self, *, size: int, sha256: str) -> ArchivedFile:
        assert self._first is not None and self._last is not None  # noqa: S101  # a file without rows is not opened
        return ArchivedFile(
            name=new_name(self.folder),
            table=self.table.name,
            bucket=self.folder.bucket,
            day=self.folder.day,
            rows=self.rows,
            size=size,
            sha256=sha256,
            first=self._first,
            last=self._last,
            offsets={at: (low, high) for at, (low, high) in self.captured.items()},
            schema=schema_fingerprint(self.table),
            erased=self.erased,
        )

    def _head(self, head: Head) -> bytes:
        header = io.BytesIO()
        self._avro(header, {HEAD: _HEAD.dump_json(head).decode()})
        return header.getvalue()

    def _avro(self, file: BinaryIO, metadata: dict[str, str]) -> Writer:
        """Return fastavro's writer, which starts with a header; so one body can be given another header."""
        return Writer(
            file,
            schema(self.table),
            codec=self._codec,
            sync_interval=BLOCK_BYTES,
            sync_marker=self._sync,
            metadata=metadata,
        )

    def _body(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            file.seek(self._skip)
            while chunk := file.read(_CHUNK):
                yield chunk


def spool_unavailable(spool: Path, error: OSError) -> ArchiveUnavailable:
    """Return the error for a spool that can't be written."""
    return ArchiveUnavailable(
        f"the spool in {spool} can't be written: {error}. See docs/runbook.md#archive-unavailable"
    )


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
        while chunk := stream.read(_CHUNK):
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
            head = _HEAD.validate_json(fastavro.reader(stream).metadata[HEAD])
        except HeadraceError:
            raise
        except Exception as error:  # as `read` does
            raise FileDamaged(f"{store.url}/{name} has no readable head: {error}. {_RUNBOOK}") from None
    whole, body = hashlib.sha256(), hashlib.sha256()
    with _opened(store, name) as stream:
        whole.update(stream.read(size - head.file.size))
        while chunk := stream.read(_CHUNK):
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
