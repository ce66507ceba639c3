"""Watch the pipeline in turns, for `headrace run watch`: connectors, the source's history, and freshness.

1. Export the connectors' states, whichever other servers answer (operations/watch/connectors.py).
2. Compare the source's history with the one that capture has read. If they diverge, capture is stopped, and the steps
   below wait until the next epoch is raised (operations/epoch). Only while they agree is a failed connector restarted.
3. Read the pipeline's offsets, and advance each table's barrier. A table that passes its barrier is complete up to the
   time at which that barrier began; its next barrier begins with the next turn. Tables don't wait for each other.

A query that failed is repeated in the next turn. No freshness is stamped meanwhile.
"""

import time
from collections.abc import Callable

import pymongo
import structlog
from pymongo.errors import PyMongoError

from messaging.clients import TopicMissing
from messaging.service import Service
from operations import barrier, connections
from operations.barrier import Barrier, PipelineProbe, SourcePosition, SourcePositions
from operations.epoch.guard import check_or_stop
from operations.epoch.history import SourceRestarted
from operations.freshness import Stamp, stamp, stamped
from operations.generations import Generation, is_replaced, refuse_dropped
from operations.watch import metrics
from operations.watch.connectors import Connectors
from schemas.errors import Unavailable
from schemas.tables import Source, reported

SILENT_S = 30.0  # without a successful turn until the worker is not ready
CATALOG_S = 2.0  # that MongoDB has to answer: the tables of Postgres don't wait for it
_LOG = structlog.get_logger("watch")
_SLOT = (
    "SELECT (SELECT pg_current_wal_insert_lsn() - restart_lsn FROM pg_replication_slots WHERE slot_name = %s), "
    "pg_size_bytes(current_setting('max_slot_wal_keep_size'))"
)


class WatchWorker(Service):
    """Runs a turn every `every` seconds, until its generation is dropped.

    `connect` opens the connections of the pipeline's probe; it is called again after one of them was lost. A generation
    that was begun before the source's present epoch is not stamped any more: it shows another history.
    """

    def __init__(
        self,
        *,
        connect: Callable[[], PipelineProbe],
        connectors: Connectors,
        generation: Generation,
        replication: str,
        every: float,
    ) -> None:
        super().__init__("watch")
        self.pause = every
        self._connect, self._connectors, self._generation = connect, connectors, generation
        self._replication = replication
        self._probe: PipelineProbe | None = None
        self._barriers: dict[str, Barrier] = {}
        self._good: float | None = None
        self._trouble = "no turn has been finished yet"
        self._open()

    def check_ready(self) -> str | None:
        """Return None while turns succeed, otherwise the error: a restarted source at once, others after 30 s."""
        return None if self._good is not None and time.monotonic() - self._good < SILENT_S else self._trouble

    def run_turn(self) -> None:
        """Check the connectors and run one turn. Errors of servers are logged, and the next turn tries again."""
        self._connectors.check()
        try:
            self.turn()
        except SourceRestarted as error:
            self._barriers.clear()
            metrics.RESTARTED.set(1)
            if str(error) != self._trouble:
                _LOG.error("capture is stopped", error=str(error))
            self._good, self._trouble = None, str(error)
        except Exception as error:
            # A topic is missing before capture is first applied, and while a generation is being removed.
            if not isinstance(error, Unavailable | TopicMissing) and not connections.of_a_server(error):
                raise
            self.close()
            self._trouble = " ".join(str(error).split())
            _LOG.warning("the turn failed and is retried", error=self._trouble)
        else:
            metrics.RESTARTED.set(0)
            self._good = time.monotonic()

    def turn(self) -> None:
        """Run one turn.

        Raises:
            SourceRestarted: The source's history diverges from the one that capture has read.
            Unavailable: A server did not answer. A database driver's own error means the same.
            HeadraceError: The generation was dropped.
        """
        probe = self._probe or self._open()
        refuse_dropped(probe.report.query, self._generation.number)
        for retained, limit in probe.oltp.execute(_SLOT, [probe.pipeline.slot]):
            metrics.slot(retained, limit)
        # The same position as the barriers': another one may be ahead of Connect's offset.
        postgres = barrier.read_postgres(probe)
        epoch = check_or_stop(probe, postgres, self._replication)
        self._connectors.restart_failed(time.monotonic())
        if epoch is not None and epoch.number == self._generation.epoch:
            self._advance(probe, _source_positions(probe, postgres))
        else:
            self._barriers.clear()
            if is_replaced(probe.report.query, self._generation.number):
                metrics.FRESHNESS.clear()  # it is not stamped any more, and has no readers

    def _open(self) -> PipelineProbe:
        """Open the connections, and export the stamps in reporting: their lag grows also while no server answers."""
        self._probe = self._connect()
        for table, through in stamped(self._probe.report, self._generation.number, Stamp.COMPLETE).items():
            metrics.complete(table, through.timestamp())
        return self._probe

    def _advance(self, probe: PipelineProbe, sources: SourcePositions) -> None:
        seen = barrier.read_offsets(probe, sources)
        for table in reported(probe.pipeline.tables):
            begun = self._barriers.pop(table.name, None)
            if begun is None:
                if (source := sources.get(barrier.source_of(table))) is None:
                    continue
                begun = barrier.begin_barrier(table, source)
            reached, lack = barrier.advance(begun, seen)
            if lack is None:
                stamp(probe.report, self._generation.number, table.name, Stamp.COMPLETE, begun.at)
                metrics.complete(table.name, begun.at.timestamp())
            else:
                self._barriers[table.name] = reached

    def close(self) -> None:
        """Close the connections and drop the barriers that were begun over them: another server may answer next."""
        if self._probe is not None:
            self._probe.close()
        self._probe = None
        self._barriers.clear()


def _source_positions(probe: PipelineProbe, postgres: SourcePosition) -> SourcePositions:
    """Return the position of each source; MongoDB's only if it answers in time, as only its own tables need it."""
    sources = {Source.POSTGRES: postgres}
    try:
        with pymongo.timeout(CATALOG_S):
            sources[Source.MONGODB] = barrier.read_catalog(probe)
    except PyMongoError as error:
        _LOG.warning("MongoDB did not answer", error=" ".join(str(error).split()))
    return sources
