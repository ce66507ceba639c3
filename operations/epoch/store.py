"""Read and write the epochs, rows of `headrace.epoch` in reporting; the newest has the highest number."""

from dataclasses import dataclass
from datetime import datetime

from operations.databases.sides import Report
from operations.epoch.history import Identity
from sinks.reporting import control


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One history of the source. `ended` is the reason why it ended; None while capture may go on."""

    number: int
    reason: str
    raised_by: str
    raised_at: datetime
    identity: Identity
    ended: str | None


def epochs(report: Report) -> list[Epoch]:
    """Return all epochs, in order."""
    return [
        Epoch(
            number=number,
            reason=reason,
            raised_by=raised_by,
            raised_at=raised_at,
            identity=Identity(system=system, timeline=timeline),
            ended=ended,
        )
        for number, reason, raised_by, raised_at, system, timeline, ended in report.query(*control.read_epochs())
    ]


def newest(report: Report) -> Epoch | None:
    """Return the epoch that capture stamps on records now; None before capture was first applied."""
    return next(reversed(epochs(report)), None)


def begin(report: Report, number: int, identity: Identity, *, reason: str, by: str) -> None:
    """Begin epoch `number`, unless it exists. Only role migrator may."""
    statement = control.begin_epoch(number, reason=reason, by=by, system=identity.system, timeline=identity.timeline)
    report.execute(*statement)


def end(report: Report, number: int, reason: str, at: datetime) -> None:
    """End an epoch: nothing is captured until the next epoch begins. If it has ended, its first reason is kept."""
    report.execute(*control.end_epoch(number, reason, at))


def reopen(report: Report, epoch: Epoch, identity: Identity, reason: str) -> None:
    """Cancel the end of an epoch, whose source is `identity` now. Only role migrator may."""
    report.execute(*control.reopen_epoch(epoch.number, f"{epoch.reason}; {reason}", identity.timeline))


def set_timeline(report: Report, number: int, timeline: int) -> None:
    """Record that an epoch's history continues on another timeline."""
    report.execute(*control.set_timeline(number, timeline))
