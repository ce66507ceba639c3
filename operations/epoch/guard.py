"""Keeps capture from going on with another history than it has read: who looks stops it, and says so for good.

Without that, Debezium would ask the new history for what comes behind its old offset, and pass over everything before.
"""

from dataclasses import replace
from datetime import UTC, datetime

from connectors.plan import STOPPED
from operations.barrier import Hops
from operations.epoch import store
from operations.epoch.history import SourceRestarted, read_to, restarted, sight, stamped
from operations.epoch.store import Epoch
from schemas.errors import HeadraceError
from schemas.tables import Source


def look(hops: Hops, replication: str) -> Epoch | None:
    """The epoch that capture is in, its identity being the source's; None before capture was first applied.

    Raises SourceRestarted when the source's history is another one, now or once before. Changes nothing.
    `replication` is how a replication connection to the source is made.
    """
    epoch = store.newest(hops.report)
    if epoch is None:
        return None
    if epoch.ended is not None:
        raise SourceRestarted(epoch.ended)
    # Before the source is asked: its log can only have grown since. Another epoch's offsets are another history's.
    connector = hops.line.connector(Source.POSTGRES)
    read = read_to(hops.connect, connector) if stamped(hops.connect, connector) == epoch.number else None
    now = sight(hops.oltp, epoch.identity, replication)
    if (why := restarted(epoch.identity, now, read)) is not None:
        raise SourceRestarted(why)
    return replace(epoch, identity=now.identity)


def guard(hops: Hops, replication: str) -> Epoch | None:
    """As `look`; but a restart stops the connector, and is noted in `headrace.epoch`: until the next epoch is raised,
    the answer stays. A failover that lost nothing is noted, too: its timeline is the known one from now on.
    """
    known = store.newest(hops.report)
    if known is None:
        return None
    try:
        epoch = look(hops, replication)
    except SourceRestarted as error:
        stop_capture(hops)
        store.end(hops.report, known.number, error.why, datetime.now(UTC))
        raise
    if epoch is not None and epoch.identity != known.identity:
        store.follow(hops.report, known.number, epoch.identity.timeline)
    return epoch


def stop_capture(hops: Hops) -> None:
    """Stop the connector that reads Postgres, if there is one and it isn't stopped."""
    connector = hops.line.connector(Source.POSTGRES)
    if hops.connect.seen(connector) is not None and hops.connect.status(connector).state != STOPPED:
        hops.connect.stop(connector)


def require_raised(hops: Hops, epoch: Epoch) -> None:
    """Raises HeadraceError while capture still stands in an epoch before this one: going on from its offsets under the
    new one would leave a gap."""
    connector = hops.line.connector(Source.POSTGRES)
    before = stamped(hops.connect, connector)
    if before is not None and before < epoch.number and hops.connect.offsets(connector):
        raise HeadraceError(
            f"epoch {epoch.number} was raised, and connector {connector} still stands in epoch {before}: "
            "`headrace epoch raise` goes on where it was stopped"
        )
