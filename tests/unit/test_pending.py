"""Undecided lines of a partition, the ack that they hold back, and the pending topic after a crash."""

from collections.abc import Sequence
from dataclasses import replace

from messaging.dead_letters import Record
from schemas.position import Position
from streams import pending_topic
from streams.enrich import Wait
from streams.undecided import UndecidedLine, UndecidedLines

LAMP = ("shop", "lamp")


def record(offset, key=b"k", value=b"v", headers=()):
    own = [("headrace-epoch", b"1"), *headers]
    return Record(topic="lines", partition=0, offset=offset, timestamp=0, key=key, value=value, headers=own)


def line(offset, key=b"k", *, due: int | None = 100, log=None, received_at=0.0):
    position = Position(1, offset, log=(offset, offset) if log is None else (log, log))
    wait = Wait(LAMP, due)
    return UndecidedLine(record=record(offset, key), key=key, position=position, wait=wait, received_at=received_at)


def undecided(*lines):
    found = UndecidedLines()
    for each in lines:
        found.track(each)
    return found


def offsets(lines: Sequence[UndecidedLine]):
    return [each.record.offset for each in lines]


def test_the_first_undecided_line_holds_back_the_ack():
    first, second = line(3, b"a"), line(5, b"b")
    found = undecided(first, second)
    assert found.first_unacked() == 3
    found.decide(first)
    assert found.first_unacked() == 5
    found.decide(second)
    assert found.first_unacked() is None


def test_a_line_decided_out_of_order_does_not_ack_the_one_before_it():
    first, second = line(3, b"a"), line(5, b"b")
    found = undecided(first, second)
    found.decide(second)
    assert found.first_unacked() == 3


def test_a_written_line_holds_nothing_back_but_still_waits():
    only = line(3)
    found = undecided(only)
    found.mark_spilled(only, b"k@1/3")
    assert found.first_unacked() is None
    assert offsets(found.pop_due(100, [])) == [3]


def test_a_line_is_looked_at_when_the_watermark_reaches_it():
    found = undecided(line(3, b"a", due=100), line(4, b"b", due=50))
    assert offsets(found.pop_due(49, [])) == []
    assert offsets(found.pop_due(50, [])) == [4]
    assert offsets(found.pop_due(200, [])) == [3]


def test_a_line_is_looked_at_when_its_product_arrives():
    found = undecided(line(3, due=None))
    assert offsets(found.pop_due(10**18, [("shop", "other")])) == []
    assert offsets(found.pop_due(0, [LAMP])) == [3]


def test_a_newer_change_of_the_line_replaces_the_one_that_waits():
    older, newer = line(3), line(8)
    found = undecided(older, newer)
    assert older.done
    assert found.first_unacked() == 8
    assert offsets(found.pop_due(100, [])) == [8]


def test_a_line_that_was_written_down_and_is_delivered_again_stays_written():
    written, again = line(3), line(3)
    found = undecided(written)
    found.mark_spilled(written, b"k@1/3")
    assert found.track(again) is None
    assert (found.first_unacked(), written.done) == (None, False)


def test_a_repeat_from_before_the_waiting_line_is_not_waited_for():
    """Debezium sends a suffix again after a crash: at a higher offset, but not higher in the source's log."""
    found = undecided(line(8, log=8), line(9, log=3))
    assert offsets(found.pop_due(100, [])) == [8]


def test_a_final_change_or_delete_ends_the_line_that_waits():
    older = line(3)
    found = undecided(older)
    assert found.supersede(b"k", Position(1, 9, log=(9, 9))) is older
    assert found.first_unacked() is None
    assert len(found) == 0


def test_a_final_repeat_of_an_older_change_does_not_end_the_line_that_waits():
    found = undecided(line(8, log=8))
    assert found.supersede(b"k", Position(1, 9, log=(3, 3))) is None
    assert found.first_unacked() == 8


def test_the_same_record_read_again_ends_what_was_written_down_of_it():
    found = undecided(line(8))
    assert found.supersede(b"k", Position(1, 8, log=(8, 8))) is not None


def test_what_is_beyond_the_bound_or_too_old_is_written_down_oldest_first():
    found = undecided(*(line(offset, b"%d" % offset, received_at=float(offset)) for offset in range(5)))
    assert offsets(found.overdue(4.0, count=3, age=60)) == [0, 1]
    assert offsets(found.overdue(62.0, count=9, age=60)) == [0, 1, 2]


