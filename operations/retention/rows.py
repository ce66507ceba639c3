"""Delete expired orders with their lines and payments, a whole month at a time.

Dropping a partition emits no change records, so retention propagates the deletion itself:

1. Archive the month's rows, unless the archive holds exactly these, and record the month as begun.
2. Read the files back and compare count and sum of hashes of their rows with Postgres.
3. Raise the sinks' cutoff: from now on they refuse rows of that month.
4. Postgres compares again, under a lock, and deletes the rows of all tables in one transaction.
5. When capture up to here has landed, delete reporting's rows, including rows that are marked as deleted.
6. Write each key's tombstone to the topics, and record the month as done.

After a crash the next run repeats the steps of a month that is not recorded as done. Every step is idempotent.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date

from messaging import clients
from messaging.delivery import ConfirmedProducer
from operations.months import month as month_of
from operations.retention.errors import Busy
from operations.retention.item import RetentionItem, RetentionOutcome
from operations.retention.proof import Days, datum_text
from operations.retention.stores import Stores
from schemas.change import Key
from schemas.checksums import Sum
from schemas.decoders.record import key_bytes
from schemas.errors import Unproven
from schemas.failpoints import FailPoint, reached
from schemas.tables import Table
from schemas.topics import own_topics
from sinks.archive.batch import ArchiveBatch
from sinks.archive.files import FileDamaged, read
from sinks.archive.log import Superseded
from sinks.archive.manifest import ArchivedFile, Kind, Retired
from sinks.archive.reader import key_of, verified
from sinks.reporting.cutoff import Cutoff

CONFIRM_S = 60.0
QUEUED = 10_000  # the greatest number of unconfirmed tombstones


class RowRetention:
    """Retention of the state tables of one part of the policy.

    A table refers only to tables before it in schemas/tables.py, so rows are deleted in the reverse order.
    """

    def __init__(self, stores: Stores, part: str, tables: Sequence[Table]) -> None:
        self._stores = stores
        self._part = part
        self._tables = tuple(reversed(tables))
        self._held = sorted(stores.held)

    def items(self) -> Iterator[RetentionItem]:
        """Yield the expired months, the oldest first, each after its deletion; with `stores.dry` nothing is deleted.

        The first month that can't be deleted ends the iteration: sinks refuse rows by one cutoff date, which must not
        pass rows that still exist.
        """
        if not self._stores.dry:
            self._update_holds()
        before = self._stores.before(self._part).date()
        begun = {date.fromisoformat(each.what) for each in self._unfinished()}
        referred_to = self._tables[-1:]  # if it has no rows of a month, the other tables have none
        for month in sorted(begun | set(self._stores.oltp.months(referred_to, before, self._held))):
            item = self._month(month)
            yield item
            if item.outcome is RetentionOutcome.KEPT:
                return

    def _update_holds(self) -> None:
        """Pass the present legal holds to the sinks, even where no month is expired."""
        for reporting in self._stores.reporting:
            cutoff = reporting.cutoffs().get(self._part)
            if cutoff is not None and cutoff.held != self._stores.held:
                reporting.set_cutoff(replace(cutoff, held=self._stores.held))

    def _unfinished(self) -> list[Retired]:
        return [each for each in self._stores.log.manifest().unfinished.values() if each.store == self._part]

    def _month(self, month: date) -> RetentionItem:
        oltp = self._stores.oltp
        sums = {table.name: oltp.row_sums(table, month, self._held) for table in self._tables}
        count, outcome, detail = sum(each.count for each in sums.values()), RetentionOutcome.GOES, ""
        try:
            if not self._stores.dry:
                self._retire(month, sums)
                outcome = RetentionOutcome.GONE
        except (Busy, FileDamaged, Superseded, Unproven) as error:
            outcome, detail = RetentionOutcome.KEPT, str(error)
        names = ", ".join(f"{sum_.count} {name}" for name, sum_ in sums.items())
        why = f"{names}; a month older than {self._stores.before(self._part):%Y-%m-%d}"
        return RetentionItem(
            store=self._part, what=f"{month:%Y-%m}", count=count, why=why, outcome=outcome, detail=detail
        )

    def _retire(self, month: date, sums: Mapping[str, Sum]) -> None:
        if any(each.count for each in sums.values()):
            self._archive(month, sums)  # 1
            proven = self._prove(month, sums)  # 2
            reached(FailPoint.PROVEN)
            self._raise_cutoff(month)  # 3
            self._stores.oltp.retire_rows(month, self._tables, self._held, proven)  # 4
            reached(FailPoint.ROWS_RETIRED)
        self._stores.barrier()  # 5
        self._delete_from_reporting(month)
        reached(FailPoint.REPORT_ROWS_RETIRED)
        self._write_tombstones(month)  # 6
        reached(FailPoint.TOMBSTONED)
        self._note_done(month, sums)
        reached(FailPoint.RETIREMENT_NOTED)

    # ---- 1 and 2 ------------------------------------------------------------------------------------------------

    def _archive(self, month: date, sums: Mapping[str, Sum]) -> None:
        """Archive the month's rows of all tables with one entry, replacing earlier files of that month."""
        batch = ArchiveBatch(self._stores.spool, self._stores.codec)
        old: list[str] = []
        try:
            for table in self._tables:
                if self._archived(table, month) != sums[table.name]:
                    old += self._spool(batch, table, month)
            log = self._stores.log
            replaces = tuple(old)
            files = batch.publish(log.store, replaces=replaces, offsets=log.manifest().offsets)
            log.commit(log.draft(Kind.APPEND, added=files, removed=replaces, retired=self._retired(month, sums)))
        finally:
            batch.discard()
        reached(FailPoint.ROWS_ARCHIVED)

    def _spool(self, batch: ArchiveBatch, table: Table, month: date) -> list[str]:
        """Write a table's rows of the month to the batch, and return the names of the files that they replace."""
        names = [column.name for column in table.columns]
        leaving = self._stores.oltp.row_tenants(table, month, self._held)
        files = self._files(table, month)
        for file in verified(self._stores.log.store, files):
            for datum in read(self._stores.log.store, file):
                if datum["tenant_id"] not in leaving:  # deleted before a hold was lifted
                    batch.file(table, datum["tenant_id"], month).copy(datum)
        for row in self._stores.oltp.rows(table, month, self._held):
            datum = dict(zip(names, row, strict=True))
            batch.file(table, datum["tenant_id"], month).copy(datum)
        return [file.name for file in files]

    def _files(self, table: Table, month: date) -> list[ArchivedFile]:
        folders = self._stores.log.manifest().folders(table.name)
        return [file for folder, files in folders.items() if folder.day == month for file in files]

    def _prove(self, month: date, sums: Mapping[str, Sum]) -> dict[str, Sum]:
        for table in self._tables:
            archived = self._archived(table, month)
            if archived != sums[table.name]:
                raise Unproven(f"{table.name} of {month:%Y-%m}: {sums[table.name]} in Postgres, {archived} archived")
        return dict(sums)

    def _archived(self, table: Table, month: date) -> Sum:
        """Return the sum of the archived rows of tenants whose rows Postgres has now."""
        tenants = self._stores.oltp.row_tenants(table, month, self._held)
        days = Days(month, month_of(month, 1))
        found = self._stores.proof.sums(table, days, tenants, datum_text(table))
        return sum(found.values(), Sum())

    # ---- 3 to 6 -------------------------------------------------------------------------------------------------

    def _raise_cutoff(self, month: date) -> None:
        for reporting in self._stores.reporting:
            cutoff = Cutoff(part=self._part, before=month_of(month, 1), held=self._stores.held)
            reporting.set_cutoff(cutoff)
        reached(FailPoint.CUTOFF_SET)

    def _delete_from_reporting(self, month: date) -> None:
        for reporting in self._stores.reporting:
            for table in self._tables:
                reporting.retire_rows(table, month, self._stores.held)
                if table.ages_by not in table.key:  # a captured delete does not have its month
                    reporting.purge_deleted(table, self._keys(table, month))
                reporting.purge_deleted_before(table, month_of(month, 1))

    def _write_tombstones(self, month: date) -> None:
        queue = clients.producer(self._stores.bootstrap, queue_buffering_max_messages=QUEUED)
        hint = f" ({month:%Y-%m}); the next run sends them again"
        producer = ConfirmedProducer(queue, patience=CONFIRM_S, noun="tombstone", hint=hint)
        for table in self._tables:
            topics = self._topics(table)
            for key in self._keys(table, month):
                for topic in topics:
                    producer.send(topic, key_bytes(table, key), None)
        producer.confirm()

    def _topics(self, table: Table) -> list[str]:
        """Return the topics with records of the table's keys: the captured ones, and the enriched ones of each
        generation. A generation that is still being created enriches only the tombstone later."""
        own = [topic.name for number in self._stores.generations for topic in own_topics(number, [table])]
        present = clients.present(self._stores.bootstrap, own)
        return [*table.captured_topics, *(name for name in own if name in present)]

    def _keys(self, table: Table, month: date) -> Iterator[Key]:
        """Yield the keys of the month's archived rows, without tenants that are under a legal hold now."""
        for file in self._files(table, month):
            for datum in read(self._stores.log.store, file):
                if datum["tenant_id"] not in self._stores.held:
                    yield key_of(table)(datum)

    def _retired(self, month: date, sums: Mapping[str, Sum], *, done: bool = False) -> Retired:
        return Retired(store=self._part, what=month.isoformat(), proof=dict(sums), held=self._held, done=done)

    def _note_done(self, month: date, sums: Mapping[str, Sum]) -> None:
        log = self._stores.log
        log.commit(log.draft(Kind.RETIRE, retired=self._retired(month, sums, done=True)))
