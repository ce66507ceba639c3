"""Reading back: what readers, proofs and compaction see of the archive. A record that is in two files counts once."""

from collections.abc import Callable, Iterable, Iterator

from schemas.change import Key
from schemas.tables import Table
from sinks.archive.files import Datum, read
from sinks.archive.layout import identity
from sinks.archive.manifest import ArchivedFile
from sinks.archive.store import Store


def distinct(store: Store, table: Table, files: Iterable[ArchivedFile]) -> Iterator[Datum]:
    """The records of some files of one folder, each once. Raises FileDamaged, ArchiveUnavailable."""
    key, of = key_of(table), identity(table)
    seen: set[str] = set()
    for file in files:
        for datum in read(store, file):
            id_ = of(key(datum))
            if id_ not in seen:
                seen.add(id_)
                yield datum


def key_of(table: Table) -> Callable[[Datum], Key]:
    """A function from a record to its key."""
    names = table.key
    return lambda datum: tuple(datum[name] for name in names)
