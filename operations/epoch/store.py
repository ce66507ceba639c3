"""The epochs: rows of `headrace.epoch` in reporting, the newest one last."""

from dataclasses import dataclass
from datetime import datetime

from operations.databases.sides import Report
from operations.epoch.history import Identity

REASON_LENGTH = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One history of the source. `ended` says why it ended, where capture was stopped for it."""

    number: int
    reason: str
    raised_by: str
    raised_at: datetime
    identity: Identity
    ended: str | None


def epochs(report: Report) -> list[Epoch]:
    """All epochs, in order."""
    found = report.query(
        "SELECT epoch, reason, raised_by, raised_at, system_identifier, timeline, ended_because "
        "FROM headrace.epoch ORDER BY epoch"
    )
    return [
        Epoch(
            number=number,
            reason=reason,
            raised_by=raised_by,
            raised_at=raised_at,
            identity=Identity(system=system, timeline=timeline),
            ended=ended,
        )
        for number, reason, raised_by, raised_at, system, timeline, ended in found
    ]


def newest(report: Report) -> Epoch | None:
    """The epoch that capture stamps on records now; None before capture was first applied."""
    return next(reversed(epochs(report)), None)


def record(report: Report, number: int, identity: Identity, *, reason: str, by: str) -> None:
    """Begin epoch `number`, unless it has begun. As the migrator, who alone may."""
    report.execute(
        "INSERT INTO headrace.epoch (epoch, reason, raised_by, system_identifier, timeline) SELECT %s, %s, %s, %s, %s "
        "WHERE NOT EXISTS (SELECT 1 FROM headrace.epoch WHERE epoch = %s)",
        [number, reason[:REASON_LENGTH], by, identity.system, identity.timeline, number],
    )


def end(report: Report, number: int, why: str, at: datetime) -> None:
    """An epoch's history has ended: nothing is captured before the next one. The first reason stays."""
    report.execute(
        "UPDATE headrace.epoch SET ended_at = %s, ended_because = %s WHERE epoch = %s AND ended_because IS NULL",
        [at, why[:REASON_LENGTH], number],
    )


def reopen(report: Report, epoch: Epoch, identity: Identity, why: str) -> None:
    """An epoch has not ended after all, and `identity` is the source's. As the migrator."""
    report.execute(
        "UPDATE headrace.epoch SET ended_at = NULL, ended_because = NULL, reason = %s, timeline = %s WHERE epoch = %s",
        [f"{epoch.reason}; {why}"[:REASON_LENGTH], identity.timeline, epoch.number],
    )


def follow(report: Report, number: int, timeline: int) -> None:
    """An epoch's history goes on, on another timeline."""
    report.execute("UPDATE headrace.epoch SET timeline = %s WHERE epoch = %s", [timeline, number])
