"""Folding is only a saving: what lands is what landing each change by itself would have left."""

from datetime import UTC, datetime

import hypothesis.strategies as st
from hypothesis import given

from schemas.change import Change, Op
from schemas.fold import fold
from schemas.position import Position
from schemas.tables import EVENTS, ORDERS, Table
from sinks.reporting.memory import MemoryReporting, Stored
from sinks.reporting.port import Batch

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
KEYS = ("a", "b", "c")


def change(offset: int, key: str, position: Position, *, deleted: bool = False, table: Table = ORDERS) -> Change:
    row = tuple(f"{key}@{offset}" for _ in table.all_columns)
    op = Op.DELETE if deleted else Op.READ if position.read else Op.UPDATE
    return Change(table=table, key=(key,), op=op, position=position, source_time=NOON, row=None if deleted else row)


@st.composite
def logs(draw: st.DrawFn) -> list[Change]:
    """A partition's log as capture may write it: commits (the previous one unknown at first), snapshot reads, repeats,
    enrichments, restarts."""
    log: list[Change] = []
    lsn, epoch = 0, 1
    for offset in range(draw(st.integers(1, 25))):
        key = draw(st.sampled_from(KEYS))
        match draw(st.sampled_from(["commit", "commit", "delete", "first", "read", "repeat", "again", "restart"])):
            case "read":
                log.append(change(offset, key, Position(epoch, offset, read=True)))
            case "repeat" if log:
                earlier = draw(st.sampled_from(log))
                if earlier.position.epoch == epoch:
                    at = earlier.position._replace(offset=offset)
                    log.append(change(offset, str(earlier.key[0]), at, deleted=earlier.row is None))
            case "again" if log:
                at = log[-1].position
                log.append(change(offset, str(log[-1].key[0]), at._replace(version=draw(st.integers(0, 3)))))
            case "restart":
                epoch, lsn = epoch + 1, 0
            case kind:
                lsn += 10
                at = (lsn, 0) if kind == "first" else (lsn, lsn)
                log.append(change(offset, key, Position(epoch, offset, log=at), deleted=kind == "delete"))
    return log


def rows(*batches: list[Change]) -> dict[object, Stored]:
    reporting = MemoryReporting()
    for batch in batches:
        reporting.land(Batch(changes=batch, checkpoints={}))
    return {
        key: Stored(row=each.row, position=each.position._replace(read=False), source_time=each.source_time)
        for key, each in reporting.rows(ORDERS).items()
    }


@given(logs(), st.data())
def test_however_a_log_is_cut_into_batches_the_same_rows_land(log: list[Change], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(log)))))
    batches = [log[start:end] for start, end in zip([0, *cuts], [*cuts, len(log)], strict=True)]
    assert rows(*batches) == rows(*([each] for each in log))


@given(logs(), st.data())
def test_landing_any_part_again_changes_nothing(log: list[Change], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(log)))
    end = data.draw(st.integers(start, len(log)))
    assert rows(log, log[start:end]) == rows(log)


@given(logs())
def test_no_round_holds_a_key_twice_and_none_is_empty(log: list[Change]) -> None:
    for each in fold(log):
        assert all(key == held.key for key, held in each.items())
        assert each or not log


def test_streamed_changes_fold_to_one_round() -> None:
    log = [change(n, KEYS[n % 3], Position(1, n, log=(n, n))) for n in range(30)]
    (newest,) = fold(log)
    assert {key: held.position.offset for key, held in newest.items()} == {("a",): 27, ("b",): 28, ("c",): 29}


def test_a_snapshot_under_traffic_needs_two_rounds_and_no_more() -> None:
    """Each key is read, then changed: the changes wait together for one second round."""
    log = []
    for n in range(100):
        log.append(change(2 * n, f"k{n}", Position(1, 2 * n, read=True)))
        log.append(change(2 * n + 1, f"k{n}", Position(1, 2 * n + 1, log=(n + 1, n + 1))))
    assert [len(each) for each in fold(log)] == [100, 100]


def test_of_a_repeated_event_the_first_one_stays() -> None:
    first, repeat = (change(n, "e", Position(1, n), table=EVENTS) for n in (1, 2))
    assert fold([first, repeat]) == [{("e",): first}]
