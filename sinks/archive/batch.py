"""Open files that are published together: what the worker, compaction, erasure and retention put into the archive."""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from uuid import uuid4

from schemas.tables import Table
from sinks.archive.files import Codec, Commit, FileWriter, unwritable
from sinks.archive.layout import ArchiveFolder, bucket
from sinks.archive.manifest import ArchivedFile
from sinks.archive.store import TEMPORARY, ArchiveUnavailable, LocalStore, Store

_SPOOLS = "headrace-spool-"


class ArchiveBatch:
    """One open file a folder, spooled in the folder `spool`. After ArchiveUnavailable it is of no use:
    discard it."""

    def __init__(self, spool: Path, codec: Codec = "zstandard") -> None:
        self._spool = spool
        self._codec: Codec = codec
        self._open: dict[ArchiveFolder, FileWriter] = {}
        self._of_tenant: dict[tuple[str, str, date], FileWriter] = {}

    @property
    def rows(self) -> int:
        """Records in all open files."""
        return sum(file.rows for file in self._open.values())

    @property
    def size(self) -> int:
        """Compressed bytes of all open files."""
        return sum(file.size for file in self._open.values())

    @property
    def files(self) -> int:
        """How many files are open."""
        return len(self._open)

    def file(self, table: Table, tenant: str, day: date) -> FileWriter:
        """The open file for a tenant's records of a day. Raises ArchiveUnavailable for the spool."""
        found = self._of_tenant.get((table.name, tenant, day))
        if found is None:
            folder = ArchiveFolder(table.name, bucket(tenant), day)
            found = self._open.get(folder) or FileWriter(self._spool, table, folder, self._codec)
            self._open[folder] = self._of_tenant[table.name, tenant, day] = found
        return found

    def publish(
        self, store: Store, *, replaces: tuple[str, ...] = (), offsets: Mapping[str, tuple[str, int]] | None = None
    ) -> tuple[ArchivedFile, ...]:
        """Gives every file its name; no reader knows of them before an entry adds them. Raises ArchiveUnavailable,
        then nothing of it counts: discard, and begin anew."""
        commit = Commit(id=str(uuid4()), files=len(self._open), replaces=replaces, offsets=dict(offsets or {}))
        done: list[ArchivedFile] = []
        try:
            for file in self._open.values():
                done.append(file.publish(store, commit))
        except (OSError, ArchiveUnavailable) as error:
            self._withdraw(store, done)
            raise error if isinstance(error, ArchiveUnavailable) else unwritable(self._spool, error) from error
        return tuple(done)

    def discard(self) -> None:
        """Closes and deletes the spooled files."""
        for file in self._open.values():
            file.discard()
        self._open.clear()
        self._of_tenant.clear()

    def _withdraw(self, store: Store, done: list[ArchivedFile]) -> None:
        """What nobody will add is waste; where it can't be deleted now, `archive compact` finds it."""
        for file in done:
            try:
                store.delete(file.name)
            except ArchiveUnavailable:
                return


@contextmanager
def spooling(store: Store, folder: Path | None = None) -> Iterator[Path]:
    """A folder of this process's own for open files: below `folder`, else beside the archive where that is local, else
    where temporary files go. What processes that were killed have left there is deleted. Raises
    ArchiveUnavailable."""
    parent = folder or _beside(store)
    with ExitStack() as closing:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            _sweep(parent)
            own = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix=_SPOOLS, dir=parent)))
            lock = closing.enter_context((own / "lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            raise unwritable(parent, error) from error
        yield own


def _beside(store: Store) -> Path:
    return Path(store.url) / TEMPORARY if isinstance(store, LocalStore) else Path(tempfile.gettempdir())


def _sweep(parent: Path) -> None:
    """A lock that can be had belongs to nobody who lives."""
    for left in parent.glob(f"{_SPOOLS}*"):
        try:
            with (left / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        shutil.rmtree(left, ignore_errors=True)
