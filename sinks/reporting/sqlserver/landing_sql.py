"""The T-SQL dialect of landing: SQL with its parameters. Opens nothing. Golden files: tests/golden/sqlserver.

The upsert has no MERGE. UPDATE … FROM comes first, then INSERT … WHERE NOT EXISTS, without a lock hint: the primary key
catches a lost race. Both read the staging table, which is loaded in the order of the target's key, and seek each row in
the target, whatever the statistics say (docs/decisions/0014-sqlserver.md). A text key is compared with its length, too:
for SQL Server 'a' equals 'a ', and another row's values must not land in it.
"""

from collections.abc import Iterable, Mapping, Sequence

from schemas import generations
from schemas.change import Key
from schemas.tables import Column, Mode, Table
from schemas.types import Boolean, Date, Integer, Json, Numeric, Text, Timestamp, Type, Uuid
from sinks.reporting.cutoff import TENANT
from sinks.reporting.port import Checkpoint, Partition
from sinks.reporting.query import Query
from sinks.reporting.sqlserver.bulk_json import to_json
from sinks.reporting.staging import POSITION, READ, event_id, staged_columns, stored_columns

# The winner rule, `Position.wins_over`: the staged row `s` is newer than the stored row `t`.
GUARD = """\
(s.[_epoch] > t.[_epoch] OR (s.[_epoch] = t.[_epoch] AND (
    (s.[_offset] = t.[_offset] AND s.[_version] > t.[_version])
    OR (s.[_offset] > t.[_offset] AND (s.[_read] = 1
        OR s.[_log_commit] > t.[_log_commit]
        OR (s.[_log_commit] = t.[_log_commit] AND (s.[_log_change] > t.[_log_change]
            OR (s.[_log_change] = t.[_log_change] AND s.[_version] > t.[_version]))))))))"""
# `Position.replacing`: a snapshot read keeps the log position of the row that it replaces, if that is newer.
KEEPS_LOG = (
    "s.[_read] = 1 AND s.[_epoch] = t.[_epoch] AND (t.[_log_commit] > s.[_log_commit]"
    " OR (t.[_log_commit] = s.[_log_commit] AND t.[_log_change] > s.[_log_change]))"
)
SESSION = "SET XACT_ABORT ON; SET LOCK_TIMEOUT 30000;"
KEY_COLLATION = "Latin1_General_100_BIN2"  # as the migrations declare keys: by code point

_SYSTEM_TYPES = dict.fromkeys(POSITION, "BIGINT") | {
    "_epoch": "INT",
    "_deleted": "BIT",
    "_source_time": "DATETIME2(6)",
    READ: "BIT",
}


def schema(generation: int) -> str:
    """Return the quoted schema of a generation."""
    return f"[{generations.schema(generation)}]"


def target(table: Table, generation: int) -> str:
    """Return the qualified name of a table in a generation."""
    return f"{schema(generation)}.[{table.name}]"


def stage(table: Table) -> str:
    """Return the name of a table's staging table, which belongs to the connection."""
    return f"[#stage_{table.name}]"


def create_stage(table: Table, generation: int) -> Sequence[str]:
    """Create the staging table, with the types and collations of the target, in place of one that may exist.

    Two statements, as a driver reports an error of a batch's second statement late.
    """
    read = "" if table.mode is Mode.EVENT else f", CAST(0 AS BIT) AS [{READ}]"
    return [
        f"DROP TABLE IF EXISTS {stage(table)};",
        f"SELECT TOP (0) {_list(stored_columns(table))}{read}\nINTO {stage(table)}\nFROM {target(table, generation)};",
    ]


def clear_stage(table: Table) -> str:
    """Empty the staging table."""
    return f"TRUNCATE TABLE {stage(table)};"


def load_stage(table: Table) -> str:
    """Step 2: loads the staging table from one parameter, a JSON array of arrays in the order of the columns."""
    columns = staged_columns(table)
    own = {column.name: column for column in table.all_columns}
    types = (f"[{name}] {_json_type(own.get(name), name)} '$[{index}]'" for index, name in enumerate(columns))
    listed = _list(columns)
    return (
        f"INSERT INTO {stage(table)} ({listed})\nSELECT {listed}\nFROM OPENJSON(?) WITH (\n    "
        + ",\n    ".join(types)
        + "\n);"
    )


def update(table: Table, generation: int) -> str:
    """Step 3: rows whose change is newer. A snapshot read keeps the log position of what it replaces."""
    settable = [name for name in stored_columns(table) if name not in table.key]
    return (
        "UPDATE t SET\n    "
        + ",\n    ".join(_assignment(name) for name in settable)
        + f"\nFROM {stage(table)} AS s\nINNER LOOP JOIN {target(table, generation)} AS t ON {join(table)}"
        + f"\nWHERE {GUARD}\nOPTION (MAXDOP 1);"
    )


def insert(table: Table, generation: int) -> str:
    """Step 4: rows that are not there yet."""
    columns = stored_columns(table)
    return (
        f"INSERT INTO {target(table, generation)} ({_list(columns)})\n"
        f"SELECT {_list(columns, 's.')}\nFROM {stage(table)} AS s\nWHERE NOT EXISTS (\n"
        f"    SELECT 1 FROM {target(table, generation)} AS t\n    WHERE {join(table)}\n)"
        f"{_not_erased(table)}\nORDER BY {_list(table.key, 's.')}\nOPTION (LOOP JOIN, MAXDOP 1);"
    )


