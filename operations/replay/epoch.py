"""`headrace epoch raise`: begins anew with a source whose history restarted.

1. capture stops, and the next epoch is noted: from here on the one before counts for nothing
2. both connectors go with their offsets, the slot and the publication
3. capture is applied under the new epoch: all rows are read again, and every record says so
4. a generation of reporting is built that reads nothing of before, proven, and shown (operations/replay)

A run that ends anywhere is gone on with by the next one: until readers see a generation of the newest epoch, that is
the epoch being raised. The generation that they see meanwhile is fed on, and still shows the lost future.
"""

import socket
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from operations import capture, connections, generations
from operations.barrier import PipelineProbe
from operations.epoch import guard, store
from operations.epoch.history import identify, stamped
from operations.epoch.store import Epoch
from operations.replay.run import replay
from operations.settings import Settings
from schemas.errors import HeadraceError
from schemas.failpoints import FailPoint, reached
from schemas.tables import Source


def raise_epoch(settings: Settings, folder: Path, out: Console, reason: str, *, max_rate: float = 0) -> None:
    """Raise the epoch and rebuild the report from it, or go on with that. `folder` and `max_rate` are `replay`'s.

    Raises HeadraceError where nothing was ever captured, and what applying and replaying do.
    """

    def say(what: str) -> None:
        out.print(what, markup=False, soft_wrap=True)

    with connections.open_probe(settings) as probe:
        epoch = _begun(probe) or _begin(settings, probe, reason)
        reached(FailPoint.EPOCH_BEGUN)
        say(f"epoch {epoch.number}: {epoch.reason}")
        connector = probe.pipeline.connector(Source.POSTGRES)
        if stamped(probe.connect, connector) != epoch.number:
            capture.remove(settings, say, topics=False)
            reached(FailPoint.CAPTURE_REMOVED)
    capture.apply(settings, say)
    reached(FailPoint.CAPTURED_ANEW)
    replay(settings, folder, out, max_rate=max_rate, epoch=epoch.number)


def _begun(probe: PipelineProbe) -> Epoch | None:
    """The epoch that an earlier run has begun to raise."""
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
        store.record(report, before + 1, identify(probe.oltp), reason=reason, by=by)
        store.end(report, before, f"epoch {before + 1} was raised: {reason}", datetime.now(UTC))
        return store.epochs(report)[-1]
