"""The archive worker, killed at every moment between two effects, with a power cut each time."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

from schemas.failpoints import FailPoint
from schemas.tables import EVENTS
from sinks.archive.files import verify_file
from tests.support.archiving import Archiving

SEED = 20261125
ROOT = Path(__file__).parents[2]
POINTS = (
    FailPoint.SPOOLED,
    FailPoint.FILE_WRITTEN,
    FailPoint.FILE_SYNCED,
    FailPoint.FILE_NAMED,
    FailPoint.ENTRY_PUBLISHED,
    FailPoint.CHECKPOINT_PUBLISHED,
    FailPoint.OFFSETS_COMMITTED,
)


def run(archive: Archiving, group: str, **killed: object) -> int:
    """Run a worker in a consumer group of its own: a group would wait for a killed member."""
    told = {"url": archive.url, "name": archive.name, "group": f"{archive.name}-{group}", **killed}
    command = [sys.executable, "-m", "tests.support.archive_until", json.dumps(told)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def whole(archive: Archiving) -> list[str]:
    """Check every file that the manifest names against its checksum, and return the archived events."""
    for files in archive.log().manifest().folders(EVENTS.name).values():
        for file in files:
            verify_file(archive.store, file)
    return archive.archived()


def test_a_worker_killed_anywhere_leaves_every_event_archived_once(archive: Archiving):
    dice = random.Random(SEED)  # noqa: S311
    Path(archive.url).mkdir()
    sent: set[str] = set()
    for number, point in enumerate(POINTS):
        events = archive.events(120, seed=number)
        archive.send(events)
        sent |= {event["event_id"] for event in events}
        times = 1 if point is FailPoint.OFFSETS_COMMITTED else dice.randint(1, 3)
        killed = run(archive, str(number), point=point.name, times=times, seed=number)
        assert killed == -signal.SIGKILL, (SEED, point, times)
        archived = whole(archive)
        assert len(archived) == len(set(archived)), (SEED, point, times)
        assert set(archived) <= sent
    assert run(archive, "last") == 0
    archived = whole(archive)
    assert len(archived) == len(sent)
    assert set(archived) == sent
