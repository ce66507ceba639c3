"""Start over with a source whose history has restarted: `headrace epoch raise`.

1. Stop capture and record the next epoch. From here on records of earlier epochs lose against every later one.
2. Remove both connectors with their offsets, the replication slot and the publication.
3. Apply capture under the new epoch: all rows are read again, and every record has the new epoch.
4. Build a generation of reporting that skips records of earlier epochs, verify it, and cut readers over
   (operations/replay/run.py).

A run that was killed is resumed by the next one: the newest epoch is being raised until readers see a generation of it.
The generation that they see meanwhile still receives changes, and still shows the history that the source has lost.
"""

import socket
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from operations import capture, connections, generations
from operations.barrier import PipelineProbe
from operations.epoch import guard, store
from operations.epoch.history import connector_epoch, read_identity
from operations.epoch.store import Epoch
from operations.probe import open_probe
from operations.replay.run import replay
from operations.settings import Settings
from schemas.errors import HeadraceError
from schemas.failpoints import FailPoint, reached
from schemas.tables import Source


def raise_epoch(settings: Settings, folder: Path, out: Console, reason: str, *, max_rate: float = 0) -> None:
    """Raise the epoch and rebuild reporting from it, or resume that.

    Args:
        settings: Where the servers are.
        folder: The folder of the local stack.
        out: Where progress is printed.
        reason: Why the source's history has restarted; it is recorded.
        max_rate: The maximum number of records a second for each worker until cutover; 0 for no limit.

    Raises:
        HeadraceError: Nothing was ever captured. Also what applying capture and `replay` raise.
    """

    def report(text: str) -> None:
        out.print(text, markup=False, soft_wrap=True)

    with open_probe(settings) as probe:
        epoch = _begun(probe) or _begin(settings, probe, reason)
        reached(FailPoint.EPOCH_BEGUN)
        report(f"epoch {epoch.number}: {epoch.reason}")
        connector = probe.pipeline.connector(Source.POSTGRES)
        if connector_epoch(probe.connect, connector) != epoch.number:
            capture.remove(settings, report, topics=False)
            reached(FailPoint.CAPTURE_REMOVED)
    capture.apply(settings, report)
    reached(FailPoint.CAPTURE_APPLIED)
    replay(settings, folder, out, max_rate=max_rate, epoch=epoch.number)


def _begun(probe: PipelineProbe) -> Epoch | None:
    """Return the epoch that an earlier run has begun to raise; None if there is none."""
    newest = store.newest(probe.report)
    if newest is None:
        raise HeadraceError("nothing was ever captured: `headrace connectors apply` begins the first epoch")
    shown = generations.live(generations.read(probe.report.query))
    return newest if newest.ended is None and newest.number > shown.epoch else None


def _begin(settings: Settings, probe: PipelineProbe, reason: str) -> Epoch:
    guard.stop_capture(probe)
    with closing(connections.report(settings, "migrator")) as report:
        before = store.epochs(report)[-1].number
        by = f"epoch raise on {socket.gethostname()}"
        store.begin(report, before + 1, read_identity(probe.oltp), reason=reason, by=by)
        store.end(report, before, f"epoch {before + 1} was raised: {reason}", datetime.now(UTC))
        return store.epochs(report)[-1]
