"""Run one archive worker as a separate process: `python -m tests.support.archive_until '{"url": …, "point": …}'`.

It archives the records now in the topic, publishing often, and ends; or is killed at a failpoint.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from operations.settings import load
from schemas.failpoints import FailPoint
from sinks.archive import log
from tests.support import failpoints
from tests.support.archiving import Archiving


def main(*, url: str, name: str, group: str, **death: Any) -> None:
    log.CHECKPOINT_EVERY = 1
    archive = Archiving(load(), url, name=name)
    worker = archive.worker(group, size=1, batch=40, age=0.05)
    if death:
        failpoints.at(FailPoint[death["point"]], death["times"], Path(url), death["seed"])
    archive.drain(worker)
    os._exit(0)  # the topic stays


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
