"""The T-SQL dialect of retention: SQL with its parameters. Opens nothing. Golden files: tests/golden/sqlserver.

Dates are sent as text in ISO form, and lists as JSON arrays of arrays, which have no limit of 2,100 parameters.
"""

from collections.abc import Collection, Sequence
from datetime import date

from schemas.tables import Table
from sinks.reporting.cutoff import TENANT, Cutoff
from sinks.reporting.query import Query
from sinks.reporting.retention import BATCH, PAGE
from sinks.reporting.sqlserver.bulk_json import LongText, to_json
from sinks.reporting.sqlserver.checksum_sql import total
from sinks.reporting.sqlserver.landing_sql import KEY_COLLATION, column_type, join, target
from sinks.reporting.staging import event_id

NUMBER = "_n"

# While a cutoff waits for a sink, other sinks wait behind it; they give up after 30 s.
SESSION = "SET XACT_ABORT ON; SET LOCK_TIMEOUT 20000;"

_LISTED = (
    f"SELECT [item] COLLATE {KEY_COLLATION} FROM OPENJSON(?) WITH ([item] NVARCHAR(64) '$[0]')"  # an array of arrays
)


def generations() -> str:
    """Select the schemas of this database that have a checkpoint table which this login may read."""
    return "SELECT TABLE_SCHEMA FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_NAME = N'checkpoint';"


def lock_cutoffs() -> str:
    """Lock the cutoffs: wait for transactions that have read them, and block readers until this one ends."""
    return "SELECT COUNT(*) FROM [retention].[cutoff] WITH (TABLOCKX, HOLDLOCK);"


def set_cutoff(cutoff: Cutoff) -> Sequence[Query]:
    """Upsert a cutoff, as T-SQL needs it: an update, then an insert if the update found no row.

    `before` never moves back; `held` is replaced. The lock of `lock_cutoffs` keeps others from inserting in between.
    """
    return [move_cutoff(cutoff), make_cutoff(cutoff)]


def move_cutoff(cutoff: Cutoff) -> Query:
    """Update a cutoff that exists."""
    before = cutoff.before.isoformat()
    return (
        """\
UPDATE [retention].[cutoff] SET
    [before] = CASE WHEN [before] < CAST(? AS DATE) THEN CAST(? AS DATE) ELSE [before] END,
    [held] = ?,
    [set_at] = SYSUTCDATETIME()
WHERE [part] = ?;""",
        (before, before, LongText(cutoff.held_text()), cutoff.part),
    )


def make_cutoff(cutoff: Cutoff) -> Query:
    """Insert a cutoff that does not exist."""
    return (
        """\
INSERT INTO [retention].[cutoff] ([part], [before], [held], [set_at])
VALUES (?, CAST(? AS DATE), ?, SYSUTCDATETIME());""",
        (
            cutoff.part,
            cutoff.before.isoformat(),
            LongText(cutoff.held_text()),
        ),
    )


def event_sums(table: Table, generation: int, before: date, held: Collection[str]) -> Query:
    """Select day, tenant, count and sum of hashes of the events before `before`, except those of `held` tenants."""
    return (
        f"""\
SELECT e.[day], e.[tenant], COUNT_BIG(*), {total("e.[hash]")}
FROM (
    SELECT [{table.ages_by}] AS [day], [{TENANT}] AS [tenant], {_hash(event_id(table))} AS [hash]
    FROM {target(table, generation)}
    WHERE [{table.ages_by}] < CAST(? AS DATE) AND [{TENANT}] NOT IN ({_LISTED})
) AS e
GROUP BY e.[day], e.[tenant];""",
        (before.isoformat(), _json(held)),
    )


def event_ids(table: Table, generation: int, day: date, tenant: str, after: str) -> Query:
    """Select the first PAGE of a tenant's sorted event ids of a day that are greater than `after`."""
    name = event_id(table)
    return (
        f"""\
SELECT TOP (?) [{name}] FROM {target(table, generation)}
WHERE [{TENANT}] = ? AND [{table.ages_by}] = CAST(? AS DATE) AND [{name}] > ?
ORDER BY [{name}];""",
        (PAGE, tenant, day.isoformat(), after),
    )


def drop_gone(table: Table) -> str:
    """Drop the list of deleted events."""
    return f"DROP TABLE IF EXISTS [#gone_{table.name}];"


def create_gone(table: Table, generation: int) -> str:
    """Create an empty list of deleted events: tenants and event ids."""
    return (
        f"SELECT TOP (0) [{TENANT}], [{event_id(table)}]\nINTO [#gone_{table.name}]\nFROM {target(table, generation)};"
    )


def retire_events(table: Table, generation: int, day: date, tenants: Collection[str]) -> Query:
    """Delete some of the tenants' events of a day, few enough to lock rows and not the table, and list them.

    Repeat it until it deletes none.
    """
    name = event_id(table)
    return (
        f"""\
DELETE TOP ({BATCH}) FROM {target(table, generation)}
OUTPUT deleted.[{TENANT}], deleted.[{name}] INTO [#gone_{table.name}]
WHERE [{TENANT}] IN ({_LISTED}) AND [{table.ages_by}] = CAST(? AS DATE);""",
        (_json(tenants), day.isoformat()),
    )


def gone_sums(table: Table) -> str:
    """Select tenant, count and sum of hashes of the listed events that were deleted."""
    return f"""\
SELECT e.[tenant], COUNT_BIG(*), {total("e.[hash]")}
FROM (SELECT [{TENANT}] AS [tenant], {_hash(event_id(table))} AS [hash] FROM [#gone_{table.name}]) AS e
GROUP BY e.[tenant];"""


