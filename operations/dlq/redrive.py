"""Redrive dead letters: send each record through the path on which it was refused, and record the outcome.

A record never goes back into a captured topic: at a new offset an old change would look new (docs/decisions/0013). The
redriven change keeps the position of the captured record, so the position guard decides whether it lands.

1. Decode the record as a worker does.
2. Send it: to every generation of reporting where `report` refused it, through enrichment first where `enrich` did, to
   the archive where `archive` did. A catalog entry is immutable, so it is published to its topic again.
3. Read the row's position: it determines the outcome.
4. Write the outcome to the journal of decisions, confirmed.

A redrive is idempotent and may be interrupted anywhere: a change that has already landed changes nothing.
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

ARCHIVE = "archive"  # the worker name in dead letters of the archive


@dataclass(frozen=True, slots=True, kw_only=True)
class RedriveOutcome:
    """The outcome of redriving a record, with an explanation."""

    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A generation of reporting with its tables. It holds no rows captured before `epoch`."""

    number: int
    epoch: int
    tables: Sequence[Table]
    reporting: Reporting

    def reads(self, topic: str) -> bool:
        """Tell whether records of a topic land in this generation."""
        return any(topic in table.captured_topics + table.landed_topics for table in self.tables)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedriveTargets:
    """The targets of a redrive. `decoding` knows the topics of all destinations.

    `enrich` enriches a change with the present catalog, `archive` archives an event, and `republish_catalog_entry`
    sends a catalog entry to its topic again. These functions connect when they are first called.
    """

    decoding: Decoding
    destinations: Sequence[Destination]
    enrich: Callable[[Change], Enriched]
    archive: Callable[[Change], RedriveOutcome]
    republish_catalog_entry: Callable[[Record], RedriveOutcome]


def redrive(
    letters: Iterable[Letter], targets: RedriveTargets, journal: Journal, *, by: str
) -> Iterator[tuple[Letter, RedriveOutcome]]:
    """Redrive letters, and yield each with its outcome once that is in the journal.

    Raises:
        Unavailable: a server does not answer. Letters that were yielded are done.
        Fatal: reporting refuses the login or lacks a permission.
    """
    for letter in letters:
        outcome = redrive_letter(letter, targets)
        reached(FailPoint.REDRIVEN)
        journal.write(decision(letter, outcome, by=by))
        yield letter, outcome


def decision(letter: Letter, outcome: RedriveOutcome, *, by: str) -> Decision:
    """Return the decision that the journal records for a letter."""
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


def redrive_letter(letter: Letter, targets: RedriveTargets) -> RedriveOutcome:
    """Redrive one letter to every target that refused it."""
    workers = {refusal.worker for refusal in letter.unsettled or letter.refusals}
    sent = [_archive(letter.record, targets)] if ARCHIVE in workers else []
    if workers != {ARCHIVE}:
        sent.append(_land(letter.record, targets))
    return least_final(sent)


def least_final(outcomes: Sequence[RedriveOutcome]) -> RedriveOutcome:
    """Return the outcome that needs the most attention, in the order of _ORDER."""
    return min(outcomes, key=lambda each: _ORDER.index(each.verdict))


_ORDER = (Verdict.DEAD_AGAIN, Verdict.UNDECIDED, Verdict.LANDED, Verdict.OUTDATED, Verdict.AGED_OUT)


def _archive(record: Record, targets: RedriveTargets) -> RedriveOutcome:
    try:
        change = _change(record, targets)
    except BadRecord as error:
        return RedriveOutcome(verdict=Verdict.DEAD_AGAIN, detail=str(error))
    return targets.archive(change) if change else _TOMBSTONE


def _land(record: Record, targets: RedriveTargets) -> RedriveOutcome:
    readers = [each for each in targets.destinations if each.reads(record.topic)]
    if not readers:
        detail = "no table declares its topic, or its generation was dropped; discard it"
        return RedriveOutcome(verdict=Verdict.DEAD_AGAIN, detail=detail)
    captured = next((table for table in readers[0].tables if record.topic in table.captured_topics), None)
    try:
        if captured is not None and not captured.reported:
            return targets.republish_catalog_entry(record)
        change = _change(record, targets)
    except BadRecord as error:
        return RedriveOutcome(verdict=Verdict.DEAD_AGAIN, detail=str(error))
    if change is None:
        return _TOMBSTONE
    waits = False
    if captured is not None and captured.enrichment:
        change, wait = targets.enrich(change)
        waits = wait is not None
    return least_final([_land_in(each, change, waits=waits) for each in readers])


def _land_in(destination: Destination, change: Change, *, waits: bool) -> RedriveOutcome:
    if change.position.epoch < destination.epoch:
        detail = f"generation {destination.number} holds nothing from before epoch {destination.epoch}"
        return RedriveOutcome(verdict=Verdict.OUTDATED, detail=detail)
    try:
        destination.reporting.land(Batch(changes=[change], checkpoints={}))
    except Poison as error:
        return RedriveOutcome(verdict=Verdict.DEAD_AGAIN, detail=str(error))
    return outcome_at(change, destination.reporting.position_of(change.table, change.key), waits=waits)


def outcome_at(change: Change, position: Position | None, *, waits: bool = False) -> RedriveOutcome:
    """Return the outcome of a change whose row is now at `position`, None without a row.

    `waits` tells that the product of an order line is still unknown.
    """
    if position is None:
        return RedriveOutcome(verdict=Verdict.AGED_OUT, detail="it has aged out, or belongs to an erased person")
    at = change.position
    if change.table.mode is Mode.EVENT:
        return RedriveOutcome(verdict=Verdict.LANDED)
    if (position.epoch, position.offset) != (at.epoch, at.offset):
        where = f"epoch {position.epoch}, offset {position.offset}"
        return RedriveOutcome(verdict=Verdict.OUTDATED, detail=f"the row is at {where}")
    if waits and position.version == at.version:
        return RedriveOutcome(verdict=Verdict.UNDECIDED, detail="it landed; redrive it again when its product is known")
    return RedriveOutcome(verdict=Verdict.LANDED)


_TOMBSTONE = RedriveOutcome(verdict=Verdict.OUTDATED, detail="a tombstone (null value) holds no row")


def _change(record: Record, targets: RedriveTargets) -> Change | None:
    return targets.decoding.change(record.topic, record.key, record.value, record.headers, record.offset)
