"""Add to each difference the position of reporting's row, and the record that it came from if Kafka still has it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from messaging import clients, ranges
from operations.barrier import PipelineProbe
from operations.verify.diff import Difference
from operations.verify.settle import TableResult
from schemas.decoders import mongo, record
from schemas.errors import BadRecord
from schemas.tables import Mode, Source

SOUGHT = 20  # differences whose record is looked for: as many as are printed


def with_places(result: TableResult, probe: PipelineProbe) -> TableResult:
    """Return the comparison with the place of each difference, and the records of the first ones.

    Events have no position, so their comparison is returned as it is.
    """
    if result.table.mode is Mode.EVENT or not (result.different or result.unsettled):
        return result
    return replace(
        result, different=_with_places(result.different, probe), unsettled=_with_places(result.unsettled, probe)
    )


def _with_places(found: Sequence[Difference], probe: PipelineProbe) -> list[Difference]:
    if not found:
        return []
    table = found[0].table
    places = probe.report.places(table, [each.key for each in found])
    known = [replace(each, place=places.get(each.key)) for each in found]
    starts = clients.start_offsets(probe.bootstrap, table.captured_topics)
    ends = clients.end_offsets(probe.bootstrap, table.captured_topics)
    kept = {at: (start, ends[at]) for at, start in starts.items()}
    return [with_record(each, probe.bootstrap, kept) for each in known[:SOUGHT]] + known[SOUGHT:]


def with_record(found: Difference, bootstrap: str, kept: Mapping[tuple[str, int], ranges.Span]) -> Difference:
    """Return the difference with the topic and partition of the record that its row has landed from.

    The record has the row's key, at the offset of the row's position. `kept` are the offsets that Kafka still has of
    each partition; the difference is returned as it is when none of them holds the record.
    """
    if found.place is None:
        return found
    offset = found.place.position.offset
    there = {at: (offset, offset + 1) for at, (start, end) in kept.items() if start <= offset < end}
    for message in ranges.records(bootstrap, there):
        if _has_key(found, message.key()):
            at = str(message.topic()), int(message.partition() or 0)
            return replace(found, place=replace(found.place, record=at))
    return found


def _has_key(found: Difference, raw: bytes | None) -> bool:
    """Compare keys by their values: the bytes of a document's key aren't known in every case."""
    decoder = mongo.key_decoder if found.table.source is Source.MONGODB else record.key_decoder
    try:
        return decoder(found.table)(raw) == found.key
    except BadRecord:
        return False
