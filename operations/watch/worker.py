"""`headrace run watch`: looks after the line, turn by turn.

1. The connectors' states are exported, whatever else answers (operations/watch/connectors.py).
2. Is the source's history still the one that capture has read? If not, capture is stopped, and everything here rests
   until the next epoch is raised (operations/epoch). Only where it is does a failed connector start again.
3. A look along the line, and each table's barrier as far as it brings it. A table whose barrier is passed is complete
   up to the moment at which that began; its next one begins with the next turn. Tables don't wait for each other.

Whatever a turn could not ask is asked again in the next; nothing is stamped meanwhile.
"""

import threading
import time
from collections.abc import Callable

import pymongo
import structlog
from pymongo.errors import PyMongoError

from messaging.clients import TopicMissing
from messaging.health import HealthServer
from operations import barrier, connections
from operations.barrier import Barrier, PipelineProbe, SourcePosition, Stands
from operations.epoch.guard import check_or_stop
from operations.epoch.history import SourceRestarted
from operations.freshness import Stamp, stamp, stamped
from operations.generations import Generation, is_replaced, refuse_dropped
from operations.watch import metrics
from operations.watch.connectors import Connectors
from schemas.errors import Unavailable
from schemas.tables import Source, reported

STALLED_S = 300.0  # without a finished turn, good or bad: no longer alive
SILENT_S = 30.0  # without a good turn: not ready
CATALOG_S = 2.0  # that MongoDB has to answer: the tables of Postgres don't wait for it
_LOG = structlog.get_logger("watch")
_SLOT = (
    "SELECT (SELECT pg_current_wal_insert_lsn() - restart_lsn FROM pg_replication_slots WHERE slot_name = %s), "
    "pg_size_bytes(current_setting('max_slot_wal_keep_size'))"
)


class WatchWorker:
    """Looks every `every` seconds, until its generation is dropped. `connect` opens the line's connections, again
    whenever one of them was lost.

    A generation that was begun before the source's present epoch is not stamped any more: it shows another history.
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
        self._connect, self._connectors, self._generation = connect, connectors, generation
        self._replication, self._every = replication, every
        self._hops: PipelineProbe | None = None
        self._barriers: dict[str, Barrier] = {}
        self._stopping = threading.Event()
        self._turned = time.monotonic()
        self._good: float | None = None
        self._trouble = "nothing has been looked at yet"
        self._open()

    def run(self, http_port: int, http_host: str) -> None:
        """Turns until `stop` is called; serves health and metrics on `http_port` (0: a free one)."""
        serving = HealthServer(http_port, alive=self.alive, ready=self.ready, host=http_host)
        _LOG.info("serving", port=serving.port)
        try:
            while not self._stopping.is_set():
                self._try()
                self._stopping.wait(self._every)
        finally:
            serving.close()
            self.close()

    def stop(self) -> None:
        """Ends `run` after the turn in hand. Safe in a signal handler."""
        self._stopping.set()

    def alive(self) -> str | None:
        """None while turns end, well or not, else what is wrong."""
        idle = time.monotonic() - self._turned
        return None if idle < STALLED_S else f"no turn has been finished for {idle:.0f} s"

    def ready(self) -> str | None:
        """None while turns end well, else what is wrong: a restarted source at once, the rest after a while."""
        return None if self._good is not None and time.monotonic() - self._good < SILENT_S else self._trouble

    def _try(self) -> None:
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
            _LOG.warning("looking again", error=self._trouble)
        else:
            metrics.RESTARTED.set(0)
            self._good = time.monotonic()
        self._turned = time.monotonic()

    def turn(self) -> None:
        """One turn. Raises SourceRestarted; Unavailable, or a driver's error, when a server does not answer; and
        HeadraceError when the generation was dropped."""
        probe = self._hops or self._open()
        refuse_dropped(probe.report.query, self._generation.number)
        for retained, limit in probe.oltp.execute(_SLOT, [probe.pipeline.slot]):
            metrics.slot(retained, limit)
        stand = barrier.postgres(probe)  # the same that the barriers use: no other may be ahead of Connect's offset
        epoch = check_or_stop(probe, stand, self._replication)
        self._connectors.restart_failed(time.monotonic())
        if epoch is not None and epoch.number == self._generation.epoch:
            self._advance(probe, _stands(probe, stand))
        else:
            self._barriers.clear()
            if is_replaced(probe.report.query, self._generation.number):
                metrics.FRESHNESS.clear()  # it is not stamped any more, and nobody reads it

    def _open(self) -> PipelineProbe:
        """Open the connections, and export what is stamped already: its lag grows also while nothing can be asked."""
        self._hops = self._connect()
        for table, through in stamped(self._hops.report, self._generation.number, Stamp.COMPLETE).items():
            metrics.complete(table, through.timestamp())
        return self._hops

    def _advance(self, probe: PipelineProbe, stands: Stands) -> None:
        seen = barrier.look(probe, stands)
        for table in reported(probe.pipeline.tables):
            begun = self._barriers.pop(table.name, None)
            if begun is None:
                if (stand := stands.get(barrier.log_of(table))) is None:
                    continue
                begun = barrier.begin(table, stand)
            reached, lack = barrier.advance(begun, seen)
            if lack is None:
                stamp(probe.report, self._generation.number, table.name, Stamp.COMPLETE, begun.at)
                metrics.complete(table.name, begun.at.timestamp())
            else:
                self._barriers[table.name] = reached

    def close(self) -> None:
        """Gives up the connections, and the barriers that were begun over them: another server may answer next."""
        if self._hops is not None:
            self._hops.close()
        self._hops = None
        self._barriers.clear()


def _stands(probe: PipelineProbe, postgres: SourcePosition) -> Stands:
    """Where the sources stand; MongoDB only where it answers in time: its tables then wait, and no others."""
    stands = {Source.POSTGRES: postgres}
    try:
        with pymongo.timeout(CATALOG_S):
            stands[Source.MONGODB] = barrier.catalog(probe)
    except PyMongoError as error:
        _LOG.warning("MongoDB did not answer", error=" ".join(str(error).split()))
    return stands
