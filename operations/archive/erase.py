"""Run `headrace archive erase`: erase a person's records from the archive, reporting and Postgres' outbox.

1. Rows that `verify --repair` took out of reporting and kept. Only the archive and the outbox can tell which of these
   are the person's, so they go first.
2. The archive. Its erasure record keeps the events out, and after an interruption the next run reads the ids from it.
3. Reporting's events. From then on sinks refuse the ids.
4. The outbox, where the ids were found, goes last.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from rich.console import Console

from operations import connections
from operations.archive.repair_copies import RepairCopies, find_repair_copies
from operations.archive.source_personal_data import SourcePersonalData
from operations.retention.errors import Protected
from operations.retention.source import OltpRetention
from operations.settings import Settings
from schemas.errors import HeadraceError
from schemas.tables import Mode, Table
from sinks.archive.batch import spooling
from sinks.archive.erasure import Eraser, FoundRecords, Ids, merged
from sinks.archive.log import Superseded
from sinks.archive.subject import Subject, personal_tables
from sinks.reporting.retention import RetentionStore

TRIES = 20  # to commit an entry: each refusal means that another writer's entry came first


@dataclass(frozen=True, slots=True)
class SubjectRecords:
    """A person's records: in the archive, the ids of events in Postgres' outbox (`hot`), all ids ever found, the number
    of rows in Postgres by table, and the rows that repairs have kept.
    """

    archived: FoundRecords
    hot: Ids
    ids: Ids
    rows: dict[str, int]
    repaired: RepairCopies


@dataclass(slots=True)
class ErasureResult:
    """The numbers of erased rows and files of the archive, events by generation of reporting, events of the outbox, and
    rows that repairs had kept.
    """

    rows: int = 0
    files: int = 0
    reporting: dict[int, int] = field(default_factory=dict)
    outbox: int = 0
    repaired: int = 0


class SubjectErasure:
    """Erases one person from every store."""

    def __init__(
        self,
        eraser: Eraser,
        source: SourcePersonalData,
        oltp: OltpRetention,
        reporting: Sequence[RetentionStore],
        tables: Sequence[Table],
    ) -> None:
        self._eraser, self._source, self._oltp, self._reporting = eraser, source, oltp, reporting
        self._tables = tables
        self._events = [table for table in tables if table.mode is Mode.EVENT]

    def find(self) -> SubjectRecords:
        """Find all records of the person, without changing anything."""
        earlier = self._eraser.earlier_ids()
        groups = self._eraser.groups() | self._source.groups()
        hot = self._source.events(groups)
        archived = self._eraser.find(groups, earlier)
        ids = merged([archived.ids, hot, earlier])
        repaired = find_repair_copies(self._reporting[0], self._tables, self._eraser.subject, groups, ids)
        return SubjectRecords(archived, hot, ids, self._source.rows(groups), repaired)

    def erase(self) -> ErasureResult:
        """Erase the records, including those that are archived meanwhile. Idempotent."""
        done = ErasureResult()
        ids = self._erase_from_archive(done)
        for reporting in self._reporting:
            done.reporting[reporting.generation] = sum(
                reporting.erase_events(table, self._tenant, sorted(ids.get(table.name, ()))) for table in self._events
            )
        for table in self._events:
            done.outbox += self._oltp.erase_events(table, self._tenant, sorted(ids.get(table.name, ())))
        return done

    @property
    def _tenant(self) -> str:
        return self._eraser.subject.tenant

    def _erase_from_archive(self, done: ErasureResult) -> Ids:
        """Erase from the archive until nothing is found: the worker may add a file before the erasure's entry."""
        for _ in range(TRIES):
            try:
                found = self.find()
                for table, rows in found.repaired.items():
                    done.repaired += self._reporting[0].erase_repaired(table, rows)
                if not found.archived.files and not _any_missing(found.ids, self._eraser.erased_ids()):
                    self._eraser.delete_removed()
                    return found.ids
                self._eraser.erase(found.archived.files, found.ids)
            except Superseded:
                continue
            done.rows += found.archived.rows
            done.files += len(found.archived.files)
        raise HeadraceError(f"other writers change the archive too often: not erased after {TRIES} tries; run it again")


def erase_subject(
    settings: Settings, out: Console, subject: Subject, *, by: str | None, confirm: Callable[[str], object]
) -> None:
    """Erase a person from every store, or print that no records were found.

    `confirm` is called with a question first; it raises to stop the command. After an error, run it again to finish.

    Raises:
        HeadraceError: the erasure is not possible, or a login is refused.
        Protected: the tenant is under a legal hold.
        Unavailable: a server does not answer.
    """
    log, tables = connections.archive(settings, by or "headrace archive erase"), personal_tables()
    with ExitStack() as closing:
        connection = closing.enter_context(connections.oltp(settings, "retention"))
        reporting = connections.retention_stores(settings)
        for each in reporting:
            closing.callback(each.close)
        spool = closing.enter_context(spooling(log.store, settings.archive.spool))
        eraser = Eraser(log, subject, spool, codec=settings.archive.codec)
        source, oltp = SourcePersonalData(connection, subject), OltpRetention(connection)
        if subject.tenant in oltp.legal_holds():  # before the archive deletes records that the source keeps
            raise Protected(f"tenant {subject.tenant} is under a legal hold in sales.legal_hold")
        erasing = SubjectErasure(eraser, source, oltp, reporting, tables)
        found = erasing.find()
        _print_found(out, found)
        if any(found.ids.values()) or found.repaired:
            confirm("Erase them? They can't be restored.")
            _print_done(out, erasing.erase())
    if found.rows:
        rows = ", ".join(f"{count} {name}" for name, count in found.rows.items())
        out.print(f"still in Postgres: {rows}; these rows are the shop's to anonymise", soft_wrap=True)


def _print_found(out: Console, found: SubjectRecords) -> None:
    records = sum(map(len, found.ids.values()))
    if found.repaired:
        rows = sum(map(len, found.repaired.values()))
        out.print(f"found {rows:,} of their rows that repairs took out of reporting and kept")
    elif not records:
        out.print("the archive and the outbox hold no records of this person")
    if not records:
        return
    archived, hot = found.archived, sum(map(len, found.hot.values()))
    out.print(
        f"found {records:,} records: {archived.rows:,} rows in {len(archived.files):,} files of the archive, "
        f"{hot:,} events in Postgres' outbox",
        soft_wrap=True,
    )


def _print_done(out: Console, done: ErasureResult) -> None:
    out.print(f"archive: erased {done.rows:,} rows; {done.files:,} files were rewritten or removed", soft_wrap=True)
    for generation, events in done.reporting.items():
        out.print(f"reporting, generation {generation}: erased {events:,} events")
    out.print(f"Postgres' outbox: erased {done.outbox:,} events")
    if done.repaired:
        out.print(f"repairs: erased {done.repaired:,} rows that they had kept")


def _any_missing(ids: Ids, others: Ids) -> bool:
    """Tell whether any of `ids` is not among `others`."""
    return any(each - others.get(table, set()) for table, each in ids.items())
