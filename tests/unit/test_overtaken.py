"""The rule for a key's last record that is older than the landed row."""

import pytest

from operations.verify.documents import can_capture_again
from operations.verify.overtaken import is_overtaken
from schemas.position import Position
from schemas.tables import ORDERS, PRODUCTS, Table

LANDED = Position(2, 10, log=(110, 120))


@pytest.mark.parametrize(
    ("last", "why"),
    [
        (Position(2, 12, log=(100, 105)), "a paused task sent it late"),
        (Position(2, 12, log=(105, 0)), "it is of the slot's first transaction"),
        (Position(1, 12, log=(900, 950)), "it is of an epoch before"),
        (Position(1, 12, read=True), "a snapshot of an epoch before read it"),
    ],
)
def test_an_older_record_behind_the_landed_one_is_found(last: Position, why: str) -> None:
    assert is_overtaken(last, LANDED), why


@pytest.mark.parametrize(
    ("last", "why"),
    [
        (LANDED, "it is what has landed"),
        (Position(2, 12, log=(110, 120)), "it is a repeat of what has landed"),
        (Position(2, 12, log=(130, 140)), "it is about to land"),
        (Position(2, 12, read=True), "it is a snapshot's read, about to land"),
        (Position(3, 0, log=(5, 5)), "a new epoch is about to land"),
        (Position(2, 9, log=(100, 105)), "reporting has read on"),
    ],
)
def test_any_other_last_record_is_not(last: Position, why: str) -> None:
    assert not is_overtaken(last, LANDED), why


def test_an_enriched_row_is_not_overtaken_by_the_record_that_it_was_made_of() -> None:
    assert not is_overtaken(Position(2, 12, log=(110, 120)), LANDED._replace(version=7))


@pytest.mark.parametrize(
    ("table", "sku", "possible"), [(PRODUCTS, "lamp", True), (PRODUCTS, "lâmpada", False), (ORDERS, "lâmpada", True)]
)
def test_a_repair_waits_for_no_key_that_it_cannot_write(table: Table, sku: str, possible: bool) -> None:
    assert can_capture_again(table, ("tenant", sku)) is possible
