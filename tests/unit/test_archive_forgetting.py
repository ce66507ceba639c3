"""Names of removed files are forgotten after a month, and a writer that has slept longer is refused all the same."""

from datetime import UTC, date, datetime, timedelta
from itertools import count
from uuid import UUID

import pytest

from sinks.archive.layout import ArchiveFolder, made_at, new_name
from sinks.archive.manifest import KEPT, ArchivedFile, Draft, Kind, Manifest, ManifestEntry

FOLDER = ArchiveFolder("events", 8, date(2026, 8, 3))
NOW = datetime(2026, 8, 3, 9, tzinfo=UTC)


def name(at: datetime) -> str:
    """Return the name of a file created at a time."""
    return f"{FOLDER}/{UUID(int=(int(at.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62) | next(_NUMBERS))}.avro"


_NUMBERS = count(1)


def file(named: str) -> ArchivedFile:
    return ArchivedFile(
        name=named, table="events", bucket=8, day=FOLDER.day, rows=1, size=1, sha256="", first=NOW, last=NOW,
        offsets={}, schema="",
    )  # fmt: skip


def draft(at: datetime, **content) -> Draft:
    return Draft(id=str(next(_NUMBERS)), kind=Kind.COMPACT, by="test", at=at, **content)


def after(manifest: Manifest, at: datetime) -> Manifest:
    """Apply a hundred entries of one time."""
    for _ in range(100):
        manifest.apply(ManifestEntry(number=manifest.number + 1, draft=draft(at)))
    return manifest


@pytest.fixture
def swept() -> tuple[Manifest, str]:
    """Return a manifest with one barred file, and the file's name."""
    named, manifest = name(NOW), Manifest()
    manifest.apply(ManifestEntry(number=1, draft=draft(NOW + timedelta(days=1), swept=(named,))))
    return manifest, named


def test_a_name_says_when_it_was_made():
    assert made_at(name(NOW)) == NOW
    made = made_at(new_name(FOLDER))
    assert made is not None and abs(datetime.now(UTC) - made) < timedelta(minutes=1)


@pytest.mark.parametrize("other", ["notes.txt", "x.avro", "5b1f8c1e-6f0e-4b3e-9d8a-2f6c1b7e4a55.avro"])
def test_a_name_that_is_none_of_ours_says_nothing(other: str):
    assert made_at(f"{FOLDER}/{other}") is None


def test_a_removed_name_is_remembered_for_a_month_and_then_forgotten(swept: tuple[Manifest, str]):
    manifest, named = swept
    assert named in after(manifest, NOW + KEPT).gone
    assert after(manifest, NOW + KEPT + timedelta(days=2)).gone == {}


@pytest.mark.parametrize("days", [1, 40])
def test_a_late_writer_is_refused_however_long_it_has_slept(swept: tuple[Manifest, str], days: int):
    manifest, named = swept
    late = draft(NOW, added=(file(named),))
    assert "removed before it was added" in str(after(manifest, NOW + timedelta(days=days)).commit_conflict(late))


def test_a_new_file_may_be_added_whatever_was_forgotten_and_whatever_a_clock_says(swept: tuple[Manifest, str]):
    manifest, _ = swept
    after(manifest, NOW + timedelta(days=40_000))  # somebody's clock was wrong
    assert manifest.commit_conflict(draft(NOW, added=(file(name(NOW + timedelta(seconds=1))),))) is None
