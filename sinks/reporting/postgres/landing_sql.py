"""The Postgres dialect of landing: SQL with its parameters. Opens nothing. Golden files: tests/golden/postgres.

The upsert: rows are inserted first, then updated. ON CONFLICT waits for a concurrent insert of the same key, and the
update that follows sees it, so a race needs no retry. (ON CONFLICT DO UPDATE could not see `_read`, which the guard
needs.)
"""

from collections.abc import Iterable, Mapping, Sequence

from schemas import generations
from schemas.change import Key
from schemas.tables import Mode, Table
from sinks.reporting.cutoff import TENANT
from sinks.reporting.port import Checkpoint, Partition
from sinks.reporting.query import Query
from sinks.reporting.staging import POSITION, READ, event_id, staged_columns, stored_columns

# The winner rule, `Position.wins_over`: the staged row `s` is newer than the stored row `t`.
GUARD = """\
(s."_epoch" > t."_epoch" OR (s."_epoch" = t."_epoch" AND (
    (s."_offset" = t."_offset" AND s."_version" > t."_version")
    OR (s."_offset" > t."_offset" AND (s."_read"
        OR (s."_log_commit", s."_log_change", s."_version") > (t."_log_commit", t."_log_change", t."_version"))))))"""
# `Position.replacing`: a snapshot read keeps the log position of the row that it replaces, if that is newer.
KEEPS_LOG = (
    's."_read" AND s."_epoch" = t."_epoch" AND (t."_log_commit", t."_log_change") > (s."_log_commit", s."_log_change")'
)

# A batch touches few rows of a large table: always through the primary key, whatever the statistics say.
SESSION = (
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
    "SET enable_seqscan = off",
    "SET statement_timeout = '120s'",
    "SET lock_timeout = '30s'",
)


def schema(generation: int) -> str:
    """Return the quoted schema of a generation."""
    return generations.schema(generation)


def target(table: Table, generation: int) -> str:
    """Return the qualified name of a table in a generation."""
    return f'{schema(generation)}."{table.name}"'


def stage(table: Table) -> str:
    """Return the name of a table's staging table, which belongs to the connection."""
    return f'pg_temp."stage_{table.name}"'


def create_stage(table: Table, generation: int) -> Sequence[str]:
    """Create the staging table, typed as the target. Each commit empties it."""
    read = "" if table.mode is Mode.EVENT else f', "{READ}" boolean NOT NULL'
    return [
        f"CREATE TEMPORARY TABLE IF NOT EXISTS {stage(table)}"
        f" (LIKE {target(table, generation)}{read}) ON COMMIT DELETE ROWS"
    ]


def clear_stage(table: Table) -> str:
    """Empty the staging table for a second round in one transaction."""
    return f"TRUNCATE {stage(table)}"


def load_stage(table: Table) -> str:
    """Step 2: loads the staging table from what the client sends."""
    return f"COPY {stage(table)} ({_list(staged_columns(table))}) FROM STDIN"


def update(table: Table, generation: int) -> str:
    """Step 3: rows whose change is newer. A snapshot read keeps the log position of what it replaces."""
    settable = [name for name in stored_columns(table) if name not in table.key]
    return (
        f"UPDATE {target(table, generation)} AS t SET\n    "
        + ",\n    ".join(_assignment(name) for name in settable)
        + f"\nFROM {stage(table)} AS s\nWHERE {_join(table.key)}\nAND {GUARD}"
    )


def insert(table: Table, generation: int) -> str:
    """Step 4: rows that are not there yet."""
    columns = _list(stored_columns(table))
    return (
        f"INSERT INTO {target(table, generation)} ({columns})\n"
        f"SELECT {columns}\nFROM {stage(table)}{_not_erased(table)}\nON CONFLICT ({_list(table.key)}) DO NOTHING"
    )


def move_checkpoints(generation: int, checkpoints: Mapping[Partition, Checkpoint]) -> Query:
    """Step 5: move the checkpoint of each partition whose fence is still the same."""
    parameters = (
        [each.topic for each in checkpoints],
        [each.number for each in checkpoints],
        [each.fence for each in checkpoints.values()],
        [each.next_offset for each in checkpoints.values()],
    )
    return (
        f"""\
UPDATE {schema(generation)}.checkpoint AS c
SET next_offset = m.next_offset, updated_at = now()
FROM unnest(%s::text[], %s::integer[], %s::bigint[], %s::bigint[]) AS m (topic, partition, fence, next_offset)
WHERE c.topic = m.topic AND c.partition = m.partition AND c.fence = m.fence""",
        parameters,
    )


def read_cutoffs() -> str:
    """Step 0: part, before and held of each cutoff. Its lock (ACCESS SHARE) stays until the transaction ends."""
    return "SELECT part, before, held FROM retention.cutoff"


def read_epochs() -> str:
    """Select the raised epochs."""
    return "SELECT epoch FROM headrace.epoch"


def make_checkpoint(generation: int, partition: Partition, topic_id: str, next_offset: int) -> Query:
    """Insert a checkpoint with fence 0 for a partition that has none. Idempotent."""
    return (
        f"""\
INSERT INTO {schema(generation)}.checkpoint (topic, partition, topic_id, next_offset, fence, updated_at)
VALUES (%s, %s, %s, %s, 0, now())
ON CONFLICT (topic, partition) DO NOTHING""",
        (*partition, topic_id, next_offset),
    )


def raise_fence(generation: int, partition: Partition) -> Query:
    """Claim a partition: raise its fence, so that an earlier holder's `move_checkpoints` finds no row."""
    return (
        f"""\
UPDATE {schema(generation)}.checkpoint SET fence = fence + 1, updated_at = now()
WHERE topic = %s AND partition = %s
RETURNING topic_id, next_offset, fence""",
        partition,
    )


def read_checkpoint(generation: int, partition: Partition) -> Query:
    """Select topic_id, next_offset and fence of a partition."""
    return (
        f"""\
SELECT topic_id, next_offset, fence FROM {schema(generation)}.checkpoint
WHERE topic = %s AND partition = %s""",
        partition,
    )


def read_position(table: Table, generation: int, key: Key) -> Query:
    """Select the position (`staging.POSITION`) of a key's row."""
    columns = "0, 0, 0, 0, 0" if table.mode is Mode.EVENT else _list(POSITION)
    where = " AND ".join(f'"{name}" = %s' for name in table.key)
    return f"SELECT {columns} FROM {target(table, generation)}\nWHERE {where}", key


def _assignment(name: str) -> str:
    if name.startswith("_log"):
        return f'"{name}" = CASE WHEN {KEEPS_LOG} THEN t."{name}" ELSE s."{name}" END'
    return f'"{name}" = s."{name}"'


def _not_erased(table: Table) -> str:
    if table.mode is not Mode.EVENT:
        return ""
    return (
        " AS s\nWHERE NOT EXISTS (SELECT FROM retention.erased_event AS e"
        f' WHERE e.tenant_id = s."{TENANT}" AND e.event_id = s."{event_id(table)}")'
    )


def _join(key: Iterable[str]) -> str:
    return " AND ".join(f't."{name}" = s."{name}"' for name in key)


def _list(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
