"""The connectors as Kafka Connect reports them: their states for Prometheus, and restarts of those that failed.

Connect leaves a failed task as it is. Most causes go away by themselves or are removed by somebody (a server that was
down, a password, a missing right), so a failed connector is restarted: later each time, a limited number of times, and
not at all where it would only meet the same again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from connectors.connect import Connect, ConnectorStatus
from connectors.state import FAILED, RUNNING
from operations.watch import metrics
from schemas.errors import HeadraceError

FIRST_S, LONGEST_S = 5.0, 300.0  # between seeing a failure and the restart: doubled each time
MOST = 10  # restarts, which together take some 25 minutes
STEADY_S = 600.0  # of running, and the failures before are forgotten
# What a restart meets again, or what it would hide: a record that is too large, log that Postgres no longer has, and a
# publication that `connectors apply` alone makes again without a gap.
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
    """The restarts of one connector since it last ran steadily. `due`: when the next one is, `since`: since when it has
    been running; both in seconds of a monotonic clock, None where there is none."""

    done: int = 0
    due: float | None = None
    since: float | None = None


def follow(before: Restarts, status: ConnectorStatus, now: float) -> tuple[Restarts, bool]:
    """What is known after a look at the connector, and whether to restart it now."""
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
    """Whether a restart can't mend this failure."""
    return any(phrase in (failure or "") for phrase in HOPELESS)


class Connectors:
    """Looks at the connectors of a line, and restarts what has failed."""

    def __init__(self, connect: Connect, names: Sequence[str]) -> None:
        self._connect = connect
        self._seen: dict[str, ConnectorStatus] = {}
        self._restarts = dict.fromkeys(names, Restarts())
        self._trouble = ""

    def check(self) -> None:
        """Ask for the states and export them. While Connect does not answer, no connector counts as running."""
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
        """Restart those connectors of the last look whose time has come. One that Connect did not take is not counted,
        and is tried again after the same time."""
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
