"""Sending dead letters again, each the way its record was on when it was refused, and asking what became of it.

Nothing goes back into a captured topic: at a new offset an old change would look new (docs/decisions/0013). A letter's
change keeps the position of the captured record, and the guard decides.

1. the record is decoded as a worker decodes it
2. what `report` has refused lands in every generation of reporting; what `enrich` has refused is enriched first;
   what `archive` has refused is archived; a catalog entry, which never changes, goes into its topic once more
3. where the row stands now says what became of it
4. that is written down, confirmed

Killed anywhere, it is run again: a change that has landed is a no-op, and stands where it did.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from messaging.dead_letters import Record
from messaging.decoding import Decoding
from operations.dlq.decisions import Decision, Journal, Verdict
from operations.dlq.letters import Letter
from schemas.change import Change
from schemas.errors import BadRecord
from schemas.failpoints import FailPoint, reached
from schemas.position import Position
from schemas.tables import Mode, Table
from sinks.reporting.port import Batch, Poison, Reporting
from streams.enrich import Enriched

ARCHIVE = "archive"  # the worker whose refusals are the archive's


@dataclass(frozen=True, slots=True, kw_only=True)
class RedriveOutcome:
    """What became of a record, and a sentence on it."""

    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A generation of reporting, its tables and their topics. It holds nothing that was captured before `epoch`."""

    number: int
    epoch: int
    tables: Sequence[Table]
    reporting: Reporting

    def reads(self, topic: str) -> bool:
        """Whether what is in a topic ends in this generation."""
        return any(topic in table.captured_topics + table.landed_topics for table in self.tables)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedriveTargets:
    """Where records can go; `decoding` knows the topics of all destinations. The functions connect when they are first
    called: `enrich` is the enrichment with the catalog as it is now, `archive` archives an event, `enter` puts a
    catalog entry into its topic again."""

    decoding: Decoding
    destinations: Sequence[Destination]
    enrich: Callable[[Change], Enriched]
    archive: Callable[[Change], RedriveOutcome]
    enter: Callable[[Record], RedriveOutcome]


def redrive(
    letters: Iterable[Letter], ways: RedriveTargets, journal: Journal, *, by: str
) -> Iterator[tuple[Letter, RedriveOutcome]]:
    """Each letter, and what became of it, which is in the journal by then. Raises Unavailable, Fatal; what has been
    yielded stays done."""
    for letter in letters:
        outcome = send(letter, ways)
        reached(FailPoint.REDRIVEN)
        journal.write(decision(letter, outcome, by=by))
        yield letter, outcome


def decision(letter: Letter, outcome: RedriveOutcome, *, by: str) -> Decision:
    """What is written down about a letter."""
    record = letter.record
    return Decision(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp=record.timestamp,
        through=letter.refusals[-1].offset,
        verdict=outcome.verdict,
        detail=outcome.detail,
        by=by,
        at=datetime.now(UTC),
    )


def send(letter: Letter, ways: RedriveTargets) -> RedriveOutcome:
    """Sends a letter all the ways on which it was refused."""
    workers = {refusal.worker for refusal in letter.unsettled or letter.refusals}
    sent = [_archive(letter.record, ways)] if ARCHIVE in workers else []
    if workers != {ARCHIVE}:
        sent.append(_land(letter.record, ways))
    return overall(sent)


def overall(outcomes: Sequence[RedriveOutcome]) -> RedriveOutcome:
    """One outcome of several: what still needs somebody before what landed, before what nobody needs."""
    return min(outcomes, key=lambda each: _ORDER.index(each.verdict))


_ORDER = (Verdict.DEAD_AGAIN, Verdict.UNDECIDED, Verdict.LANDED, Verdict.OUTDATED, Verdict.AGED_OUT)


def _archive(record: Record, ways: RedriveTargets) -> RedriveOutcome:
    try:
        change = _change(record, ways)
    except BadRecord as error:
        return RedriveOutcome(verdict=Verdict.DEAD_AGAIN, detail=str(error))
    return ways.archive(change) if change else _NOTHING


def _land(record: Record, ways: RedriveTargets) -> RedriveOutcome:
    concerned = [each for each in ways.destinations if each.reads(record.topic)]
    if not concerned:
        detail = "nobody reads its topic: no table declares it, or its generation was dropped; discard it"
        return RedriveOutcome(verdict=Verdict.DEAD_AGAIN, detail=detail)
    captured = next((table for table in concerned[0].tables if record.topic in table.captured_topics), None)
    try:
        if captured is not None and not captured.reported:
            return ways.enter(record)
        change = _change(record, ways)
    except BadRecord as error:
        return RedriveOutcome(verdict=Verdict.DEAD_AGAIN, detail=str(error))
    if change is None:
        return _NOTHING
    waits = False
    if captured is not None and captured.enrichment:
        change, wait = ways.enrich(change)
        waits = wait is not None
    return overall([_land_in(each, change, waits=waits) for each in concerned])


def _land_in(destination: Destination, change: Change, *, waits: bool) -> RedriveOutcome:
    if change.position.epoch < destination.epoch:
        detail = f"generation {destination.number} holds nothing from before epoch {destination.epoch}"
        return RedriveOutcome(verdict=Verdict.OUTDATED, detail=detail)
    try:
        destination.reporting.land(Batch(changes=[change], checkpoints={}))
    except Poison as error:
        return RedriveOutcome(verdict=Verdict.DEAD_AGAIN, detail=str(error))
    return stands(change, destination.reporting.position_of(change.table, change.key), waits=waits)


def stands(change: Change, standing: Position | None, *, waits: bool = False) -> RedriveOutcome:
    """What became of a change whose row now stands at `standing`; `waits` says that its product is not decided."""
    if standing is None:
        return RedriveOutcome(verdict=Verdict.AGED_OUT, detail="it has aged out, or belongs to an erased person")
    at = change.position
    if change.table.mode is Mode.EVENT:
        return RedriveOutcome(verdict=Verdict.LANDED)
    if (standing.epoch, standing.offset) != (at.epoch, at.offset):
        where = f"epoch {standing.epoch}, offset {standing.offset}"
        return RedriveOutcome(verdict=Verdict.OUTDATED, detail=f"the row stands at {where}")
    if waits and standing.version == at.version:
        return RedriveOutcome(verdict=Verdict.UNDECIDED, detail="it landed; redrive it again when its product is known")
    return RedriveOutcome(verdict=Verdict.LANDED)


_NOTHING = RedriveOutcome(verdict=Verdict.OUTDATED, detail="a tombstone says nothing about a row")


def _change(record: Record, ways: RedriveTargets) -> Change | None:
    return ways.decoding.change(record.topic, record.key, record.value, record.headers, record.offset)
