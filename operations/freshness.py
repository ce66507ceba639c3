"""Read and advance how far each table of a generation is complete; readers see it as `report.freshness`."""

from datetime import UTC, datetime
from enum import StrEnum

from operations.databases.sides import Report
from sinks.reporting import control


class Stamp(StrEnum):
    """Columns of a table's freshness; the value is an instant of the table's source.

    COMPLETE: everything up to it has landed. VERIFIED: everything up to it was found equal.
    """

    COMPLETE = "complete_through"
    VERIFIED = "verified_through"


def stamped(report: Report, generation: int, kind: Stamp) -> dict[str, datetime]:
    """Return the instant of each table that has a stamp of this kind."""
    found = report.query(*control.read_freshness(generation, kind))
    return {table: through.replace(tzinfo=UTC) for table, through in found}


def stamp(report: Report, generation: int, table: str, kind: Stamp, through: datetime) -> None:
    """Move a table's stamp forward to the instant `through`, observed now.

    A stamp never moves back: of two workers that watch, the slower one may write last.
    """
    now = datetime.now(UTC)
    report.execute(*control.add_freshness(generation, table, kind, through, now))
    report.execute(*control.advance_freshness(generation, table, kind, through, now))