def move_checkpoints(generation: int, checkpoints: Mapping[Partition, Checkpoint]) -> Query:
    """Step 5: move the checkpoint of each partition whose fence is still the same."""
    return (
        f"""\
UPDATE c SET [next_offset] = m.[next_offset], [updated_at] = SYSUTCDATETIME()
FROM {schema(generation)}.[checkpoint] AS c
JOIN OPENJSON(?) WITH (
    [topic] NVARCHAR(249) '$[0]',
    [partition] INT '$[1]',
    [fence] BIGINT '$[2]',
    [next_offset] BIGINT '$[3]'
) AS m ON c.[topic] = m.[topic] COLLATE {KEY_COLLATION} AND c.[partition] = m.[partition] AND c.[fence] = m.[fence];""",
        (to_json([(*partition, each.fence, each.next_offset) for partition, each in checkpoints.items()]),),
    )


def read_cutoffs() -> str:
    """Step 0: part, before and held of each cutoff. HOLDLOCK keeps the table's shared lock until the transaction ends;
    with it the row versions of RCSI are not read."""
    return "SELECT [part], [before], [held] FROM [retention].[cutoff] WITH (TABLOCK, HOLDLOCK);"


def read_epochs() -> str:
    """Select the raised epochs."""
    return "SELECT [epoch] FROM [headrace].[epoch]"


def make_checkpoint(generation: int, partition: Partition, topic_id: str, next_offset: int) -> Query:
    """Insert a checkpoint with fence 0 for a partition that has none. Idempotent."""
    return (
        f"""\
INSERT INTO {schema(generation)}.[checkpoint] ([topic], [partition], [topic_id], [next_offset], [fence], [updated_at])
SELECT ?, ?, ?, ?, 0, SYSUTCDATETIME()
WHERE NOT EXISTS (
    SELECT 1 FROM {schema(generation)}.[checkpoint] WITH (UPDLOCK, SERIALIZABLE)
    WHERE [topic] = ? AND [partition] = ?
);""",
        (*partition, topic_id, next_offset, *partition),
    )


def raise_fence(generation: int, partition: Partition) -> Query:
    """Claim a partition: raise its fence, so that an earlier holder's `move_checkpoints` finds no row."""
    return (
        f"""\
UPDATE {schema(generation)}.[checkpoint] SET [fence] = [fence] + 1, [updated_at] = SYSUTCDATETIME()
WHERE [topic] = ? AND [partition] = ?;""",
        partition,
    )


def read_checkpoint(generation: int, partition: Partition) -> Query:
    """Select topic_id, next_offset and fence of a partition."""
    return (
        f"""\
SELECT [topic_id], [next_offset], [fence] FROM {schema(generation)}.[checkpoint]
WHERE [topic] = ? AND [partition] = ?;""",
        partition,
    )


def read_position(table: Table, generation: int, key: Key) -> Query:
    """Select the position (`staging.POSITION`) of a key's row."""
    columns = "0, 0, 0, 0, 0" if table.mode is Mode.EVENT else _list(POSITION)
    where = " AND ".join(f"[{name}] = ?" for name in table.key)
    return f"SELECT {columns} FROM {target(table, generation)}\nWHERE {where};", key


def _json_type(column: Column | None, name: str) -> str:
    return _SYSTEM_TYPES[name] if column is None else column_type(column.type)


def column_type(type_: Type) -> str:
    """Return the type in which OPENJSON returns a column."""
    match type_:
        case Text(length=length):
            # OPENJSON silently gives NULL for text that is longer than declared. A character may take two code
            # units, so this fits every text that decoding accepts, and the target refuses what it can't hold.
            return f"NVARCHAR({2 * length})" if length and 2 * length <= 4000 else "NVARCHAR(MAX)"
        case Json():
            return "NVARCHAR(MAX)"
        case Uuid():
            return "NVARCHAR(36)"
        case Numeric(precision=precision, scale=scale):
            return f"DECIMAL({precision}, {scale})"
        case Integer(big=big):
            return "BIGINT" if big else "INT"
        case Boolean():
            return "BIT"
        case Date():
            return "DATE"
        case Timestamp():
            return "DATETIME2(6)"


def _assignment(name: str) -> str:
    if name.startswith("_log"):
        return f"[{name}] = CASE WHEN {KEEPS_LOG} THEN t.[{name}] ELSE s.[{name}] END"
    return f"[{name}] = s.[{name}]"


def _not_erased(table: Table) -> str:
    if table.mode is not Mode.EVENT:
        return ""
    return (
        " AND NOT EXISTS (\n    SELECT 1 FROM [retention].[erased_event] AS e\n"
        f"    WHERE e.[tenant_id] = s.[{TENANT}] AND e.[event_id] = s.[{event_id(table)}]\n)"
    )


def join(table: Table) -> str:
    """Return the condition that rows `t` and `s` have the same key."""
    terms = [f"t.[{name}] = s.[{name}]" for name in table.key]
    texts = [name for name in table.key if isinstance(table.column(name).type, Text | Uuid)]
    terms += [f"DATALENGTH(t.[{name}]) = DATALENGTH(s.[{name}])" for name in texts]
    return " AND ".join(terms)


def _list(names: Iterable[str], prefix: str = "") -> str:
    return ", ".join(f"{prefix}[{name}]" for name in names)
