"""Events archived from real Kafka, read back, verified and compacted; by other people's tools, too."""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import duckdb_extension_avro

from operations.archive.cat import json_lines
from schemas.tables import EVENTS
from sinks.archive.audit import audit
from sinks.archive.compaction import Merged, delete_unreferenced, merge_small_files
from sinks.archive.layout import bucket
from sinks.archive.reader import ArchiveSelection, records
from tests.support.archiving import Archiving


def compact(archive: Archiving, **how) -> list[Merged]:
    with tempfile.TemporaryDirectory() as spool:
        return list(merge_small_files(archive.log(), Path(spool), [EVENTS], **how))


def sweep_after(archive: Archiving, after: timedelta) -> list[str]:
    return [each.name for each in delete_unreferenced(archive.log(), [EVENTS], now=datetime.now(UTC) + after)]


def test_every_event_is_read_back_as_it_was_captured(archive: Archiving):
    events = archive.events(300)
    archive.send(events)
    archive.drain(archive.worker())
    shown = {each["event_id"]: each for each in map(json.loads, json_lines(archive.log(), EVENTS, ArchiveSelection()))}
    assert len(shown) == len(events)
    for event in events:
        found = shown[event["event_id"]]
        at = datetime.fromisoformat(event["occurred_at"])
        assert found["occurred_at"] == at.astimezone(UTC).isoformat(timespec="microseconds")
        assert found["event_day"] == at.date().isoformat()
        assert {name: found[name] for name in event if name != "occurred_at"} == {
            name: value for name, value in event.items() if name != "occurred_at"
        }


def test_a_tenants_day_is_read_alone(archive: Archiving):
    events = archive.events(300)
    archive.send(events)
    archive.drain(archive.worker())
    tenant, day = events[0]["tenant_id"], datetime.fromisoformat(events[0]["occurred_at"]).date()
    selection = ArchiveSelection(tenant=tenant, since=day, until=day)
    read = sorted(datum["event_id"] for datum in records(archive.log(), EVENTS, selection))
    assert read == sorted(
        event["event_id"]
        for event in events
        if event["tenant_id"] == tenant and event["occurred_at"].startswith(str(day))
    )


def test_the_worker_continues_during_compactions(archive: Archiving):
    events, worker = archive.events(400), archive.worker()
    for begin in range(0, 400, 100):
        archive.send(events[max(0, begin - 20) : begin + 100])  # twenty of them once more
        archive.drain(worker)
        reader = records(archive.log(), EVENTS)
        first = next(reader)
        compact(archive)
        sweep_after(archive, timedelta())
        assert sorted(each["event_id"] for each in [first, *reader]) == sorted(archive.archived())
    sweep_after(archive, timedelta(hours=2))
    assert sorted(archive.archived()) == sorted(event["event_id"] for event in events)
    manifest = archive.log().manifest()
    assert all(len(files) == 1 for files in manifest.folders(EVENTS.name).values())
    assert sum(file.rows for file in manifest.files.values()) == len(events)
    assert set(archive.store.sizes(EVENTS.name)) == set(manifest.files)
    assert audit(archive.log(), [EVENTS], now=datetime.now(UTC)).findings == []


def test_a_worker_that_has_files_open_loses_nothing_to_a_compaction(archive: Archiving):
    events = archive.events(200)
    archive.send(events[:100])
    archive.drain(archive.worker())
    archive.send(events[100:])
    late = archive.worker(group=f"{archive.name}-late", age=3600)
    while sum(late.spooled_offsets().values()) < 200:
        late.turn(0.2)
    compact(archive)
    late.publish()
    assert sorted(archive.archived()) == sorted(event["event_id"] for event in events)


def test_avro_tools_of_other_people_read_the_files(archive: Archiving):
    events = archive.events(120)
    archive.send(events)
    archive.drain(archive.worker())
    found: set[str] = set()
    for name in archive.log().manifest().files:
        path = Path(archive.url) / name
        shown = subprocess.run([sys.executable, "-m", "fastavro", path], capture_output=True, text=True, check=True)
        found |= {json.loads(line)["event_id"] for line in shown.stdout.splitlines()}
    assert found == {event["event_id"] for event in events}


def test_duckdb_reads_the_archive(archive: Archiving):
    events = archive.events(200)
    archive.send(events)
    archive.drain(archive.worker(codec="deflate"))
    archive.send(archive.events(50, seed=2))
    archive.drain(archive.worker(codec="deflate", group=f"{archive.name}-again"))
    compact(archive, codec="deflate")
    sweep_after(archive, timedelta(hours=2))
    (extension,) = Path(duckdb_extension_avro.__file__).parent.glob("extensions/v*/avro.duckdb_extension")
    with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as database:
        database.execute(f"LOAD '{extension}'")
        files = f"{archive.url}/events/**/*.avro"
        assert database.execute("SELECT count(*) FROM read_avro(?)", [files]).fetchall() == [(250,)]
        by_tenant = database.execute("SELECT tenant_id, count(*) FROM read_avro(?) GROUP BY 1", [files]).fetchall()
    everybody = [*events, *archive.events(50, seed=2)]
    assert dict(by_tenant) == Counter(event["tenant_id"] for event in everybody)
    assert {bucket(tenant) for tenant, _ in by_tenant} == {
        file.bucket for file in archive.log().manifest().files.values()
    }
