"""The soak's own parts: its schedule, and that each invariant is seen to fail on a made-up violation."""

import struct
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest

from tests.soak.invariants import Marker, NewestRows, Stamp, Version, freshness_ahead, missing
from tests.soak.pgoutput import transactions
from tests.soak.report import Outcome, lines, untold
from tests.soak.schedule import DECK, QUIET_S, schedule

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
KEY = ("t", "o1")
MARKER = Marker(table="orders", key=KEY, updated_at=NOON, committed=NOON + timedelta(seconds=1))


def version(commit=1, position=(1, 10, 0), updated_at=NOON):
    return Version(table="orders", key=KEY, position=position, updated_at=updated_at, commit=commit, committed=NOON)


def stamp(commit, seconds):
    return Stamp(table="orders", through=NOON + timedelta(seconds=seconds), commit=commit)


def landed(*versions):
    return {("orders", KEY): list(versions)}


def test_a_schedule_is_the_same_for_the_same_seed_and_another_for_another():
    assert schedule(7, 600) == schedule(7, 600)
    assert schedule(7, 600) != schedule(8, 600)


def test_a_longer_schedule_begins_as_a_shorter_one_does():
    short = schedule(7, 300)
    assert schedule(7, 3600)[: len(short)] == short


def test_every_fault_has_its_turn_and_the_end_is_quiet():
    actions = schedule(7, 900)
    assert {(action.kind, action.target.partition(".")[0]) for action in actions} == set(DECK)
    assert [action.at for action in actions] == sorted(action.at for action in actions)
    assert actions[-1].at <= 900 - QUIET_S


def test_a_row_that_goes_forward_or_is_written_again_is_right():
    rows = NewestRows()
    for position in ((1, 10, 0), (1, 10, 0), (1, 10, 5), (1, 11, 0), (2, 0, 0)):
        assert rows.see(version(position=position)) is None
    assert len(rows) == 1


def test_a_row_whose_position_goes_back_is_seen():
    rows = NewestRows()
    rows.see(version(position=(1, 10, 5)))
    assert "from position (1, 10, 5) to (1, 10, 0)" in str(rows.see(version(position=(1, 10, 0))))


def test_a_row_whose_updated_at_goes_back_is_seen_also_behind_its_delete():
    rows = NewestRows()
    rows.see(version())
    assert rows.see(version(position=(1, 11, 0), updated_at=None)) is None
    older = version(position=(1, 12, 0), updated_at=NOON - timedelta(microseconds=1))
    assert "from updated_at" in str(rows.see(older))


def test_a_marker_that_never_came_is_missing_and_so_is_one_of_which_an_older_state_came():
    assert len(missing([MARKER], {})) == 1
    assert len(missing([MARKER], landed(version(updated_at=NOON - timedelta(seconds=1))))) == 1
    assert missing([MARKER], landed(version())) == []
    assert missing([MARKER], landed(version(updated_at=NOON + timedelta(hours=1)))) == []


def test_a_stamp_before_its_marker_is_ahead_and_one_behind_it_or_of_an_earlier_moment_is_not():
    seen = landed(version(commit=5))
    assert freshness_ahead([MARKER], seen, [stamp(3, seconds=0), stamp(6, seconds=2)]) == []
    assert len(freshness_ahead([MARKER], seen, [stamp(4, seconds=1)])) == 1
    assert len(freshness_ahead([MARKER], seen, [stamp(3, seconds=0), stamp(4, seconds=9), stamp(6, seconds=10)])) == 1
    assert len(freshness_ahead([MARKER], {}, [stamp(4, seconds=1)])) == 1
    assert freshness_ahead([MARKER], seen, [replace(stamp(4, seconds=1), table="payments")]) == []


def test_the_rows_of_a_transaction_are_read_from_the_log():
    text = b"\0\0\0\1".join((b"t", b"7"))
    relation = (
        b"R" + struct.pack(">I", 5) + b"s\0orders\0d" + struct.pack(">H", 2)
        + b"\1id\0" + bytes(8) + b"\0note\0" + bytes(8)
    )  # fmt: skip
    new = struct.pack(">H", 2) + text + b"n"
    old = b"K" + struct.pack(">H", 2) + text + b"n"
    messages = [
        b"B" + bytes(20),
        relation,
        b"I" + struct.pack(">I", 5) + b"N" + new,
        b"U" + struct.pack(">I", 5) + old + b"N" + new,
        b"C\0" + struct.pack(">QQq", 30, 40, 1_000_000),
    ]
    (found,) = transactions(messages)
    assert (found.lsn, found.end, found.committed) == (30, 40, datetime(2000, 1, 1, 0, 0, 1, tzinfo=UTC))
    assert [each.row for each in found.written] == [{"id": "7", "note": None}] * 2
    assert found.written[0].relation.key == ("id",)


HELD = Outcome(
    seed=7,
    commit="abc",
    minutes=1,
    commits=2,
    repeats=1,
    retries=0,
    dead_letters=0,
    rows=2,
    seen=2,
    delays=[0.1, 0.2],
    wrong=[],
    missing=[],
    verify="equal",
    verified=True,
    done=Counter({"kill report": 1}),
    failed=[],
    exits=Counter({("report", -9): 1}),
    restarted=0,
    memory={"report": (1, 2, 3)},
)


@pytest.mark.parametrize(
    "wrong",
    [
        {"dead_letters": 1},
        {"wrong": ["a row went back"]},
        {"missing": ["a commit"]},
        {"verified": False},
        {"failed": ["an action"]},
        {"delays": []},
        {"commits": 0},
        {"done": Counter()},
    ],
    ids=str,
)
def test_a_run_held_only_when_something_was_watched_and_nothing_was_wrong(wrong):
    assert list(lines(HELD))[-1] == "all invariants held"
    assert list(lines(replace(HELD, **wrong)))[-1] == "NOT all invariants held"


def test_each_finding_is_told_once_wherever_it_stands_in_the_list():
    told: set[str] = set()
    assert untold(["a row went back", "too early"], told) == ["a row went back", "too early"]
    assert untold(["a row went back", "another went back", "too early"], told) == ["another went back"]


def test_the_product_still_has_the_names_that_the_soak_uses():
    import_module("tests.soak.__main__")
