"""Prove what the archive holds, before retention deletes it elsewhere.

The proof reads the archive's files, each compared with its SHA-256, and never relies on a counter.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, cast

from schemas.change import Row
from schemas.checksums import Sum, row_text, text_hash
from schemas.tables import Table
from sinks.archive.files import Datum, verify_file
from sinks.archive.layout import bucket
from sinks.archive.log import Log
from sinks.archive.manifest import ArchivedFile
from sinks.archive.reader import distinct


@dataclass(frozen=True, slots=True)
class Days:
    """A range of days, from `start` to before `end`."""

    start: date
    end: date


class ProvenEvent(NamedTuple):
    """An event that the archive must hold. `content` is the hash of its content, None where the id is enough."""

    tenant: str
    day: date
    id: str
    content: int | None = None

    def __str__(self) -> str:
        return f"{self.id} of {self.tenant}, {self.day}"


class ArchiveProof:
    """Reads the present content of the archive as a proof.

    All methods raise FileDamaged for a file that differs from its manifest entry, ManifestDamaged, ArchiveUnavailable.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._checked: set[str] = set()

    def sums(self, table: Table, days: Days, tenants: Iterable[str], text: Callable[[Datum], str]) -> dict[str, Sum]:
        """Return, by tenant, the number of distinct records of some days and the sum of the hashes of their `text`s."""
        wanted = set(tenants)
        found = dict.fromkeys(wanted, Sum())
        for datum in self.records(table, days, wanted):
            found[datum["tenant_id"]] += Sum(1, text_hash(text(datum)))
        return found

    def missing(self, table: Table, wanted: set[ProvenEvent]) -> list[ProvenEvent]:
        """Return the events that were neither archived nor erased, sorted. Removes archived events from `wanted`."""
        id_, day, text = table.key[-1], str(table.ages_by), datum_text(table)
        folders = {(bucket(event.tenant), event.day) for event in wanted}
        for folder, files in self._log.manifest().folders(table.name).items():
            if (folder.bucket, folder.day) in folders:
                self._check(files)
                for datum in distinct(self._log.store, table, files):
                    event = ProvenEvent(datum["tenant_id"], datum[day], datum[id_])
                    wanted.discard(event)
                    wanted.discard(event._replace(content=text_hash(text(datum))))
        erased = self._log.manifest().erased(table.name)
        return sorted(event for event in wanted if (event.tenant, event.id) not in erased)

    def records(self, table: Table, days: Days, tenants: set[str]) -> Iterator[Datum]:
        """Yield the records of some days and tenants, each once, from verified files."""
        buckets = {bucket(tenant) for tenant in tenants}
        for folder, files in self._log.manifest().folders(table.name).items():
            if folder.bucket in buckets and days.start <= folder.day < days.end:
                self._check(files)
                for datum in distinct(self._log.store, table, files):
                    if datum["tenant_id"] in tenants:
                        yield datum

    def _check(self, files: Sequence[ArchivedFile]) -> None:
        for file in files:
            if file.name not in self._checked:
                verify_file(self._log.store, file)
                self._checked.add(file.name)


def event_text(table: Table) -> Callable[[Datum], str]:
    """Return a function from an event to the text that is hashed where a store holds each id once: its id."""
    id_ = table.key[-1]
    return lambda datum: str(datum[id_])


def datum_text(table: Table) -> Callable[[Datum], str]:
    """Return a function from a record to the text that is hashed: all columns (schemas.checksums.row_text)."""
    names = [column.name for column in table.columns]
    text = row_text(table.columns)
    return lambda datum: text(tuple(datum[name] for name in names))


def proven_event_of(table: Table) -> Callable[[Row], ProvenEvent]:
    """Return a function from a row of the outbox, in the order of the table's columns, to its event and content."""
    names = [column.name for column in table.columns]
    tenant, day, id_ = (names.index(name) for name in table.key)
    text = row_text(table.columns)
    return lambda row: ProvenEvent(str(row[tenant]), cast(date, row[day]), str(row[id_]), text_hash(text(row)))
