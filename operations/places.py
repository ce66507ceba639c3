"""Where what differs has landed: the row's position, and the record that it came from, as far as Kafka still has it."""

from collections.abc import Sequence
from dataclasses import replace

from kafka import clients, spans
from operations.barrier import Hops
from operations.compare import Difference
from operations.comparing import TableResult
from schemas.record import key_bytes
from schemas.tables import Mode, Table

SOUGHT = 20  # differences whose record is looked for: as many as are printed


def placed(result: TableResult, hops: Hops) -> TableResult:
    """The comparison with the places of what differs, and the records of the first ones. Events have no position."""
    if result.table.mode is Mode.EVENT or not (result.different or result.unsettled):
        return result
    return replace(result, different=_placed(result.different, hops), unsettled=_placed(result.unsettled, hops))


def _placed(found: Sequence[Difference], hops: Hops) -> list[Difference]:
    places = hops.report.places(found[0].table, [each.key for each in found]) if found else {}
    known = [replace(each, place=places.get(each.key)) for each in found]
    return [_with_record(each, hops.bootstrap) for each in known[:SOUGHT]] + known[SOUGHT:]


def _with_record(found: Difference, bootstrap: str) -> Difference:
    if found.place is None:
        return found
    return replace(found, place=replace(found.place, record=_record(found.table, found, bootstrap)))


def _record(table: Table, found: Difference, bootstrap: str) -> tuple[str, int] | None:
    """The topic and partition in which the record of the row's key stands at the row's offset."""
    offset = found.place.position.offset if found.place else -1
    starts = clients.start_offsets(bootstrap, table.captured_topics)
    ends = clients.end_offsets(bootstrap, table.captured_topics)
    there = {at: (offset, offset + 1) for at, start in starts.items() if start <= offset < ends[at]}
    for message in spans.records(bootstrap, there):
        if message.key() == key_bytes(table, found.key):
            return str(message.topic()), int(message.partition() or 0)
    return None
