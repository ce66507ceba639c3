"""A bad row is isolated, and all other rows land, in order."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from sinks.reporting.bisect import bisect
from sinks.reporting.port import Poison


@given(st.integers(0, 60), st.sets(st.integers(0, 59)))
def test_exactly_the_bad_items_come_back_and_the_rest_lands_in_order(count: int, bad: set[int]) -> None:
    landed: list[int] = []

    def land(items: Sequence[int]) -> None:
        if bad.intersection(items):
            raise Poison("bad")
        landed.extend(items)

    refused = bisect(land, range(count))
    assert [item for item, _ in refused] == sorted(bad & set(range(count)))
    assert landed == [item for item in range(count) if item not in bad]


def test_one_bad_row_of_ten_thousand_costs_a_few_transactions() -> None:
    calls = 0

    def land(items: Sequence[int]) -> None:
        nonlocal calls
        calls += 1
        if 6_789 in items:
            raise Poison("bad")

    assert len(bisect(land, range(10_000))) == 1
    assert calls < 30
