"""Write several archive files and publish them together. Used by the worker, compaction, erasure and retention."""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from uuid import uuid4

from schemas.tables import Table
from sinks.archive.file_writer import FileWriter, spool_unavailable
from sinks.archive.files import Codec, Commit
from sinks.archive.layout import ArchiveFolder, bucket
from sinks.archive.manifest import ArchivedFile
from sinks.archive.store import TEMPORARY, ArchiveUnavailable, LocalStore, Store

_SPOOLS = "headrace-spool-"


class ArchiveBatch:
    """A set of open files, one for each archive folder, written to the local folder `spool`.

    After ArchiveUnavailable a batch can't be used any more: discard it.
    """

    def __init__(self, spool: Path, codec: Codec = "zstandard") -> None:
        self._spool = spool
        self._codec: Codec = codec
        self._open: dict[ArchiveFolder, FileWriter] = {}
        self._of_tenant: dict[tuple[str, str, date], FileWriter] = {}

    @property
    def rows(self) -> int:
        """The number of records in all open files."""
        return sum(file.rows for file in self._open.values())

    @property
    def size(self) -> int:
        """The compressed size of all open files, in bytes."""
        return sum(file.size for file in self._open.values())

    @property
    def files(self) -> int:
        """The number of open files."""
        return len(self._open)

    def file(self, table: Table, tenant: str, day: date) -> FileWriter:
        """Return the open file for a tenant's records of a day. Raises ArchiveUnavailable for the spool."""
        found = self._of_tenant.get((table.name, tenant, day))
        if found is None:
            folder = ArchiveFolder(table.name, bucket(tenant), day)
            found = self._open.get(folder) or FileWriter(self._spool, table, folder, self._codec)
            self._open[folder] = self._of_tenant[table.name, tenant, day] = found
        return found

    def publish(
        self, store: Store, *, replaces: tuple[str, ...] = (), offsets: Mapping[str, tuple[str, int]] | None = None
    ) -> tuple[ArchivedFile, ...]:
        """Store every file under its name. No reader sees the files before a manifest entry adds them.

        Raises ArchiveUnavailable. The batch has no effect then: discard it and start again.
        """
        commit = Commit(id=str(uuid4()), files=len(self._open), replaces=replaces, offsets=dict(offsets or {}))
        done: list[ArchivedFile] = []
        try:
            for file in self._open.values():
                done.append(file.publish(store, commit))
        except (OSError, ArchiveUnavailable) as error:
            self._withdraw(store, done)
            raise error if isinstance(error, ArchiveUnavailable) else spool_unavailable(self._spool, error) from error
        return tuple(done)

    def discard(self) -> None:
        """Close and delete the spooled files."""
        for file in self._open.values():
            file.discard()
        self._open.clear()
        self._of_tenant.clear()

    def _withdraw(self, store: Store, done: list[ArchivedFile]) -> None:
        """Delete files that no entry will add. `archive compact` deletes those that can't be deleted now."""
        for file in done:
            try:
                store.delete(file.name)
            except ArchiveUnavailable:
                return


@contextmanager
def spooling(store: Store, folder: Path | None = None) -> Iterator[Path]:
    """Create a private folder for open files, and delete it at the end of the block.

    It is below `folder`; where that is None, in a local archive's own folder, or else with the temporary files. Folders
    that killed processes left there are deleted. Raises ArchiveUnavailable.
    """
    parent = folder or _beside(store)
    with ExitStack() as closing:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            _delete_abandoned(parent)
            own = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix=_SPOOLS, dir=parent)))
            lock = closing.enter_context((own / "lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            raise spool_unavailable(parent, error) from error
        yield own


def _beside(store: Store) -> Path:
    return Path(store.url) / TEMPORARY if isinstance(store, LocalStore) else Path(tempfile.gettempdir())


def _delete_abandoned(parent: Path) -> None:
    """Delete folders whose process has ended: their lock is free."""
    for left in parent.glob(f"{_SPOOLS}*"):
        try:
            with (left / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        shutil.rmtree(left, ignore_errors=True)
