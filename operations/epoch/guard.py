"""Stop capture when the source's system identifier or timeline diverges from the captured history, and record it.

Otherwise Debezium would ask the new history for changes after its old offset, and skip all changes before that.
"""

from dataclasses import replace
from datetime import UTC, datetime

from connectors.state import STOPPED
from operations.barrier import PipelineProbe, SourcePosition
from operations.epoch import store
from operations.epoch.history import (
    Offset,
    SourceRestarted,
    committed_lsn,
    connector_epoch,
    read_lsn,
    read_source_state,
    restart_reason,
    slot_gap,
)
from operations.epoch.store import Epoch
from schemas.errors import HeadraceError
from schemas.tables import Source


def check_source(probe: PipelineProbe, source: SourcePosition, replication: str) -> Epoch | None:
    """Check that capture can continue in the source's history. Changes nothing.

    Args:
        probe: The pipeline.
        source: Postgres' position, read just before the call.
        replication: A conninfo for a replication connection to the source.

    Returns:
        The current epoch with the source's present identity; None before capture was first applied.

    Raises:
        SourceRestarted: Capture can't continue, or could not at an earlier check.
    """
    epoch = store.newest(probe.report)
    if epoch is None:
        return None
    if epoch.ended is not None:
        raise SourceRestarted(epoch.ended)
    # Read after the slot and before the source's log: each of the three can only have grown since the one before.
    offset = _offset(probe, epoch.number)
    now = read_source_state(probe.oltp, epoch.identity, replication)
    why = restart_reason(epoch.identity, now, read_lsn(offset)) or slot_gap(
        probe.pipeline.slot, source.captured, committed_lsn(offset)
    )
    if why is not None:
        raise SourceRestarted(why)
    return replace(epoch, identity=now.identity)


def _offset(probe: PipelineProbe, epoch: int) -> Offset:
    """Return the offset that Connect has committed in this epoch; one of another epoch is of another history."""
    connector = probe.pipeline.connector(Source.POSTGRES)
    offsets = probe.connect.offsets(connector) if connector_epoch(probe.connect, connector) == epoch else []
    return offsets[0]["offset"] if offsets else {}


def check_or_stop(probe: PipelineProbe, source: SourcePosition, replication: str) -> Epoch | None:
    """Check the source as `check_source` does; stop capture and record the reason if the history diverges.

    The connector stays stopped, and the check fails, until the next epoch is raised. A failover that lost nothing is
    recorded, too: its timeline is the known one from now on.
    """
    known = store.newest(probe.report)
    if known is None:
        return None
    try:
        epoch = check_source(probe, source, replication)
    except SourceRestarted as error:
        stop_capture(probe)
        store.end(probe.report, known.number, error.why, datetime.now(UTC))
        raise
    if epoch is not None and epoch.identity != known.identity:
        store.set_timeline(probe.report, known.number, epoch.identity.timeline)
    return epoch


def stop_capture(probe: PipelineProbe) -> None:
    """Stop the connector that reads Postgres, unless there is none or it is stopped."""
    connector = probe.pipeline.connector(Source.POSTGRES)
    if probe.connect.seen(connector) is not None and probe.connect.status(connector).state != STOPPED:
        probe.connect.stop(connector)


def require_raised(probe: PipelineProbe, epoch: Epoch) -> None:
    """Check that capture has left the epochs before this one: continuing from their offsets would leave a gap.

    Raises:
        HeadraceError: The connector's offsets are of an earlier epoch.
    """
    connector = probe.pipeline.connector(Source.POSTGRES)
    before = connector_epoch(probe.connect, connector)
    if before is not None and before < epoch.number and probe.connect.offsets(connector):
        raise HeadraceError(
            f"epoch {epoch.number} was raised, and connector {connector} is still in epoch {before}: "
            "`headrace epoch raise` resumes"
        )
