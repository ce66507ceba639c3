"""Export the connectors' states as Kafka Connect reports them, and restart failed connectors.

Connect does not restart a failed task. Most causes are temporary or get fixed (a server that was down, a password, a
missing right), so a failed connector is restarted: with growing delays, a limited number of times, and not at all if
the same error would follow.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from connectors.connect import Connect, ConnectorStatus
from connectors.state import FAILED, RUNNING
from operations.watch import metrics
from schemas.errors import HeadraceError

FIRST_S, LONGEST_S = 5.0, 300.0  # from the detection of a failure to the restart; doubled each time
MOST = 10  # restarts, which take about 25 minutes in all
STEADY_S = 600.0  # of running, after which earlier failures no longer count
# Errors that a restart would repeat or hide: a record that is too large, log that Postgres no longer has, and a
# publication that only `connectors apply` creates again without a gap.
HOPELESS = (
    "RecordTooLargeException",
    "no longer available on the server",
    "removed from the database write-ahead log",
    "can no longer access replication slot",
    "can no longer get changes from replication slot",
    "Publication autocreation is disabled",
)
_LOG = structlog.get_logger("watch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarts:
    """The restarts of one connector since it last ran for STEADY_S.

    `done` is their number. `due` is the time of the next restart, `since` the time at which the connector began to run;
    both in seconds of a monotonic clock, or None.
    """

    done: int = 0
    due: float | None = None
    since: float | None = None


def follow(before: Restarts, status: ConnectorStatus, now: float) -> tuple[Restarts, bool]:
    """Return the new restart state for a status that was read at `now`, and whether to restart the connector now."""
    if status.overall == RUNNING:
        since = now if before.since is None else before.since
        return (Restarts(since=since) if now - since >= STEADY_S else replace(before, due=None, since=since)), False
    if status.overall != FAILED or before.done >= MOST or is_hopeless(status.failure):
        return replace(before, due=None, since=None), False
    due = now + min(LONGEST_S, FIRST_S * 2**before.done) if before.due is None else before.due
    if now < due:
        return replace(before, due=due, since=None), False
    return Restarts(done=before.done + 1), True


def is_hopeless(failure: str | None) -> bool:
    """Return whether a restart can't fix this failure."""
    return any(phrase in (failure or "") for phrase in HOPELESS)


class Connectors:
    """Reads the states of a pipeline's connectors, and restarts failed ones."""

    def __init__(self, connect: Connect, names: Sequence[str]) -> None:
        self._connect = connect
        self._seen: dict[str, ConnectorStatus] = {}
        self._restarts = dict.fromkeys(names, Restarts())
        self._trouble = ""

    def check(self) -> None:
        """Read the states and export them. While Connect does not answer, no connector counts as running."""
        before = self._seen
        try:
            self._seen = {name: self._connect.status(name) for name in self._restarts}
            self._trouble = ""
        except HeadraceError as error:
            self._seen = {}
            if str(error) != self._trouble:
                _LOG.warning("the connectors' states are not known", error=str(error))
            self._trouble = str(error)
        for name in self._restarts:
            status = self._seen.get(name)
            metrics.connector(name, status)
            if status is not None and status.overall == FAILED and status != before.get(name):
                _LOG.error(
                    "connector failed",
                    connector=name,
                    error=f"{status.failure}; see docs/runbook.md#connector-failed",
                    restarted=not is_hopeless(status.failure),
                )

    def restart_failed(self, now: float) -> None:
        """Restart the connectors that failed in the last `check` and are due.

        A restart that Connect refused is not counted, and is tried again after the same time.
        """
        for name, status in self._seen.items():
            before = self._restarts[name]
            after, due = follow(before, status, now)
            if due:
                _LOG.warning("restarting", connector=name, restart=after.done, of=MOST)
                try:
                    self._connect.restart(name)
                except HeadraceError as error:
                    _LOG.warning("restart failed", connector=name, error=str(error))
                    after = replace(before, due=None, since=None)
                else:
                    metrics.RESTARTS.labels(name).inc()
            self._restarts[name] = after
