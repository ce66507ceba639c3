"""The offset at which a partition's reading resumes."""

import pytest

from messaging.offsets import OffsetGone, TopicReplaced
from streams.start_offsets import Committed, check_id, check_whole, start


def test_a_first_start_begins_at_the_beginning():
    assert start("lines/0", None, 0, 9) == 0


@pytest.mark.parametrize("offset", [3, 5, 9])
def test_what_is_committed_is_read_on_from(offset):
    assert start("lines/0", Committed(offset, "id"), 3, 9) == offset


@pytest.mark.parametrize("offset", [2, 10])
def test_an_offset_that_the_topic_does_not_hold_stops_the_worker(offset):
    with pytest.raises(OffsetGone, match=r"lines/0: .*offset \d+, the topic holds 3 to 9.*#offset-gone"):
        start("lines/0", Committed(offset, "id"), 3, 9)


def test_a_topic_that_was_made_anew_stops_the_worker():
    check_id("lines", "one", "one")
    with pytest.raises(TopicReplaced, match=r"lines: .*topic id one, the topic now has two.*#topic-replaced"):
        check_id("lines", "one", "two")


@pytest.mark.parametrize("unknown", [None, ""])
def test_an_id_that_was_never_written_is_no_other(unknown):
    check_id("lines", unknown, "one")


def test_a_topic_that_must_be_read_whole_begins_at_zero():
    check_whole("catalog/0", 0)
    with pytest.raises(
        OffsetGone, match=r"catalog/0: the topic must be read whole, but begins at offset 1\..*#offset-gone"
    ):
        check_whole("catalog/0", 1)
