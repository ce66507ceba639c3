"""Is it still the source that capture has read? Each accident is a value here; real ones are in tests/chaos."""

import pytest

from operations.epoch.history import Identity, SourceState, committed_lsn, lsn, parse_branches, restart_reason, slot_gap

KNOWN = Identity(system=7, timeline=3)
HISTORY = """1\t0/3000000\tno recovery target specified

# a comment
2\t1/A0\tbefore 2026-11-23 12:00:00+00

3\t2/0\tno recovery target specified
"""


def now(position: int = 100, *, system: int = 7, timeline: int = 3, left: dict[int, int] | None = None) -> SourceState:
    return SourceState(identity=Identity(system=system, timeline=timeline), position=position, branches=left or {})


@pytest.mark.parametrize(
    ("sight", "read"),
    [
        pytest.param(now(), 100, id="everything is read"),
        pytest.param(now(), None, id="capture has not begun"),
        pytest.param(now(200), 100, id="a restart"),
        pytest.param(now(timeline=4, left={2: 10, 3: 60}), 60, id="a failover that lost nothing"),
        pytest.param(now(timeline=5, left={3: 60, 4: 70}), 55, id="two of them"),
        pytest.param(now(timeline=4, left={3: 60}), None, id="a failover before capture began"),
    ],
)
def test_the_same_history_goes_on(sight, read):
    assert restart_reason(KNOWN, sight, read) is None


@pytest.mark.parametrize(
    ("sight", "read", "said"),
    [
        (now(system=8), None, "another cluster (system identifier 8, not 7)"),
        (now(99), 100, "its log ends at 0/63, and capture has read to 0/64"),
        (now(timeline=2, left={1: 10}), 50, "timeline 2 does not come from timeline 3"),
        (now(timeline=1), None, "timeline 1 does not come from timeline 3"),
        (now(timeline=4, left={2: 10}), 50, "timeline 4 does not come from timeline 3"),
        (now(timeline=4, left={3: 60}), 61, "timeline 4 left timeline 3 at 0/3C, and capture has read to 0/3D"),
        (now(59, timeline=4, left={3: 50}), 60, "timeline 4 left timeline 3 at 0/32"),
    ],
)
def test_another_history_is_called_one(sight, read, said):
    assert said in (restart_reason(KNOWN, sight, read) or "")


def test_a_timelines_history_says_where_each_was_left():
    assert parse_branches(HISTORY) == {1: 0x3000000, 2: 0x1_000000A0, 3: 0x2_00000000}
    assert lsn(0x1_000000A0) == "1/A0"


@pytest.mark.parametrize(
    ("confirmed", "offset"),
    [
        pytest.param(None, 100, id="no slot: others say so"),
        pytest.param(100, None, id="nothing committed yet"),
        pytest.param(100, 100, id="all that is committed is confirmed"),
        pytest.param(99, 100, id="not confirmed yet"),
    ],
)
def test_a_slot_that_is_not_ahead_of_connect_sends_what_capture_lacks(confirmed, offset):
    assert slot_gap("headrace", confirmed, offset) is None


def test_a_slot_that_is_ahead_of_connect_was_moved():
    assert slot_gap("headrace", 101, 100) == (
        "replication slot headrace was moved to 0/65, and capture has committed 0/64: "
        "what was written between is not captured"
    )


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        pytest.param({}, None, id="none"),
        pytest.param({"snapshot": "INITIAL", "lsn": 5, "lsn_proc": 5}, None, id="within the first snapshot"),
        pytest.param({"lsn": 7, "lsn_proc": 7}, 7, id="before the first commit"),
        pytest.param({"lsn": 9, "lsn_proc": 9, "lsn_commit": 7}, 7, id="within a transaction"),
    ],
)
def test_what_an_offset_lets_the_slot_confirm(offset, expected):
    assert committed_lsn(offset) == expected
