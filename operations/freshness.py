"""How far each table of a generation is complete: stamped by who passed a barrier, read as `report.freshness`."""

from datetime import UTC, datetime
from enum import StrEnum

from operations.databases.sides import Report


class Stamp(StrEnum):
    """What is known of a table up to a moment of its source: that all of it has landed, or that it was found equal."""

    COMPLETE = "complete_through"
    VERIFIED = "verified_through"


_NOTICED = {Stamp.COMPLETE: "passed_at", Stamp.VERIFIED: "verified_at"}


def stamped(report: Report, generation: int, what: Stamp) -> dict[str, datetime]:
    """Up to when each table was stamped; without those that never were."""
    found = report.query(f"SELECT table_name, {what} FROM reporting_g{generation}.freshness WHERE {what} IS NOT NULL")
    return {table: through.replace(tzinfo=UTC) for table, through in found}


def stamp(report: Report, generation: int, table: str, what: Stamp, through: datetime) -> None:
    """Note that `what` holds of a table up to `through`, as was found out now. A stamp never goes back: of two who
    watch, the slower one may write last."""
    at = datetime.now(UTC)
    name, noticed = f"reporting_g{generation}.freshness", _NOTICED[what]
    report.execute(
        f"INSERT INTO {name} (table_name, {what}, {noticed}) SELECT %s, %s, %s "  # our own names
        f"WHERE NOT EXISTS (SELECT 1 FROM {name} WHERE table_name = %s)",
        [table, through, at, table],
    )
    report.execute(
        f"UPDATE {name} SET {what} = %s, {noticed} = %s WHERE table_name = %s AND ({what} IS NULL OR {what} < %s)",
        [through, at, table, through],
    )
