"""The T-SQL dialect of retention: text only, golden files in tests/golden/sqlserver. Opens nothing.

As in Postgres, what goes in batches is listed first, numbered, in a temporary table. Dates are sent as text in ISO form
and lists as JSON arrays of arrays, which have no limit of 2,100 parameters.
"""

from schemas.tables import Table
from sinks.reporting.cutoff import TENANT
from sinks.reporting.retention import BATCH
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


def move_cutoff() -> str:
    """Parameters: before, twice, held, part."""
    return """\
UPDATE [retention].[cutoff] SET
    [before] = CASE WHEN [before] < CAST(? AS DATE) THEN CAST(? AS DATE) ELSE [before] END,
    [held] = ?,
    [set_at] = SYSUTCDATETIME()
WHERE [part] = ?;"""


def make_cutoff() -> str:
    """Insert a cutoff where there was none to move. Parameters: part, before, held."""
    return """\
INSERT INTO [retention].[cutoff] ([part], [before], [held], [set_at])
VALUES (?, CAST(? AS DATE), ?, SYSUTCDATETIME());"""


def event_sums(table: Table, generation: int) -> str:
    """Day, tenant, count and sum of the hashes. Parameters: before, held tenants."""
    return f"""\
SELECT e.[day], e.[tenant], COUNT_BIG(*), {total("e.[hash]")}
FROM (
    SELECT [{table.ages_by}] AS [day], [{TENANT}] AS [tenant], {_hash(event_id(table))} AS [hash]
    FROM {target(table, generation)}
    WHERE [{table.ages_by}] < CAST(? AS DATE) AND [{TENANT}] NOT IN ({_LISTED})
) AS e
GROUP BY e.[day], e.[tenant];"""


def event_ids(table: Table, generation: int) -> str:
    """Select a page of ids. Parameters: the page's size, tenant, day, the last id of the previous page."""
    name = event_id(table)
    return f"""\
SELECT TOP (?) [{name}] FROM {target(table, generation)}
WHERE [{TENANT}] = ? AND [{table.ages_by}] = CAST(? AS DATE) AND [{name}] > ?
ORDER BY [{name}];"""


def drop_gone(table: Table) -> str:
    """Drop the list of deleted events."""
    return f"DROP TABLE IF EXISTS [#gone_{table.name}];"


def create_gone(table: Table, generation: int) -> str:
    """Create an empty list of deleted events: tenants and event ids."""
    return (
        f"SELECT TOP (0) [{TENANT}], [{event_id(table)}]\nINTO [#gone_{table.name}]\nFROM {target(table, generation)};"
    )


def retire_events(table: Table, generation: int) -> str:
    """Delete some of a day's events, few enough to lock rows and not the table, and list them.

    Repeat it until it deletes none. Parameters: tenants, day.
    """
    name = event_id(table)
    return f"""\
DELETE TOP ({BATCH}) FROM {target(table, generation)}
OUTPUT deleted.[{TENANT}], deleted.[{name}] INTO [#gone_{table.name}]
WHERE [{TENANT}] IN ({_LISTED}) AND [{table.ages_by}] = CAST(? AS DATE);"""


def gone_sums(table: Table) -> str:
    """Tenant, count and sum of the hashes of what is listed as gone."""
    return f"""\
SELECT e.[tenant], COUNT_BIG(*), {total("e.[hash]")}
FROM (SELECT [{TENANT}] AS [tenant], {_hash(event_id(table))} AS [hash] FROM [#gone_{table.name}]) AS e
GROUP BY e.[tenant];"""


def erase_events() -> str:
    """Parameters: tenant, event ids, tenant."""
    return f"""\
INSERT INTO [retention].[erased_event] ([tenant_id], [event_id], [erased_at])
SELECT DISTINCT ?, i.[item], SYSUTCDATETIME()
FROM (SELECT [item] COLLATE {KEY_COLLATION} AS [item] FROM OPENJSON(?) WITH ([item] NVARCHAR(36) '$[0]')) AS i
WHERE NOT EXISTS (
    SELECT 1 FROM [retention].[erased_event] AS e WHERE e.[tenant_id] = ? AND e.[event_id] = i.[item]
);"""


