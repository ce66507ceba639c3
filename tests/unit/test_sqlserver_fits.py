"""A text that SQL Server's columns cannot hold is named before it is sent. tests/contract asks a server."""

import pytest

from schemas.tables import ORDERS
from sinks.reporting.port import Poison
from sinks.reporting.sqlserver.bulk_json import require_fits, to_json
from sinks.reporting.staging import text_lengths

COLUMNS, LIMITS = ("order_id", "status", "note"), {"order_id": 4, "status": 2}


def fits(*row: object) -> None:
    require_fits(COLUMNS, LIMITS, [("a", "b", "c"), row], to_json([("a", "b", "c"), row]))


@pytest.mark.parametrize("status", ["😀", "é漢", None, 7])
def test_what_a_column_can_hold_passes(status: object):
    fits("a😀b", status, "😀" * 5_000)


@pytest.mark.parametrize(("status", "units"), [("😀a", 3), ("😀😀", 4)])
def test_text_of_more_utf_16_units_than_its_column_has_is_named_and_not_quoted(status: str, units: int):
    with pytest.raises(Poison) as refused:
        fits("a", status, "c")
    assert str(refused.value) == f"status: expected at most 2 UTF-16 code units, got {units}"


def test_limits_are_those_that_the_table_declares():
    assert text_lengths(ORDERS)["status"] == 32
