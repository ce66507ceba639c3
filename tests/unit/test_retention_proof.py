"""The archive's proof: an event by its tenant, day and id, and by its content where that matters."""

from pathlib import Path

import pytest

from operations.retention.proof import ArchiveProof, Days, ProvenEvent, datum_text, proven_event_of
from schemas.checksums import row_text, sum_of
from schemas.tables import EVENTS
from sinks.archive.log import Log
from tests.support.archive_files import append, event, open_log

NAMES = [column.name for column in EVENTS.columns]
FIRST, SECOND = event(1), event(1, payload='{"number": 1, "second": true}')


def of_outbox(datum):
    return proven_event_of(EVENTS)(tuple(datum[name] for name in NAMES))


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """Create an archive with one event of an id, as the worker leaves out repeats."""
    append(open_log(tmp_path), [FIRST, SECOND, event(2)])
    return open_log(tmp_path)


def test_a_second_payload_of_an_archived_id_is_missing(log):
    missing = ArchiveProof(log).missing(EVENTS, {of_outbox(FIRST), of_outbox(SECOND), of_outbox(event(2))})
    assert missing == [of_outbox(SECOND)]
    assert str(missing[0]) == "00000000-0000-7000-8000-000000000001 of tenant-001, 2026-08-03"


def test_where_the_id_alone_is_known_it_is_looked_up_by_it(log):
    key = (FIRST["tenant_id"], FIRST["event_day"])
    wanted = {ProvenEvent(*key, FIRST["event_id"]), ProvenEvent(*key, "another")}
    assert ArchiveProof(log).missing(EVENTS, wanted) == [ProvenEvent(*key, "another")]


def test_an_archived_event_sums_as_its_row_does(log):
    text = row_text(EVENTS.columns)
    rows = [tuple(datum[name] for name in NAMES) for datum in (FIRST, event(2))]
    day = FIRST["event_day"]
    days = Days(day, day.replace(day=day.day + 1))
    assert ArchiveProof(log).sums(EVENTS, days, ["tenant-001"], datum_text(EVENTS)) == {
        "tenant-001": sum_of(map(text, rows))
    }
