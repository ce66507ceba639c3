"""Keeps capture from going on with another history than it has read: who looks stops it, and says so for good.

Without that, Debezium would ask the new history for what comes behind its old offset, and pass over everything before.
"""

from dataclasses import replace
from datetime import UTC, datetime

from connectors.plan import STOPPED
from operations.barrier import PipelineProbe, SourcePosition
from operations.epoch import store
from operations.epoch.history import Offset, SourceRestarted, committed, moved, read_to, restarted, sight, stamped
from operations.epoch.store import Epoch
from schemas.errors import HeadraceError
from schemas.tables import Source


def check_source(probe: PipelineProbe, stand: SourcePosition, replication: str) -> Epoch | None:
    """The epoch that capture is in, its identity being the source's; None before capture was first applied.

    Raises SourceRestarted when capture can't continue in the source's history, now or once before. Changes nothing.
    `stand` is where Postgres stood just before the call; `replication` is how a replication connection to it is made.
    """
    epoch = store.newest(probe.report)
    if epoch is None:
        return None
    if epoch.ended is not None:
        raise SourceRestarted(epoch.ended)
    # Behind the slot and before the source's log: of the three, each can only have grown since the one before it.
    offset = _offset(probe, epoch.number)
    now = sight(probe.oltp, epoch.identity, replication)
    why = restarted(epoch.identity, now, read_to(offset)) or moved(
        probe.pipeline.slot, stand.captured, committed(offset)
    )
    if why is not None:
        raise SourceRestarted(why)
    return replace(epoch, identity=now.identity)


def _offset(probe: PipelineProbe, epoch: int) -> Offset:
    """The offset that Connect has committed in this epoch; another epoch's is another history's."""
    connector = probe.pipeline.connector(Source.POSTGRES)
    offsets = probe.connect.offsets(connector) if stamped(probe.connect, connector) == epoch else []
    return offsets[0]["offset"] if offsets else {}


def guard(probe: PipelineProbe, stand: SourcePosition, replication: str) -> Epoch | None:
    """As `check_source`; but what it raises stops the connector, and is noted in `headrace.epoch`: until the next epoch
    is raised, the answer stays. A failover that lost nothing is noted, too: its timeline is the known one from now on.
    """
    known = store.newest(probe.report)
    if known is None:
        return None
    try:
        epoch = check_source(probe, stand, replication)
    except SourceRestarted as error:
        stop_capture(probe)
        store.end(probe.report, known.number, error.why, datetime.now(UTC))
        raise
    if epoch is not None and epoch.identity != known.identity:
        store.follow(probe.report, known.number, epoch.identity.timeline)
    return epoch


def stop_capture(probe: PipelineProbe) -> None:
    """Stop the connector that reads Postgres, if there is one and it isn't stopped."""
    connector = probe.pipeline.connector(Source.POSTGRES)
    if probe.connect.seen(connector) is not None and probe.connect.status(connector).state != STOPPED:
        probe.connect.stop(connector)


def require_raised(probe: PipelineProbe, epoch: Epoch) -> None:
    """Raises HeadraceError while capture still stands in an epoch before this one: going on from its offsets under the
    new one would leave a gap."""
    connector = probe.pipeline.connector(Source.POSTGRES)
    before = stamped(probe.connect, connector)
    if before is not None and before < epoch.number and probe.connect.offsets(connector):
        raise HeadraceError(
            f"epoch {epoch.number} was raised, and connector {connector} still stands in epoch {before}: "
            "`headrace epoch raise` goes on where it was stopped"
        )
