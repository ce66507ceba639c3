"""Each kind of dead letter has an entry in the runbook, which says the same."""

import re
from pathlib import Path

import pytest

from operations.dlq.remedies import remedies, remedy
from schemas.decoders.values import TOAST_PLACEHOLDER, converter
from schemas.errors import BadRecord
from schemas.sizes import CUT_AT
from schemas.tables import ORDERS
from schemas.types import Text
from schemas.wire import schema_id

RUNBOOK = (Path(__file__).parents[2] / "docs" / "runbook.md").read_text()


def entry(name: str) -> str:
    found = re.search(rf"^## {name}$(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert found, f"the runbook has no entry {name}"
    return " ".join(found[1].split())


@pytest.mark.parametrize("each", remedies(), ids=lambda each: each.entry)
def test_the_runbook_says_the_same(each):
    assert each.action in entry(each.entry)


def refused(what) -> str:
    with pytest.raises(BadRecord) as error:
        what()
    return str(error.value)


@pytest.mark.parametrize(
    ("error", "message", "name"),
    [
        ("BadRecord", refused(lambda: converter(Text(9))(TOAST_PLACEHOLDER)), "toast-placeholder"),
        ("BadRecord", refused(lambda: converter(Text())("x" * CUT_AT)), "value-cut"),
        ("BadRecord", refused(lambda: schema_id(b"{}")), "foreign-record"),
        ("BadRecord", "schema 7 is unknown to the registry at http://…", "schema-unknown"),
        (
            "BadRecord",
            "headrace-epoch: the header is missing: Connect's InsertHeader transform sets it",
            "epoch-missing",
        ),
        ("BadRecord", "price_history is append-only: expected an entry, got a delete", "catalog-entry-refused"),
        ("BadRecord", refused(lambda: converter(ORDERS.column("total").type)("NaN")), "record-not-understood"),
        ("Poison", 'reporting: 23514 new row for relation "orders" violates check constraint "x"', "value-refused"),
    ],
)
def test_an_error_leads_to_its_entry(error, message, name):
    assert remedy(error, message).entry == name
