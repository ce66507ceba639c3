"""Compare the sources with reporting: `headrace verify`.

Every row is read from the databases themselves; no counter of Headrace is trusted. Enriched columns are computed again
from the catalog. The comparison itself is operations/verify/settle.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from operations.barrier import OnWait, PipelineProbe, read_catalog_time, wait_for_barrier
from operations.databases.mongo import CatalogSource
from operations.databases.postgres import PostgresSource
from operations.databases.scope import Scope
from operations.databases.sides import Side
from operations.probe import open_probe
from operations.settings import Settings
from operations.verify.enriched import EnrichedSource
from operations.verify.output import print_result
from operations.verify.provenance import with_places
from operations.verify.repair import only_copies, repair, unrepairable_tables
from operations.verify.settle import EVERYTHING, Result, Sides, compare
from schemas.errors import HeadraceError
from schemas.tables import Source, Table, reported

__all__ = [
    "EVERY_ROW",
    "VerifySelection",
    "compare_selection",
    "only_copies",
    "print_result",
    "select",
    "sides_of",
    "unrepairable_tables",
    "verify",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySelection:
    """A choice of tables and of their rows: `tables` by name (all when empty), and `scope`."""

    tables: Sequence[str] = ()
    scope: Scope = EVERYTHING


EVERY_ROW = VerifySelection()


def select(
    tables: Sequence[str], *, tenants: Sequence[str] = (), months: Sequence[date] = (), since: date | None = None
) -> VerifySelection:
    """Return the selection that these filters make; an empty filter selects everything.

    Args:
        tables: Names of tables.
        tenants: Tenants whose rows are compared.
        months: Months by their first day. A table whose rows belong to no month is then left out.
        since: The first day of the first month. It is treated as `months` is.

    Raises:
        HeadraceError: A table doesn't exist, or is named together with months and its rows have none.
    """
    known = {table.name: table for table in reported()}
    for name in tables:
        if name not in known:
            raise HeadraceError(f"expected one of the tables {', '.join(known)}, got {name!r}")
    dated = bool(months or since)
    for name in tables:
        if dated and known[name].ages_by is None:
            raise HeadraceError(f"{name} has no months: leave out --month and --since, or the table")
    names = list(tables) or [name for name, table in known.items() if table.ages_by or not dated]
    scope = Scope(tenants=tuple(tenants) or None, months=tuple(months) or None, since=since)
    return VerifySelection(tables=names, scope=scope)


def verify(  # noqa: PLR0913
    settings: Settings,
    *,
    deadline_s: float,
    on_wait: OnWait = lambda _: None,
    on_table: Callable[[Table], None] = lambda _: None,
    generation: int | None = None,
    selection: VerifySelection = EVERY_ROW,
    repair_by: str | None = None,
) -> Result:
    """Compare the selected rows with a generation of reporting, and repair what differs if asked to.

    Args:
        settings: Where the servers are.
        deadline_s: Seconds that the pipeline has to catch up, and that rows have to settle.
        on_wait: Called with the lag, while the pipeline catches up.
        on_table: Called with each table when its comparison begins.
        generation: The generation to compare; None for the live one.
        selection: The tables and rows to compare.
        repair_by: The name under which rows that differ, or are unsettled, are repaired (repair.py); None for no
            repair.

    Raises:
        Unavailable: The pipeline did not catch up within `deadline_s`.
        HeadraceError: A selected tenant has no row on either side.
    """
    with open_probe(settings, generation) as probe:
        result = compare_selection(probe, selection, deadline_s=deadline_s, on_wait=on_wait, on_table=on_table)
        if repair_by is None or result.equal:
            return result
        sides = sides_of(probe, deadline_s=deadline_s, on_wait=on_wait)
        return repair(settings, result, probe, sides, by=repair_by, deadline_s=deadline_s)


def compare_selection(
    probe: PipelineProbe,
    selection: VerifySelection,
    *,
    deadline_s: float,
    on_wait: OnWait = lambda _: None,
    on_table: Callable[[Table], None] = lambda _: None,
) -> Result:
    """Compare as `verify` does, through a probe that is open already, and without a repair."""
    result = compare(
        [table for table in reported(probe.pipeline.tables) if not selection.tables or table.name in selection.tables],
        sides_of(probe, deadline_s=deadline_s, on_wait=on_wait),
        deadline_s=deadline_s,
        scope=selection.scope,
        on_table=on_table,
    )
    found = frozenset[str]().union(*(table.tenants for table in result.tables))
    for tenant in selection.scope.tenants or ():
        if tenant not in found:
            raise HeadraceError(f"no row of tenant {tenant!r} is there, on either side")
    return replace(result, tables=[with_places(table, probe) for table in result.tables])


def sides_of(probe: PipelineProbe, *, deadline_s: float, on_wait: OnWait) -> Sides:
    """Return the sides of a comparison that reads a running pipeline."""
    postgres, catalog = PostgresSource(probe.oltp), CatalogSource(probe.catalog)
    enriched = EnrichedSource(postgres, catalog, now=lambda: read_catalog_time(probe))

    def source(table: Table) -> Side:
        if table.source is Source.MONGODB:
            return catalog
        return enriched if table.enrichment else postgres

    def barrier() -> dict[Source, datetime]:
        stands = wait_for_barrier(probe, deadline_s=deadline_s, on_wait=on_wait)
        return {source: stand.at for source, stand in stands.items()}

    return Sides(source=source, report=probe.report, barrier=barrier)
