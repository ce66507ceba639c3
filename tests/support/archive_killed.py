"""Run one archive operation in a process that is killed at a failpoint, with a power cut for the archive's folder."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from schemas.failpoints import FailPoint
from sinks.archive.batch import spooling
from sinks.archive.erasure import Eraser
from sinks.archive.log import Log
from sinks.archive.rebuild import rebuild_manifest
from sinks.archive.store import open_store
from sinks.archive.subject import Subject
from tests.support import failpoints

ROOT = Path(__file__).parents[2]


def run_killed(*, url: str, point: FailPoint, times: int, seed: int, erase: list[str] | None = None) -> None:
    """Erase a person (tenant, id) or, without `erase`, rebuild the manifest; assert that the process was killed when it
    reached `point` for the `times`-th time.
    """
    told = json.dumps({"url": url, "point": point.name, "times": times, "seed": seed, "erase": erase})
    command = [sys.executable, "-m", "tests.support.archive_killed", told]
    assert subprocess.run(command, cwd=ROOT, timeout=60, check=False).returncode == -signal.SIGKILL


def main(*, url: str, erase: list[str] | None, point: str, times: int, seed: int) -> None:
    store, death = open_store(url), (FailPoint[point], times, Path(url), seed)
    if erase is None:
        failpoints.at(*death)
        rebuild_manifest(store, "killed")
        return
    with spooling(store) as spool:
        eraser = Eraser(Log(store, "killed"), Subject(*erase), spool)
        found = eraser.find(eraser.groups(), {})
        failpoints.at(*death)
        eraser.erase(found.files, found.ids)


if __name__ == "__main__":
    arguments: dict[str, Any] = json.loads(sys.argv[1])
    main(**arguments)