def erase_events(tenant: str, ids: Collection[str]) -> Query:
    """Record events as erased, so that no sink inserts them. Idempotent."""
    return (
        f"""\
INSERT INTO [retention].[erased_event] ([tenant_id], [event_id], [erased_at])
SELECT DISTINCT ?, i.[item], SYSUTCDATETIME()
FROM (SELECT [item] COLLATE {KEY_COLLATION} AS [item] FROM OPENJSON(?) WITH ([item] NVARCHAR(36) '$[0]')) AS i
WHERE NOT EXISTS (
    SELECT 1 FROM [retention].[erased_event] AS e WHERE e.[tenant_id] = ? AND e.[event_id] = i.[item]
);""",
        (tenant, _json(ids), tenant),
    )


def delete_events(table: Table, generation: int, tenant: str, ids: Collection[str]) -> Query:
    """Delete a tenant's events by their ids, whatever their day."""
    where = f"[{TENANT}] = ? AND [{event_id(table)}] IN ({_LISTED})"
    return f"DELETE FROM {target(table, generation)}\nWHERE {where};", (tenant, _json(ids))


def read_repaired(table: Table) -> Query:
    """Select the rows that repairs have kept."""
    return "SELECT [old_row] FROM [headrace].[repair] WHERE [table_name] = ?;", (table.name,)


def erase_repaired(table: Table, rows: Collection[str]) -> Query:
    """Delete rows that repairs have kept."""
    listed = f"SELECT [item] COLLATE {KEY_COLLATION} FROM OPENJSON(?) WITH ([item] NVARCHAR(MAX) '$[0]')"
    return (
        f"""\
DELETE FROM [headrace].[repair]
WHERE [table_name] = ? AND [old_row] COLLATE {KEY_COLLATION} IN ({listed});""",
        (table.name, _json(rows)),
    )


def deletion_list(table: Table) -> str:
    """Return the name of the temporary table with the keys of the rows to delete."""
    return f"[#aged_{table.name}]"


def drop_deletion_list(table: Table) -> str:
    """Drop the list of rows to delete."""
    return f"DROP TABLE IF EXISTS {deletion_list(table)};"


def create_deletion_list(table: Table, generation: int) -> Sequence[str]:
    """Create an empty list of rows to delete, numbered from 1, and the index by which a batch is found."""
    return [
        f"SELECT TOP (0) {_list(table)}, CAST(0 AS BIGINT) AS [{NUMBER}]\n"
        f"INTO {deletion_list(table)}\nFROM {target(table, generation)};",
        f"CREATE UNIQUE CLUSTERED INDEX [aged_{table.name}_number] ON {deletion_list(table)} ([{NUMBER}]);",
    ]


def load_deletion_list(table: Table) -> str:
    """Load the list from one parameter, a JSON array of arrays: keys and their numbers."""
    types = [f"[{name}] {column_type(table.column(name).type)} '$[{index}]'" for index, name in enumerate(table.key)]
    types.append(f"[{NUMBER}] BIGINT '$[{len(types)}]'")
    return (
        f"INSERT INTO {deletion_list(table)} ({_list(table)}, [{NUMBER}])\nSELECT {_list(table)}, [{NUMBER}]\n"
        "FROM OPENJSON(?) WITH (\n    " + ",\n    ".join(types) + "\n);"
    )


def fill_deletion_list(table: Table, generation: int, condition: Query) -> Query:
    """Fill the list with the rows of the table that meet the condition."""
    where, parameters = condition
    return (
        f"""\
INSERT INTO {deletion_list(table)} ({_list(table)}, [{NUMBER}])
SELECT {_list(table)}, ROW_NUMBER() OVER (ORDER BY {_list(table)})
FROM {target(table, generation)} AS t
WHERE {where};""",
        parameters,
    )


def delete_listed(table: Table, generation: int, condition: Query, after: int, upto: int) -> Query:
    """Delete a batch of listed rows that meet the condition: those numbered from `after` + 1 to `upto`."""
    where, parameters = condition
    return (
        f"""\
DELETE t
FROM {deletion_list(table)} AS s
INNER LOOP JOIN {target(table, generation)} AS t ON {join(table)}
WHERE s.[{NUMBER}] > ? AND s.[{NUMBER}] <= ? AND {where};""",
        (after, upto, *parameters),
    )


def in_month(table: Table, month: date, after: date, held: Collection[str]) -> Query:
    """Return the condition for rows from `month` until before `after`, except those of `held` tenants."""
    day = f"t.[{table.ages_by}]"
    where = f"({day} >= CAST(? AS DATE) AND {day} < CAST(? AS DATE) AND t.[{TENANT}] NOT IN ({_LISTED}))"
    return where, (month.isoformat(), after.isoformat(), _json(held))


def deleted_before(table: Table, before: date, held: Collection[str]) -> Query:
    """Return the condition for rows deleted at the source and older than `before`, except those of `held` tenants."""
    day = f"t.[{table.ages_by}]"
    return (
        f"(t.[_deleted] = 1 AND ({day} < CAST(? AS DATE)"
        f" OR ({day} IS NULL AND t.[_source_time] < CAST(? AS DATETIME2(6)))) AND t.[{TENANT}] NOT IN ({_LISTED}))"
    ), (before.isoformat(), before.isoformat(), _json(held))


def deleted() -> Query:
    """Return the condition for rows that are marked as deleted."""
    return "t.[_deleted] = 1", ()


def _json(texts: Collection[str]) -> LongText:
    return to_json([(text,) for text in texts])


def _hash(column: str) -> str:
    return f"HASHBYTES('MD5', CONVERT(VARCHAR(36), [{column}]))"


def _list(table: Table) -> str:
    return ", ".join(f"[{name}]" for name in table.key)