def delete_events(table: Table, generation: int) -> str:
    """Parameters: tenant, event ids."""
    return f"DELETE FROM {target(table, generation)}\nWHERE [{TENANT}] = ? AND [{event_id(table)}] IN ({_LISTED});"


def repaired() -> str:
    """Select the rows that repairs have kept. Parameter: the table's name."""
    return "SELECT [old_row] FROM [headrace].[repair] WHERE [table_name] = ?;"


def erase_repaired() -> str:
    """Parameters: the table's name, rows."""
    rows = f"SELECT [item] COLLATE {KEY_COLLATION} FROM OPENJSON(?) WITH ([item] NVARCHAR(MAX) '$[0]')"
    return f"""\
DELETE FROM [headrace].[repair]
WHERE [table_name] = ? AND [old_row] COLLATE {KEY_COLLATION} IN ({rows});"""


def deletion_list(table: Table) -> str:
    """Return the name of the temporary table with the keys of the rows to delete."""
    return f"[#aged_{table.name}]"


def drop_deletion_list(table: Table) -> str:
    """Drop the list of rows to delete."""
    return f"DROP TABLE IF EXISTS {deletion_list(table)};"


def create_deletion_list(table: Table, generation: int) -> str:
    """Create an empty list of rows to delete: keys, numbered from 1."""
    return (
        f"SELECT TOP (0) {_list(table)}, CAST(0 AS BIGINT) AS [{NUMBER}]\n"
        f"INTO {deletion_list(table)}\nFROM {target(table, generation)};"
    )


def index_deletion_list(table: Table) -> str:
    """Lets a batch be found by its numbers."""
    return f"CREATE UNIQUE CLUSTERED INDEX [aged_{table.name}_number] ON {deletion_list(table)} ([{NUMBER}]);"


def load_keys(table: Table) -> str:
    """Load the list from one parameter, a JSON array of arrays: keys and their numbers."""
    types = [f"[{name}] {column_type(table.column(name).type)} '$[{index}]'" for index, name in enumerate(table.key)]
    types.append(f"[{NUMBER}] BIGINT '$[{len(types)}]'")
    return (
        f"INSERT INTO {deletion_list(table)} ({_list(table)}, [{NUMBER}])\nSELECT {_list(table)}, [{NUMBER}]\n"
        "FROM OPENJSON(?) WITH (\n    " + ",\n    ".join(types) + "\n);"
    )


def fill_deletion_list(table: Table, generation: int, condition: str) -> str:
    """Fill the list from the table. Parameters: those of the condition."""
    return f"""\
INSERT INTO {deletion_list(table)} ({_list(table)}, [{NUMBER}])
SELECT {_list(table)}, ROW_NUMBER() OVER (ORDER BY {_list(table)})
FROM {target(table, generation)} AS t
WHERE {condition};"""


def delete_listed(table: Table, generation: int, condition: str) -> str:
    """Delete a batch. Parameters: the number before its first one, its last number, those of the condition."""
    return f"""\
DELETE t
FROM {deletion_list(table)} AS s
INNER LOOP JOIN {target(table, generation)} AS t ON {join(table)}
WHERE s.[{NUMBER}] > ? AND s.[{NUMBER}] <= ? AND {condition};"""


def of_month(table: Table) -> str:
    """Condition: rows of a month, but held tenants'. Parameters: its first day, the next month's, held."""
    day = f"t.[{table.ages_by}]"
    return f"({day} >= CAST(? AS DATE) AND {day} < CAST(? AS DATE) AND t.[{TENANT}] NOT IN ({_LISTED}))"


def deleted_before(table: Table) -> str:
    """Condition: old deletes, but held tenants'. Parameters: before, twice, then held."""
    day = f"t.[{table.ages_by}]"
    return (
        f"(t.[_deleted] = 1 AND ({day} < CAST(? AS DATE)"
        f" OR ({day} IS NULL AND t.[_source_time] < CAST(? AS DATETIME2(6)))) AND t.[{TENANT}] NOT IN ({_LISTED}))"
    )


def deleted() -> str:
    """Condition: deletes."""
    return "t.[_deleted] = 1"


def _hash(column: str) -> str:
    return f"HASHBYTES('MD5', CONVERT(VARCHAR(36), [{column}]))"


def _list(table: Table) -> str:
    return ", ".join(f"[{name}]" for name in table.key)
