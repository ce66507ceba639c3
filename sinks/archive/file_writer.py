"""Write one archive file: Avro records to a local spool first, then to the store, with a head that describes it.

The head is written last, as the content and the archive's offsets are known only when the file is complete.
"""

import contextlib
import hashlib
import io
import itertools
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, time
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from fastavro.write import Writer

from schemas.change import Key
from schemas.tables import Mode, Table
from sinks.archive.files import (
    BLOCK_BYTES,
    CHUNK,
    HEAD,
    HEAD_TYPE,
    Codec,
    Commit,
    Datum,
    Head,
    schema,
    schema_fingerprint,
)
from sinks.archive.layout import ArchiveFolder, identity, new_name
from sinks.archive.manifest import ArchivedFile, partition
from sinks.archive.store import ArchiveUnavailable, Store


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
        self._avro(header, {HEAD: HEAD_TYPE.dump_json(head).decode()})
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
            while chunk := file.read(CHUNK):
                yield chunk


def spool_unavailable(spool: Path, error: OSError) -> ArchiveUnavailable:
    """Return the error for a spool that can't be written."""
    return ArchiveUnavailable(
        f"the spool in {spool} can't be written: {error}. See docs/runbook.md#archive-unavailable"
    )
