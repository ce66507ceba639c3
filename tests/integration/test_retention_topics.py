"""Records of event topics are deleted up to what the archive is proven to hold, and no further."""

import time

from messaging import clients
from messaging.decoding import Decoding
from operations.retention.proof import ArchiveProof
from operations.retention.topics import AgedRange, EventTopics
from sinks.archive.manifest import Kind
from tests.support.archiving import Archiving

DAY_MS = 86_400_000
NOW = int(time.time() * 1000)
OLD, CUTOFF = NOW - 100 * DAY_MS, NOW - 90 * DAY_MS


def topics(archive: Archiving) -> EventTopics:
    decoding = Decoding(archive.registry, [archive.table])
    proof = ArchiveProof(archive.log())
    return EventTopics(archive.bootstrap, archive.table, decoding, proof, dead_topic=archive.dead_letter_topic)


def aged_ranges(archive: Archiving, done: dict[tuple[str, int], int] | None = None) -> list[AgedRange]:
    ids = clients.topic_ids(archive.bootstrap, [archive.topic])
    return topics(archive).aged_ranges(CUTOFF, archive.log().manifest().archived(ids) if done is None else done)


def left(archive: Archiving) -> int:
    starts = clients.start_offsets(archive.bootstrap, [archive.topic])
    return sum(end - starts[at] for at, end in clients.end_offsets(archive.bootstrap, [archive.topic]).items())


def test_old_records_that_are_archived_go_and_young_ones_stay(archive: Archiving):
    archive.send(archive.events(80), timestamp=OLD)
    archive.send(archive.events(30, seed=2))
    archive.drain(archive.worker())
    found = aged_ranges(archive)
    assert sum(each.proven - each.start for each in found) == 80
    assert not any(each.missing for each in found)
    for each in found:
        topics(archive).delete(each)
    assert left(archive) == 30
    assert aged_ranges(archive) == []


def test_records_that_are_not_archived_yet_stay(archive: Archiving):
    archive.send(archive.events(80), timestamp=OLD)
    archive.drain(archive.worker())
    archive.send(archive.events(20, seed=2), timestamp=OLD)
    assert sum(each.proven - each.start for each in aged_ranges(archive)) == 80


def test_records_that_a_sink_still_reads_stay(archive: Archiving):
    archive.send(archive.events(80), timestamp=OLD)
    archive.drain(archive.worker())
    assert [each.proven for each in aged_ranges(archive, {(archive.topic, 0): 3})] == [3]


def test_a_record_whose_event_the_archive_lacks_stops_it_and_is_named(archive: Archiving):
    """The offsets say that all is archived; the files say otherwise."""
    events = archive.events(80)
    archive.send(events, timestamp=OLD)
    archive.drain(archive.worker())
    log = archive.log()
    lost, *_ = log.manifest().files.values()
    missing = {datum["event_id"] for datum in archive.records(lost)}
    log.commit(log.draft(Kind.EXPIRE, removed=(lost.name,)))
    found = aged_ranges(archive)
    named = " ".join(said for each in found for said in each.missing)
    assert {id_ for id_ in (event["event_id"] for event in events) if id_ in named} == missing
    for each in found:
        topics(archive).delete(each)
    starts = clients.start_offsets(archive.bootstrap, [archive.topic])
    for (_, partition), offset in starts.items():
        firsts = [low for at, (low, _) in lost.offsets.items() if at.endswith(f"/{partition}")]
        assert offset <= min(firsts, default=offset)


def test_an_undecodable_record_is_deleted_only_where_a_dead_letter_holds_it(archive: Archiving):
    archive.send(archive.events(10), timestamp=OLD)
    archive.put(b"x", b"not Avro", timestamp=OLD)
    archive.send(archive.events(10, seed=2), timestamp=OLD)
    archive.drain(archive.worker())
    assert sum(each.proven - each.start for each in aged_ranges(archive)) == 21
    archive.dead_letter_topic = f"{archive.name}.empty"  # as if no dead letter had been written
    archive.make_topics([archive.dead_letter_topic])
    found = aged_ranges(archive)
    assert sum(each.proven - each.start for each in found) < 21
    assert "no dead letter holds it" in str([each.missing for each in found])
