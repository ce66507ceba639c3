"""The rule that decides which change a row keeps (docs/decisions/0001-position.md)."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.position import Position, enrichment_version

small = st.integers(0, 3)
positions = st.builds(
    lambda epoch, offset, version, log, read: Position(epoch, offset, version, (0, 0) if read else log, read),
    st.integers(1, 2),
    small,
    small,
    st.tuples(small, small),
    st.booleans(),
)


@given(positions)
def test_no_position_wins_over_itself(at: Position) -> None:
    assert not at.wins_over(at)


@given(positions, positions)
def test_of_two_positions_at_most_one_wins(one: Position, other: Position) -> None:
    assert not (one.wins_over(other) and other.wins_over(one))


def captured_at(position: Position) -> tuple[int, int]:
    return position.epoch, position.offset


pairs_in_order = st.lists(positions, min_size=2, max_size=2, unique_by=captured_at).map(
    lambda pair: sorted(pair, key=captured_at)
)


@given(pairs_in_order)
def test_a_change_captured_earlier_never_wins(pair: list[Position]) -> None:
    earlier, later = pair
    assert not earlier.wins_over(later)


lsns = st.integers(1, 5)
logs = st.tuples(lsns, lsns)


@given(logs, logs)
def test_a_snapshot_read_leaves_repeats_known_as_such(landed: tuple[int, int], repeated: tuple[int, int]) -> None:
    """A repeat of the row before the read is still one after the read."""
    stored = Position(1, 11, read=True).replacing(Position(1, 10, log=landed))
    assert stored.log == landed
    assert Position(1, 12, log=repeated).wins_over(stored) == (repeated > landed)


@given(logs, lsns)
def test_a_change_of_the_first_transaction_keeps_no_other_s_log_position(landed: tuple[int, int], lsn: int) -> None:
    first = Position(1, 11, log=(lsn, 0))
    assert first.replacing(Position(1, 10, log=landed)) is first


def test_a_crash_just_behind_a_snapshot_ends_at_the_newest_change_and_never_goes_back() -> None:
    """The first transaction changes the row twice, the second one once; then all of it is sent again."""
    changes = [(100, 0), (105, 0), (110, 120)]
    kept = Position(1, 9, read=True)
    seen = []
    for offset, log in enumerate([*changes[:2], *changes, *changes], start=10):
        if (sent := Position(1, offset, log=log)).wins_over(kept):
            kept = sent.replacing(kept)
        seen.append(kept.log)
    assert seen == [*changes[:2], *changes[1:2] * 2, *changes[2:] * 4]


def test_a_change_of_the_first_transaction_is_newer_than_a_row_that_an_earlier_slot_has_sent() -> None:
    """An earlier slot's commits lie below all that the new one sends; the row may have been read again since."""
    landed = Position(1, 10, log=(90, 80))
    first = Position(1, 12, log=(100, 0))
    assert first.wins_over(landed)
    assert first.wins_over(Position(1, 11, read=True).replacing(landed))
    assert not landed._replace(offset=13).wins_over(first)  # the earlier slot's task was paused, and sends late


def test_a_change_with_a_lower_lsn_wins_where_it_was_committed_later() -> None:
    delete, insert = Position(1, 10, log=(100, 900)), Position(1, 11, log=(200, 150))
    assert insert.wins_over(delete)


def test_a_repeat_at_a_higher_offset_is_skipped_unless_enrichment_decided_it_since() -> None:
    landed = Position(1, 10, enrichment_version(0, decided=False), (100, 100))
    assert not Position(1, 12, enrichment_version(0, decided=False), (100, 100)).wins_over(landed)
    assert Position(1, 12, enrichment_version(5, decided=True), (100, 100)).wins_over(landed)


def test_a_decided_line_wins_over_the_provisional_one_of_the_same_entry() -> None:
    assert (
        enrichment_version(7, decided=True) > enrichment_version(7, decided=False) > enrichment_version(6, decided=True)
    )


def test_a_new_epoch_starts_with_a_log_of_its_own() -> None:
    landed, restarted = Position(1, 900, log=(900, 900)), Position(2, 3, log=(5, 5))
    assert restarted.wins_over(landed)
    assert restarted.replacing(landed) is restarted
