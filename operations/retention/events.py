"""Delete expired events from Postgres' outbox, reporting and Kafka, once the archive is proven to hold them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, timedelta

from messaging import clients
from operations.retention.errors import Busy
from operations.retention.item import RetentionItem, RetentionOutcome
from operations.retention.proof import Days, ProvenEvent, datum_text, event_text, proven_event_of
from operations.retention.source import Leaf
from operations.retention.stores import Stores
from operations.retention.topics import AgedRange, EventTopics
from schemas.checksums import Sum
from schemas.errors import Unproven
from schemas.failpoints import FailPoint, reached
from schemas.tables import Table
from sinks.archive.files import Datum, FileDamaged
from sinks.archive.manifest import Kind, Retired
from sinks.reporting.cutoff import Cutoff
from sinks.reporting.retention import RetentionStore

SHOWN = 5  # missing events that a message names
_DAY = timedelta(days=1)


class EventRetention:
    """Retention of one table of events."""

    def __init__(self, stores: Stores, table: Table) -> None:
        self._stores = stores
        self._table = table
        self._proof = stores.proof
        self._part = str(table.retention)
        self._before = stores.before(self._part)
        self._why = f"older than {self._before:%Y-%m-%d}, archived"

    def items(self) -> Iterator[RetentionItem]:
        """Yield the expired events of the three stores, each after its deletion; with `stores.dry` nothing is deleted.

        An obstacle in one store does not stop the others.
        """
        for leaf in self._stores.oltp.leaves(self._table):
            if leaf.end <= self._before:
                yield self._outbox(leaf)
        for reporting in self._stores.reporting:
            yield from self._reporting(reporting)
        yield from self._topics()

    def _outbox(self, leaf: Leaf) -> RetentionItem:
        oltp, held = self._stores.oltp, sorted(self._stores.held)
        sums = oltp.event_sums(self._table, leaf, held)
        days = Days(leaf.start.date(), leaf.end.date())

        def events() -> Iterable[ProvenEvent]:
            return (
                event
                for tenant in sums
                for event in map(proven_event_of(self._table), oltp.events(self._table, leaf, tenant))
            )

        def retire() -> None:
            oltp.retire_events(leaf, held, sums)
            reached(FailPoint.EVENTS_RETIRED)

        return self._prove_and_retire("outbox", leaf.name, days, sums, events, retire, datum_text)

    def _reporting(self, reporting: RetentionStore) -> Iterator[RetentionItem]:
        before, held = self._before.date(), self._stores.held
        if not self._stores.dry:  # first: sinks then land only events that are younger than the counted ones
            reporting.set_cutoff(Cutoff(part=self._part, before=before, held=held))
            reached(FailPoint.CUTOFF_SET)
        by_day: dict[date, dict[str, Sum]] = {}
        for (day, tenant), sum_ in reporting.event_sums(self._table, before, held).items():
            by_day.setdefault(day, {})[tenant] = sum_
        for day, sums in sorted(by_day.items()):
            yield self._reported(reporting, day, sums)

    def _reported(self, reporting: RetentionStore, day: date, sums: Mapping[str, Sum]) -> RetentionItem:
        def ids() -> Iterable[ProvenEvent]:
            for tenant in sums:
                for id_ in reporting.event_ids(self._table, day, tenant):
                    yield ProvenEvent(tenant, day, id_)

        def retire() -> None:
            reporting.retire_events(self._table, day, sums)
            reached(FailPoint.REPORT_EVENTS_RETIRED)

        return self._prove_and_retire(
            f"reporting_g{reporting.generation}",
            f"{self._table.name} of {day}",
            Days(day, day + _DAY),
            sums,
            ids,
            retire,
        )

    def _prove_and_retire(  # noqa: PLR0913, PLR0917
        self,
        store: str,
        what: str,
        days: Days,
        sums: Mapping[str, Sum],
        events: Callable[[], Iterable[ProvenEvent]],
        retire: Callable[[], None],
        summed_by: Callable[[Table], Callable[[Datum], str]] = event_text,
    ) -> RetentionItem:
        """Prove that the archive holds some events, then delete them.

        Equal sums are the proof. Where sums differ, every event is looked up, as the archive may hold more events than
        the store does.
        """
        count = sum(each.count for each in sums.values())
        try:
            archived = self._proof.sums(self._table, days, sums, summed_by(self._table))
            missing = [] if archived == dict(sums) else self._proof.missing(self._table, set(events()))
            if missing:
                return self._kept(store, what, count, _name(missing))
            reached(FailPoint.PROVEN)
            if self._stores.dry:
                return RetentionItem(store=store, what=what, count=count, why=self._why, outcome=RetentionOutcome.GOES)
            retire()
        except (Busy, FileDamaged, Unproven) as error:
            return self._kept(store, what, count, str(error))
        self._note(store, what, sums)
        return RetentionItem(store=store, what=what, count=count, why=self._why, outcome=RetentionOutcome.GONE)

    def _kept(self, store: str, what: str, count: int, detail: str) -> RetentionItem:
        return RetentionItem(
            store=store, what=what, count=count, why=self._why, outcome=RetentionOutcome.KEPT, detail=detail
        )

    def _note(self, store: str, what: str, sums: Mapping[str, Sum]) -> None:
        log = self._stores.log
        retired = Retired(store=store, what=what, proof=dict(sums), held=sorted(self._stores.held))
        log.commit(log.draft(Kind.RETIRE, retired=retired))

    def _topics(self) -> Iterator[RetentionItem]:
        stores = self._stores
        topics = EventTopics(stores.bootstrap, self._table, stores.decoding, self._proof)
        ids = clients.topic_ids(stores.bootstrap, self._table.captured_topics)
        archived, landed = stores.log.manifest().archived(ids), stores.landed()
        done = {
            at: min(end, landed.get(at, 0)) for at, end in archived.items()
        }  # a sink that lags still needs later records
        try:
            for aged in topics.aged_ranges(int(self._before.timestamp() * 1000), done):
                yield from self._aged_range(topics, aged)
        except FileDamaged as error:
            yield self._kept("kafka", ", ".join(self._table.captured_topics), 0, str(error))

    def _aged_range(self, topics: EventTopics, aged: AgedRange) -> Iterator[RetentionItem]:
        what = f"{aged.topic}/{aged.partition} up to {aged.proven}"
        count, unproven = aged.proven - aged.start, aged.old - aged.proven
        why = f"captured before {self._before:%Y-%m-%d}, archived"
        if count and not self._stores.dry:
            topics.delete(aged)
            reached(FailPoint.RECORDS_DELETED)
        if count:
            outcome = RetentionOutcome.GOES if self._stores.dry else RetentionOutcome.GONE
            yield RetentionItem(store="kafka", what=what, count=count, why=why, outcome=outcome)
        if unproven:
            behind = f"{aged.topic}/{aged.partition} from {aged.proven} on"
            yield self._kept("kafka", behind, unproven, _name(aged.missing))


def _name(missing: list[ProvenEvent] | list[str]) -> str:
    """Return a message about events that the archive lacks, naming the first few."""
    said = [str(each) for each in missing[:SHOWN]]
    more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
    return f"not in the archive: {', '.join(said)}{more}. See docs/runbook.md#not-in-the-archive"
