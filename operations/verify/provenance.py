"""Where what differs has landed: the row's position, and the record that it came from, as far as Kafka still has it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from messaging import clients, ranges
from operations.barrier import PipelineProbe
from operations.verify.diff import Difference
from operations.verify.settle import TableResult
from schemas.decoders.record import key_bytes
from schemas.tables import Mode

SOUGHT = 20  # differences whose record is looked for: as many as are printed


def placed(result: TableResult, probe: PipelineProbe) -> TableResult:
    """The comparison with the places of what differs, and the records of the first ones. Events have no position."""
    if result.table.mode is Mode.EVENT or not (result.different or result.unsettled):
        return result
    return replace(result, different=_placed(result.different, probe), unsettled=_placed(result.unsettled, probe))


def _placed(found: Sequence[Difference], probe: PipelineProbe) -> list[Difference]:
    if not found:
        return []
    table = found[0].table
    places = probe.report.places(table, [each.key for each in found])
    known = [replace(each, place=places.get(each.key)) for each in found]
    starts = clients.start_offsets(probe.bootstrap, table.captured_topics)
    ends = clients.end_offsets(probe.bootstrap, table.captured_topics)
    kept = {at: (start, ends[at]) for at, start in starts.items()}
    return [_with_record(each, probe.bootstrap, kept) for each in known[:SOUGHT]] + known[SOUGHT:]


def _with_record(found: Difference, bootstrap: str, kept: Mapping[tuple[str, int], ranges.Span]) -> Difference:
    """With the topic and partition, of those of which Kafka has `kept` so much, in which the record of the row's key
    stands at the row's offset."""
    if found.place is None:
        return found
    offset = found.place.position.offset
    there = {at: (offset, offset + 1) for at, (start, end) in kept.items() if start <= offset < end}
    for message in ranges.records(bootstrap, there):
        if message.key() == key_bytes(found.table, found.key):
            record = str(message.topic()), int(message.partition() or 0)
            return replace(found, place=replace(found.place, record=record))
    return found
