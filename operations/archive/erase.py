"""`headrace archive erase`: a person's records leave the archive, reporting's events, what repairs have kept, and
Postgres' outbox.

What repairs have kept goes first: which of it is the person's, the archive and the outbox may have to tell. Then the
archive: with its tombstone nothing brings an event back into it, and whatever stops this command, the next run takes
the ids from there. Reporting is next, where sinks refuse the ids from then on. The outbox is last: it is
where the ids were found.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from rich.console import Console

from operations import connections
from operations.archive.repair_copies import Kept, repairs_of
from operations.archive.source_personal_data import SourcePersonalData
from operations.retention.errors import Protected
from operations.retention.source import OltpRetention
from operations.settings import Settings
from schemas.errors import HeadraceError
from schemas.tables import Mode, Table
from sinks.archive.batch import spooling
from sinks.archive.erasure import Eraser, FoundRecords, Ids, merged
from sinks.archive.log import Superseded
from sinks.archive.subject import Subject, personal
from sinks.reporting.retention import RetentionStore

TRIES = 20  # of an entry: each one that is refused had another writer's come first


@dataclass(frozen=True, slots=True)
class SubjectRecords:
    """What there is of a person: in the archive, the events in Postgres, all ids ever found, rows in Postgres, and what
    repairs have kept."""

    archived: FoundRecords
    hot: Ids
    ids: Ids
    rows: dict[str, int]
    repaired: Kept


@dataclass(slots=True)
class Erased:
    """How much went: rows of the archive, its files, events of each generation of reporting, events of the outbox, and
    rows that repairs have kept."""

    rows: int = 0
    files: int = 0
    reporting: dict[int, int] = field(default_factory=dict)
    outbox: int = 0
    repaired: int = 0


class Erasing:
    """The erasure of one person from everywhere."""

    def __init__(
        self,
        eraser: Eraser,
        hot: SourcePersonalData,
        oltp: OltpRetention,
        reporting: Sequence[RetentionStore],
        tables: Sequence[Table],
    ) -> None:
        self._eraser, self._hot, self._oltp, self._reporting = eraser, hot, oltp, reporting
        self._tables = tables
        self._events = [table for table in tables if table.mode is Mode.EVENT]

    def find(self) -> SubjectRecords:
        """Finds everything of the person, and changes nothing."""
        known = self._eraser.known()
        groups = self._eraser.groups() | self._hot.groups()
        hot = self._hot.events(groups)
        archived = self._eraser.find(groups, known)
        ids = merged([archived.ids, hot, known])
        repaired = repairs_of(self._reporting[0], self._tables, self._eraser.subject, groups, ids)
        return SubjectRecords(archived, hot, ids, self._hot.rows(groups), repaired)

    def erase(self) -> Erased:
        """Erases it, and what comes into the archive meanwhile. May be repeated at any time."""
        done = Erased()
        ids = self._leave_archive(done)
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

    def _leave_archive(self, done: Erased) -> Ids:
        """Until a look finds nothing: the worker may add a file between a look and its entry."""
        for _ in range(TRIES):
            try:
                theirs = self.find()
                for table, rows in theirs.repaired.items():
                    done.repaired += self._reporting[0].erase_repaired(table, rows)
                if not theirs.archived.files and not _without(theirs.ids, self._eraser.erased()):
                    self._eraser.sweep()
                    return theirs.ids
                self._eraser.erase(theirs.archived.files, theirs.ids)
            except Superseded:
                continue
            done.rows += theirs.archived.rows
            done.files += len(theirs.archived.files)
        raise HeadraceError(f"the archive changes too fast: not erased after {TRIES} tries; run it again")


def erase(
    settings: Settings, out: Console, subject: Subject, *, by: str | None, confirm: Callable[[str], object]
) -> None:
    """Erase a person, or say that there is nothing of them. `confirm` is asked first, and raises where it must not be.
    Raises HeadraceError, Unavailable; then running it again finishes."""
    log, tables = connections.archive(settings, by or "headrace archive erase"), personal()
    with ExitStack() as closing:
        connection = closing.enter_context(connections.oltp(settings, "retention"))
        reporting = connections.retention_stores(settings)
        for each in reporting:
            closing.callback(each.close)
        spool = closing.enter_context(spooling(log.store, settings.archive.spool))
        eraser = Eraser(log, subject, spool, codec=settings.archive.codec)
        hot, oltp = SourcePersonalData(connection, subject), OltpRetention(connection)
        if subject.tenant in oltp.legal_holds():  # before the archive lets go of what the source would keep
            raise Protected(f"tenant {subject.tenant} is under a legal hold in sales.legal_hold")
        erasing = Erasing(eraser, hot, oltp, reporting, tables)
        theirs = erasing.find()
        _say_found(out, theirs)
        if any(theirs.ids.values()) or theirs.repaired:
            confirm("Erase them? Nothing brings them back.")
            _say_done(out, erasing.erase())
    if theirs.rows:
        rows = ", ".join(f"{count} {name}" for name, count in theirs.rows.items())
        out.print(f"still in Postgres: {rows}; these rows are the shop's to anonymise", soft_wrap=True)


def _say_found(out: Console, theirs: SubjectRecords) -> None:
    hot = sum(map(len, theirs.hot.values()))
    found = theirs.archived
    known = sum(map(len, theirs.ids.values()))
    if theirs.repaired:
        rows = sum(map(len, theirs.repaired.values()))
        out.print(f"found {rows:,} rows of theirs that repairs took out of reporting and kept there")
    elif not known:
        out.print("the archive and the outbox hold nothing of this person")
    if not known:
        return
    out.print(
        f"found {known:,} records: {found.rows:,} rows in {len(found.files):,} files of the archive, "
        f"{hot:,} events in Postgres' outbox",
        soft_wrap=True,
    )


def _say_done(out: Console, done: Erased) -> None:
    out.print(f"archive: erased {done.rows:,} rows; {done.files:,} files were written anew or removed", soft_wrap=True)
    for generation, events in done.reporting.items():
        out.print(f"reporting, generation {generation}: erased {events:,} events")
    out.print(f"Postgres' outbox: erased {done.outbox:,} events")
    if done.repaired:
        out.print(f"repairs: erased {done.repaired:,} rows that they had kept")


def _without(ids: Ids, others: Ids) -> bool:
    """Whether any of `ids` is not among `others`."""
    return any(each - others.get(table, set()) for table, each in ids.items())
