"""The entry that holds at an instant."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from streams.asof import CatalogEntry, as_of, with_entry


def entry(valid_from, name="n"):
    return CatalogEntry(valid_from, name, "c", Decimal(1))


HISTORY = (entry(10), entry(20), entry(30))


def test_the_latest_entry_that_is_not_later_holds():
    assert as_of(HISTORY, 25) == HISTORY[1]
    assert as_of(HISTORY, 99) == HISTORY[2]


def test_an_entry_holds_from_its_very_microsecond():
    assert as_of(HISTORY, 20) == HISTORY[1]
    assert as_of(HISTORY, 19) == HISTORY[0]


def test_a_product_that_reached_the_catalog_late_has_its_earliest_entry():
    assert as_of(HISTORY, 5) == HISTORY[0]


def test_without_entries_there_is_nothing_to_say():
    assert as_of((), 5) is None


def test_the_same_entry_read_again_changes_nothing():
    assert with_entry(HISTORY, HISTORY[1]) == HISTORY


@given(st.permutations(range(8)), st.integers(-1, 9))
def test_the_order_in_which_entries_are_read_does_not_matter(order, at):
    history = ()
    for valid_from in order:
        history = with_entry(history, entry(valid_from))
    assert history == tuple(entry(valid_from) for valid_from in range(8))
    assert as_of(history, at) == entry(min(max(at, 0), 7))
