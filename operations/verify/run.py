"""`headrace verify`: the sources against reporting, asked of the databases themselves (operations/verify/settle.py).

What is proven is what the databases hold, never what a counter of ours says. Enriched columns are computed anew from
the catalog.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from operations import connections
from operations.barrier import OnWait, PipelineProbe, catalog_time, wait_for_barrier
from operations.databases.mongo import CatalogSource
from operations.databases.postgres import PostgresSource
from operations.databases.scope import Scope
from operations.databases.sides import Side
from operations.settings import Settings
from operations.verify.enriched import EnrichedSource
from operations.verify.output import print_result
from operations.verify.provenance import placed
from operations.verify.repair import beyond_repair, only_copies, repair
from operations.verify.settle import EVERYTHING, Result, Sides, compare
from schemas.errors import HeadraceError
from schemas.tables import Source, Table, reported

__all__ = [
    "EVERY_ROW",
    "VerifySelection",
    "beyond_repair",
    "compare_selection",
    "only_copies",
    "print_result",
    "select",
    "sides_of",
    "verify",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySelection:
    """Which tables, by their names (all where none is named), and which of their rows."""

    tables: Sequence[str] = ()
    scope: Scope = EVERYTHING


EVERY_ROW = VerifySelection()


def select(
    tables: Sequence[str], *, tenants: Sequence[str] = (), months: Sequence[date] = (), since: date | None = None
) -> VerifySelection:
    """What these filters select; a filter that is empty selects everything. A table without months is left out where
    months are asked for. Raises HeadraceError for a table that is not there, or that is named and has no months.
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
    """Compare what is selected with a generation of reporting, by default the live one. `on_table` hears of each table
    that is begun. What differs or is unsettled is mended (repair.py) in the name of `repair_by`, where one
    is given.

    Raises Unavailable when the line does not catch up within `deadline_s`, HeadraceError for a tenant that has no row.
    """
    with connections.open_probe(settings, generation) as probe:
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
    """As `verify`, along a line that is open already, and without a repair."""
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
    return replace(result, tables=[placed(table, probe) for table in result.tables])


def sides_of(probe: PipelineProbe, *, deadline_s: float, on_wait: OnWait) -> Sides:
    """What is compared on a running line."""
    postgres, catalog = PostgresSource(probe.oltp), CatalogSource(probe.catalog)
    enriched = EnrichedSource(postgres, catalog, now=lambda: catalog_time(probe))

    def source(table: Table) -> Side:
        if table.source is Source.MONGODB:
            return catalog
        return enriched if table.enrichment else postgres

    def barrier() -> dict[Source, datetime]:
        stands = wait_for_barrier(probe, deadline_s=deadline_s, on_wait=on_wait)
        return {source: stand.at for source, stand in stands.items()}

    return Sides(source=source, report=probe.report, barrier=barrier)
