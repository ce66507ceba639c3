"""Print a comparison: a line for each table, the first differences in full, and the verdict; or JSON."""

from datetime import date, datetime
from decimal import Decimal

import orjson
from rich.console import Console

from operations.verify.diff import Difference
from operations.verify.settle import Result, TableResult
from schemas.change import Row, Value
from schemas.tables import Table

SHOWN = 20  # differences that are printed


def print_result(result: Result, out: Console, *, json: bool) -> None:
    """Print the comparison; as JSON if `json`."""
    if json:
        out.print_json(orjson.dumps(_plain(result)).decode())
        return
    for each in result.tables:
        out.print(f"      {table_line(each)}", soft_wrap=True)
    found = [str(each) for table in result.tables for each in table.different]
    found += [f"unsettled: {each}" for table in result.tables for each in table.unsettled]
    found += [each for table in result.tables for each in unexplained_lines(table)]
    for text in found[:SHOWN]:
        out.print(f"      {text}", markup=False, soft_wrap=True)
    if len(found) > SHOWN:
        out.print(f"      and {len(found) - SHOWN} more")
    verdict = "equal" if result.equal else "NOT EQUAL" if result.different else "NOT DECIDED"
    out.print(f"{verdict}, every row compared in {result.seconds:.1f} s")


def one_line(result: Result, *, json: bool) -> str:
    """Return a comparison of `--follow` as a line for each table and its first differences; as JSON if `json`."""
    if json:
        return orjson.dumps(_plain(result)).decode()
    through = max(result.through.values())
    lines = [f"{through:%H:%M:%S}  {table_line(each)}" for each in result.tables]
    lines += [f"          {found}" for each in result.tables for found in each.different[:SHOWN]]
    lines += [f"          unsettled: {found}" for each in result.tables for found in each.unsettled[:SHOWN]]
    lines += [f"          {text}" for each in result.tables for text in unexplained_lines(each)[:SHOWN]]
    return "\n".join(lines)


def table_line(table: TableResult) -> str:
    """Return one table's comparison in one line."""
    verdict = f"{len(table.different)} different, {table.undecided} unsettled"
    if table.unread:
        verdict += f", {table.unread:,} more not read"
    counts = f"{table.source:>9,} rows in the source{table.report:>9,} in reporting"
    return f"{table.table.name:14}{counts}   {'equal' if table.equal else verdict}"


def unexplained_lines(table: TableResult) -> list[str]:
    """Return a line for each group whose sums differ although no key does."""
    return [
        f"{table.table.name} of tenant {tenant}{f', {first:%Y-%m}' if first else ''}: the sums differ and no key does; "
        "see docs/runbook.md#unsettled"
        for tenant, first in table.unexplained
    ]


def _plain(result: Result) -> dict[str, object]:
    return {
        "equal": result.equal,
        "seconds": round(result.seconds, 3),
        "through": {source.value: at.isoformat() for source, at in result.through.items()},
        "tables": {
            each.table.name: {
                "source": each.source,
                "report": each.report,
                "different": list(map(str, each.different)),
                "unsettled": [*map(str, each.unsettled), *unexplained_lines(each)],
                "unread": each.unread,
                "rows": [_difference(found) for found in [*each.different, *each.unsettled]],
            }
            for each in result.tables
        },
    }


def _difference(found: Difference) -> dict[str, object]:
    place = found.place
    return {
        "key": dict(zip(found.table.key, map(_value, found.key), strict=True)),
        "counts": found.counts and list(found.counts),
        "fields": {name: list(map(_value, pair)) for name, pair in found.fields.items()},
        "source": row_fields(found.table, found.source),
        "report": row_fields(found.table, found.report),
        "position": place and dict(zip(("epoch", "offset", "version", "log", "read"), place.position, strict=True)),
        "record": place and place.record and dict(zip(("topic", "partition"), place.record, strict=True)),
        "deleted": place and place.deleted,
    }


def row_fields(table: Table, row: Row | None) -> dict[str, object] | None:
    """Return a row as JSON values: decimals as text, instants and dates in ISO form. None for no row."""
    if row is None:
        return None
    return {column.name: _value(value) for column, value in zip(table.all_columns, row, strict=True)}


def _value(value: Value) -> object:
    match value:
        case Decimal():
            return str(value)
        case datetime() | date():
            return value.isoformat()
    return value
