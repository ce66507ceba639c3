"""A person's records are found whatever their JSON documents hold."""

import pytest

from schemas.errors import HeadraceError
from schemas.tables import EVENTS
from sinks.archive.subject import Subject, names_subject
from tests.support.archive_files import event


@pytest.mark.parametrize(
    "payload",
    [
        '{"customer_id": "c-1"}',
        '{"customer_id": "c-1", "amount": 1e999}',
        '{"customer_id": "c-1", "amount": 1' + "0" * 5_000 + "}",
        '{"customer_id": "c-1", "deep": ' + "[" * 900 + "]" * 900 + "}",
    ],
    ids=lambda payload: payload[:40],
)
def test_a_person_is_found_in_whatever_document_postgres_takes(payload: str):
    is_named = names_subject(EVENTS, Subject("tenant-001", "c-1"))
    assert is_named(event(1, payload=payload))
    assert not is_named(event(1, "tenant-002", payload=payload))
    assert not is_named(event(1, payload=payload.replace("c-1", "c-2")))


@pytest.mark.parametrize("payload", ["[1]", '"c-1"', "null", "{}", '{"customer_id": null}'])
def test_a_document_without_a_person_belongs_to_no_person(payload: str):
    assert not names_subject(EVENTS, Subject("tenant-001", "c-1"))(event(1, payload=payload))


def test_a_document_that_cannot_be_searched_is_never_passed_over():
    deep = event(1, payload="[" * 100_000 + "]" * 100_000)
    with pytest.raises(HeadraceError, match="nested too deeply"):
        names_subject(EVENTS, Subject("tenant-001", "c-1"))(deep)