def test_nothing_stays_in_memory_of_lines_that_are_finished():
    found = UndecidedLines()
    for offset in range(1_000):
        found.track(line(offset, due=None))
    assert len(found) == 1
    assert len(found._unknown[LAMP]) == 1


def test_lines_that_newer_changes_have_replaced_leave_memory_while_the_catalog_stands_still():
    found = UndecidedLines()
    for offset in range(20_000):
        found.track(line(offset, b"%d" % (offset % 3), due=100))
    assert len(found) == 3
    assert len(found._due) + found.unacked <= 12


def test_deleted_lines_leave_memory_while_the_catalog_stands_still():
    found = undecided(*(line(offset, b"%d" % offset) for offset in range(100)))
    for offset in range(100):
        found.supersede(b"%d" % offset, Position(1, 200 + offset, log=(200 + offset, 200 + offset)))
    assert (len(found._due), found.unacked) == (0, 0)


def test_what_waits_is_found_whatever_has_been_replaced_before_it():
    found = undecided(*(line(offset, b"%d" % (offset % 3), due=offset) for offset in range(100)))
    assert offsets(found.pop_due(1_000, [])) == [97, 98, 99]


def written(offset, key=b"k"):
    own = record(offset, key)
    return record(50, pending_topic.key(own), headers=[(pending_topic.ORIGIN_OFFSET, b"%d" % offset)])


def tombstone(offset, key=b"k"):
    return replace(written(offset, key), value=None)


def earlier_version(of, key=b"k"):
    """The same under the line's key alone."""
    return replace(of, key=key)


def remaining(*records):
    """The offsets of the lines that wait, those that have to be written again, and the obsolete keys."""
    found = pending_topic.remaining(iter(records), "lines")
    waits = [each.offset for each, _ in found.undecided]
    return waits, [each.offset for each, key in found.undecided if key is None], [key for _, key in found.obsolete]


def test_a_written_line_is_found_again_as_it_was_captured():
    (found,), obsolete, _ = pending_topic.remaining(iter([written(7)]), "lines")
    assert found == (record(7), b"k@1/7")
    assert obsolete == []


def test_a_tombstone_ends_its_line():
    assert remaining(written(7), tombstone(7)) == ([], [], [])


def test_a_tombstone_of_an_older_line_does_not_end_a_newer_one():
    """A worker that lost its partition may still finish what it held."""
    assert remaining(written(9), tombstone(7)) == ([9], [], [])


def test_of_two_lines_of_a_key_the_newer_waits_and_the_other_is_obsolete():
    assert remaining(written(9), written(7)) == ([9], [], [b"k@1/7"])
    assert remaining(written(7), written(9)) == ([9], [], [b"k@1/7"])


def test_the_tombstone_of_a_line_ends_those_that_it_had_replaced():
    assert remaining(written(7), written(9), tombstone(9)) == ([], [], [b"k@1/7"])


def test_lines_come_back_in_their_own_order():
    assert remaining(written(9, b"b"), written(7, b"a")) == ([7, 9], [], [])


def test_records_of_an_earlier_version_are_read_and_written_again_where_compaction_takes_them():
    older, newer = earlier_version(written(7)), earlier_version(written(9))
    assert remaining(newer) == ([9], [], [])
    assert remaining(newer, earlier_version(tombstone(9))) == ([], [], [])
    assert remaining(newer, earlier_version(tombstone(7))) == ([9], [9], [])
    assert remaining(newer, older) == ([9], [9], [b"k"])
    assert remaining(older, written(9)) == ([9], [], [b"k"])


def test_a_tombstone_ends_one_of_two_records_of_a_line():
    """A worker of an earlier version wrote the line under its bare key as well; one of the two is obsolete."""
    new, bare = written(5), earlier_version(written(5))
    assert remaining(new, bare) == ([5], [], [b"k@1/5"])
    assert remaining(new, bare, tombstone(5)) == ([5], [], [])
    assert remaining(new, bare, tombstone(5), earlier_version(tombstone(5))) == ([], [], [])
    assert remaining(bare, new) == ([5], [], [b"k"])
    assert remaining(bare, new, earlier_version(tombstone(5))) == ([5], [], [])
    assert remaining(bare, new, earlier_version(tombstone(5)), tombstone(5)) == ([], [], [])


def test_the_id_of_the_lines_topic_is_known_from_its_own_record():
    own = record(0, pending_topic.LINES_ID, b"an id")
    assert pending_topic.remaining(iter([own, written(7)]), "lines").lines_id == "an id"
    assert pending_topic.remaining(iter([written(7)]), "lines").lines_id is None
