"""Every dead letter has an entry in the runbook, whose action is the one that the command prints."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from messaging.dead_letters import DeadLetter, Record
from messaging.decoding import epoch
from operations.dlq.remedies import remedies, remedy
from schemas.change import Change, Op
from schemas.decoders.record import key_fields, row_decoder
from schemas.decoders.values import TOAST_PLACEHOLDER, converter
from schemas.errors import BadRecord
from schemas.position import Position
from schemas.sizes import CUT_AT
from schemas.tables import ORDERS, PRICE_HISTORY
from schemas.types import Text
from schemas.wire import schema_id
from sinks.reporting.port import Poison
from streams.catalog_reader import entry_reader

RUNBOOK = (Path(__file__).parents[2] / "docs" / "runbook.md").read_text()


def entry(name: str) -> str:
    found = re.search(rf"^## {name}$(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert found, f"the runbook has no entry {name}"
    return " ".join(found[1].split())


@pytest.mark.parametrize("each", remedies(), ids=lambda each: each.entry)
def test_the_runbook_has_the_same_action(each):
    assert each.action in entry(each.entry)


def refused(call) -> BadRecord:
    with pytest.raises(BadRecord) as error:
        call()
    return error.value


def letter(error: str, message: str, anchor: str | None = None) -> DeadLetter:
    record = Record(topic="t", partition=0, offset=0, timestamp=0, key=None, value=None, headers=[])
    return DeadLetter(record=record, error=error, message=message, worker="report", offset=0, seen=0, entry=anchor)


def read_deleted_price() -> None:
    at = datetime(2026, 11, 23, 12, tzinfo=UTC)
    deleted = Change(
        table=PRICE_HISTORY, key=("t", "s", at), op=Op.DELETE, position=Position(1, 0), source_time=at, row=None
    )
    entry_reader(PRICE_HISTORY)(deleted)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: converter(Text(9))(TOAST_PLACEHOLDER), "toast-placeholder"),
        (lambda: converter(Text())("x" * CUT_AT), "value-cut"),
        (lambda: row_decoder((ORDERS.column("status"),))({"status": TOAST_PLACEHOLDER}), "toast-placeholder"),
        (lambda: schema_id(b"{}"), "foreign-record"),
        (lambda: key_fields(b"7"), "foreign-record"),
        (lambda: epoch([]), "epoch-missing"),
        (lambda: epoch([("headrace-epoch", b"0")]), "epoch-missing"),
        (read_deleted_price, "catalog-entry-refused"),
        (lambda: converter(ORDERS.column("total").type)("NaN"), "record-not-understood"),
    ],
)
def test_an_error_carries_its_entry_and_the_letter_leads_there(call, name):
    error = refused(call)
    assert error.entry == name
    assert remedy(letter("BadRecord", "any text", error.entry)).entry == name


def test_a_value_that_the_database_refuses_carries_its_entry():
    assert Poison("reporting: 23514").entry == "value-refused"


@pytest.mark.parametrize("anchor", [None, "an-entry-of-a-newer-version"])
@pytest.mark.parametrize(
    ("error", "message", "name"),
    [
        ("BadRecord", str(refused(lambda: converter(Text(9))(TOAST_PLACEHOLDER))), "toast-placeholder"),
        ("BadRecord", str(refused(lambda: converter(Text())("x" * CUT_AT))), "value-cut"),
        ("BadRecord", "the value is too long, so capture has cut it", "value-cut"),
        ("BadRecord", str(refused(lambda: schema_id(b"{}"))), "foreign-record"),
        ("BadRecord", "key: expected a JSON object, got null", "foreign-record"),
        ("BadRecord", "schema 7 is unknown to the registry at http://…", "schema-unknown"),
        (
            "BadRecord",
            "headrace-epoch: the header is missing: Connect's InsertHeader transform sets it",
            "epoch-missing",
        ),
        ("BadRecord", "headrace-epoch: reporting knows no epoch 7", "epoch-unknown"),
        ("BadRecord", "price_history is append-only: expected an entry, got a delete", "catalog-entry-refused"),
        (
            "BadRecord",
            str(refused(lambda: converter(ORDERS.column("total").type)("NaN"))),
            "record-not-understood",
        ),
        ("Poison", 'reporting: 23514 new row for relation "orders" violates check constraint "x"', "value-refused"),
    ],
)
def test_a_letter_from_before_anchors_leads_to_its_entry(error, message, name, anchor):
    assert remedy(letter(error, message, anchor)).entry == name
